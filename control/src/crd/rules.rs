//! The rules of a release as the API server checks them: CEL beside the words of [`crate::release::rules`].
//!
//! An API server has a budget for what rules may cost, counted by the sizes that values may have
//! ([`crate::release::limits`]), so only what is cheap is here. A weight written by lane, the sum of weights,
//! and everything about conditions is left to the controller, which says it in the same words as the
//! command line.

use serde_json::{Map, Value, json};

use super::schema::Place;
use crate::release::rules::{self, Part, Rule};

/// A rule with what an API server needs to check it.
#[derive(Debug)]
pub struct Check {
    /// What it says.
    pub rule: &'static Rule,
    /// Where in the schema it stands.
    pub at: &'static [At],
    /// Which member below that it is about, such as `.entry`; empty when the whole value is meant.
    pub field: &'static str,
    /// CEL that is true when all is well; `self` is the value where it stands.
    pub holds: &'static str,
    /// CEL for the values in the words.
    pub values: &'static [(&'static str, &'static str)],
    /// The kind of problem, for programs.
    pub reason: &'static str,
}

/// A place in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A path, with `[]` for the items of a list.
    Path(&'static str),
    /// Every value of a type.
    Type(&'static str),
}

const INVALID: &str = "FieldValueInvalid";
// Not `FieldValueDuplicate`: with that the API server leaves our words out.
const REQUIRED: &str = "FieldValueRequired";
const FORBIDDEN: &str = "FieldValueForbidden";

const SELF: &[(&str, &str)] = &[("value", "self")];
const NUMBER_OR_TEXT: &[(&str, &str)] = &[("value", "string(self)")];

const ROOT: &[At] = &[At::Path("")];
const SPEC: &[At] = &[At::Path("spec")];
const LANES: &[At] = &[At::Path("spec.lanes")];
const MEMBERS: &[At] = &[At::Path("spec.members")];
const LABELS: &[At] = &[
    At::Path("spec.lanes[].name"),
    At::Path("spec.members[].service"),
    At::Path("spec.entry.gateways[].namespace"),
    At::Path("spec.entry.inbound[]"),
    At::Path("spec.entry.outbound[]"),
    At::Path("spec.carriers[]"),
    At::Path("spec.argo.rollout"),
];
/// Weights that stand alone. Those in lists and maps would cost too much: an API server takes each for a text
/// as long as a whole object.
const WEIGHTS: &[At] =
    &[At::Path("spec.promotion.holdback"), At::Path("spec.acknowledgement.quorum"), At::Path("spec.capacity.floor")];

/// Every rule that the API server checks.
pub const CHECKS: &[Check] = &[
    Check::new(&rules::DNS_LABEL, ROOT, "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')")
        .with(&[("value", "self.metadata.name")])
        .about(".metadata.name"),
    Check::new(&rules::DNS_LABEL, LABELS, "self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").with(SELF),
    Check::new(&rules::STABLE_LANE, &[At::Path("spec.lanes[].name")], "self != 'stable'"),
    Check::new(&rules::NO_LANE, LANES, "self.size() > 0").because(REQUIRED),
    Check::new(&rules::LANE_TWICE, LANES, "self.all(l, self.exists_one(m, m.name == l.name))"),
    Check::new(&rules::NO_MEMBER, MEMBERS, "self.size() > 0").because(REQUIRED),
    Check::new(&rules::MEMBER_TWICE, MEMBERS, "self.all(l, self.exists_one(m, m.service == l.service))"),
    Check::new(
        &rules::MEMBER_LANE,
        SPEC,
        "self.members.all(m, !has(m.lanes) || m.lanes.all(l, self.lanes.exists(x, x.name == l)))",
    )
    .about(".members"),
    Check::new(
        &rules::RULE_LANE,
        SPEC,
        "!has(self.rules) || self.rules.all(r, r.lane == 'stable' || self.lanes.exists(x, x.name == r.lane))",
    )
    .about(".rules"),
    Check::new(
        &rules::NO_ENTRY,
        SPEC,
        "has(self.entry) && (has(self.entry.gateways) && self.entry.gateways.size() > 0 \
         || has(self.entry.inbound) && self.entry.inbound.size() > 0 \
         || has(self.entry.outbound) && self.entry.outbound.size() > 0)",
    )
    .about(".entry")
    .because(REQUIRED),
    Check::new(&rules::NO_STEP, SPEC, "has(self.argo) || has(self.steps) && self.steps.size() > 0")
        .about(".steps")
        .because(REQUIRED),
    Check::new(&rules::ARGO_STEPS, SPEC, "!has(self.argo) || !has(self.steps) || self.steps.size() == 0")
        .about(".steps")
        .because(FORBIDDEN),
    Check::new(
        &rules::ARGO_PROMOTES,
        SPEC,
        "!has(self.argo) || has(self.promotion) && has(self.promotion.strategy) && self.promotion.strategy == 'argo'",
    )
    .about(".promotion.strategy"),
    Check::new(&rules::ARGO_GOES_ON, SPEC, "!has(self.argo) || !has(self.onFailure) || self.onFailure == 'rollback'")
        .about(".onFailure"),
    Check::new(
        &rules::ONE_THING,
        &[At::Path("spec.steps[]")],
        "[has(self.weight), has(self.weights), has(self.pause), has(self.gate), has(self.analysis), has(self.auto)]\
         .exists_one(given, given)",
    ),
    Check::new(
        &rules::ONE_WEIGHT,
        SPEC,
        "!has(self.steps) || self.lanes.size() == 1 || self.steps.all(s, !has(s.weight))",
    )
    .about(".steps"),
    Check::new(&rules::ONE_RAMP, SPEC, "!has(self.steps) || self.lanes.size() == 1 || self.steps.all(s, !has(s.auto))")
        .about(".steps"),
    Check::new(
        &rules::OBJECTIVE,
        &[At::Path("spec.analysis.successRate")],
        "type(self) == int ? self >= 5000 && self <= 9999 : !self.matches('^ *[0-9]+([.][0-9]+ *%| *%?) *$') \
         || double(self.replace('%', '').trim()) >= (self.contains('%') ? 50.0 : 5000.0) \
         && double(self.replace('%', '').trim()) <= (self.contains('%') ? 99.99 : 9999.0)",
    )
    .with(NUMBER_OR_TEXT),
    Check::new(&rules::MANY_LATENCIES, &[At::Path("spec.analysis.latency")], "self.size() <= 4"),
    Check::new(
        &rules::LATENCY_TWICE,
        &[At::Path("spec.analysis.latency")],
        "self.all(l, self.exists_one(m, m.overMs == l.overMs))",
    ),
    Check::new(
        &rules::OBJECTIVE_TWICE,
        &[At::Path("spec.analysis.objectives")],
        "self.all(o, self.exists_one(p, p.name == o.name))",
    ),
    Check::new(
        &rules::NO_PROMETHEUS,
        &[At::Path("spec.analysis")],
        "!has(self.objectives) || self.objectives.size() == 0 || has(self.prometheus)",
    )
    .about(".prometheus")
    .because(REQUIRED),
    Check::new(
        &rules::NO_THRESHOLD,
        &[At::Path("spec.analysis.objectives[]")],
        "has(self.atLeast) || has(self.atMost)",
    ),
    Check::new(
        &rules::NO_NUMBER,
        &[At::Path("spec.analysis.objectives[]")],
        "!has(self.atLeast) || !has(self.atMost) \
         || [self.atLeast, self.atMost].exists(n, !n.matches('^ *-?[0-9]{1,15}([.][0-9]+)? *$')) \
         || double(self.atLeast.trim()) <= double(self.atMost.trim())",
    ),
    Check::new(
        &rules::UNKNOWN_LANE,
        SPEC,
        "!has(self.promotion) || !has(self.promotion.lane) || self.lanes.exists(x, x.name == self.promotion.lane)",
    )
    .with(&[("value", "self.promotion.lane")])
    .about(".promotion.lane"),
    Check::new(
        &rules::NO_PROMOTED_LANE,
        SPEC,
        "self.lanes.size() < 2 || !has(self.promotion) || !has(self.promotion.strategy) \
         || self.promotion.strategy == 'manual' || has(self.promotion.lane)",
    )
    .about(".promotion.lane")
    .because(REQUIRED),
    Check::new(
        &rules::HOLDBACK,
        &[At::Path("spec.promotion.holdback")],
        "type(self) == int ? self <= 500 : !self.matches('^ *[0-9]+([.][0-9]+ *%| *%?) *$') \
         || double(self.replace('%', '').trim()) <= (self.contains('%') ? 5.0 : 500.0)",
    )
    .with(NUMBER_OR_TEXT),
    Check::new(
        &rules::WEIGHT,
        WEIGHTS,
        "type(self) == int ? self >= 0 : self.matches('^ *[0-9]+([.][0-9]+ *%| *%?) *$')",
    )
    .with(NUMBER_OR_TEXT),
    Check::new(
        &rules::FINE_WEIGHT,
        WEIGHTS,
        "type(self) == int || !self.matches('^ *[0-9]+[.][0-9]{2}[0-9]*[1-9][0-9]* *% *$')",
    )
    .with(NUMBER_OR_TEXT),
    Check::new(
        &rules::MUCH_WEIGHT,
        WEIGHTS,
        "type(self) == int ? self <= 10000 : !self.matches('^ *[0-9]+([.][0-9]+ *%| *%?) *$') \
         || double(self.replace('%', '').trim()) <= (self.contains('%') ? 100.0 : 10000.0)",
    )
    .with(NUMBER_OR_TEXT),
    Check::new(
        &rules::SPAN,
        &[At::Type("Span")],
        "self.matches('^ *[+]?(P|[0-9])') && self.matches('[0-9] *[A-Za-zµ]')",
    )
    .with(SELF),
    Check::new(
        &rules::TIME,
        &[At::Type("Time")],
        "self.matches('^ *[0-9]{4}-?[0-9]{2}-?[0-9]{2}[Tt ][0-9]{2}:?[0-9]{2}.*([Zz]|[+-][0-9]{2}.*)$')",
    )
    .with(SELF),
    Check::new(
        &rules::GROUP_STAYS,
        ROOT,
        "!has(self.status) || !has(self.status.phase) \
         || self.status.phase in ['Pending', 'Invalid', 'RolledBack', 'Succeeded'] \
         || has(self.spec.group) == has(oldSelf.spec.group) \
         && (!has(self.spec.group) || self.spec.group == oldSelf.spec.group)",
    )
    .about(".spec.group")
    .because(FORBIDDEN),
    Check::new(
        &rules::HEADER_STAYS,
        ROOT,
        "!has(self.status) || !has(self.status.phase) \
         || self.status.phase in ['Pending', 'Invalid', 'RolledBack', 'Succeeded'] \
         || self.spec.carriedHeader == oldSelf.spec.carriedHeader",
    )
    .about(".spec.carriedHeader")
    .because(FORBIDDEN),
];

/// Adds the rules that stand at a place.
pub(super) fn add(place: &Place<'_>, schema: &mut Map<String, Value>) {
    let here = CHECKS.iter().filter(|check| check.at.iter().any(|at| at.is(place)));
    let rules: Vec<Value> = here.map(Check::to_json).collect();
    if !rules.is_empty() {
        schema.insert("x-kubernetes-validations".into(), rules.into());
    }
}

// === impl At ===

impl At {
    fn is(self, place: &Place<'_>) -> bool {
        match self {
            Self::Path(path) => path == place.path,
            Self::Type(name) => Some(name) == place.named,
        }
    }
}

// === impl Check ===

impl Check {
    const fn new(rule: &'static Rule, at: &'static [At], holds: &'static str) -> Self {
        Self { rule, at, field: "", holds, values: &[], reason: INVALID }
    }

    const fn with(self, values: &'static [(&'static str, &'static str)]) -> Self {
        Self { values, ..self }
    }

    const fn about(self, field: &'static str) -> Self {
        Self { field, ..self }
    }

    const fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    fn to_json(&self) -> Value {
        let mut rule = json!({"rule": self.holds, "message": self.message(), "reason": self.reason});
        if !self.values.is_empty() {
            rule["messageExpression"] = self.message_expression().into();
        }
        if !self.field.is_empty() {
            rule["fieldPath"] = self.field.into();
        }
        rule
    }

    /// The words without values, for the case that there are none.
    fn message(&self) -> String {
        rules::fill(&self.message_template(), &[])
    }

    /// CEL that makes the words.
    fn message_expression(&self) -> String {
        let words = self.message_template();
        let parts = rules::parts(&words).map(|part| match part {
            Part::Words(words) => format!("'{}'", words.replace('\\', "\\\\").replace('\'', "\\'")),
            Part::Value(name) => {
                let known = self.values.iter().find(|(known, _)| *known == name);
                known.map_or("'…'", |(_, expression)| expression).to_owned()
            }
        });
        parts.collect::<Vec<_>>().join(" + ")
    }

    fn message_template(&self) -> String {
        format!("{}; {}", self.rule.message, self.rule.mend)
    }
}
