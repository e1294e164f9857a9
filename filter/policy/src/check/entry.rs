//! The entry of a group: markers, rules, slots, stickiness.

use crate::field::{FieldId, Trust, trust_of, unavailable};
use crate::hash::{SLOTS, seed_of};
use crate::index::RuleIndex;
use crate::lane::LaneId;
use crate::policy::{Entry, Marker, Rule, Slots};
use crate::problem::Problems;
use crate::raw::{NoUnit, RawCookie, RawEntry, RawField, RawMarker, RawRule, RawSlots, SameSite};
use crate::slots::SlotTable;

use super::fields::Fields;
use super::group::unknown_lane;
use super::names;

mod condition;

/// Most rules of an entry.
const MAX_RULES: usize = 10_000;

/// What the parts of an entry are checked against.
pub(super) struct Scope<'s, 'h> {
    raw: &'s RawEntry,
    lanes: &'s [String],
    /// Salts `percent`, so that different releases pick different users.
    salt: &'s str,
    fields: &'s mut Fields<'h>,
    markers: Vec<(String, FieldId)>,
    problems: &'s mut Problems,
}

pub(super) fn compile(
    raw: &RawEntry,
    path: &str,
    lanes: &[String],
    rollout: &str,
    fields: &mut Fields<'_>,
    problems: &mut Problems,
) -> Entry {
    let salt = raw.slots.as_ref().map_or(rollout, |slots| &slots.salt);
    let mut scope = Scope { raw, lanes, salt, fields, markers: Vec::new(), problems };
    let markers = scope.markers(path);
    let rules = scope.rules(path);
    let slots = raw.slots.as_ref().and_then(|slots| scope.slots(slots, &format!("{path}.slots")));
    let unit = scope.unit(&format!("{path}.stickiness"));
    Entry {
        index: RuleIndex::build(rules.iter().map(|rule| &rule.when)),
        rules_need_unit: rules.iter().any(|rule| rule.when.needs_unit()),
        rules,
        slots,
        unit,
        no_unit: raw.stickiness.no_unit,
        cookie: raw.stickiness.cookie.clone(),
        markers,
    }
}

/// The markers of an entry that names none: the handbook's values, context over header over query.
pub(super) fn default_markers() -> Vec<RawMarker> {
    let header = |name: &str| RawField::Header(name.into());
    let marker = |name: &str, from: Vec<RawField>| RawMarker { name: name.into(), from };
    vec![
        marker("tenant", vec![RawField::Claim("tenant".into()), RawField::GrpcMetadata("tenant".into())]),
        marker("release", vec![RawField::GrpcMetadata("x-release-id".into()), header("x-release-id")]),
        marker("group", vec![RawField::GrpcMetadata("x-user-group".into()), header("x-user-group")]),
        marker("version", vec![header("x-version"), RawField::Query("version".into())]),
        marker("env", vec![RawField::Query("env".into())]),
    ]
}

// === impl Scope ===

impl Scope<'_, '_> {
    fn markers(&mut self, path: &str) -> Vec<Marker> {
        let configured = self.raw.markers.clone();
        let is_default = configured.is_none();
        let raw = configured.unwrap_or_else(default_markers);
        let mut compiled = Vec::new();
        for (at, marker) in raw.iter().enumerate() {
            let path = format!("{path}.markers[{at}]");
            let unused = is_default && !mentions(self.raw, &marker.name);
            // A built-in marker that no rule reads must not make every request fetch its sources.
            if !unused {
                compiled.push(self.marker(marker, is_default, &path));
            }
        }
        compiled
    }

    fn marker(&mut self, raw: &RawMarker, is_default: bool, path: &str) -> Marker {
        names::require_dns_label(self.problems, &format!("{path}.name"), &raw.name);
        let taken = self.markers.iter().any(|(name, _)| *name == raw.name);
        let message = format!("marker `{}` is there twice", raw.name);
        self.problems.require(!taken, &format!("{path}.name"), message, "put all its sources in one `from`");
        let mend = "name a header, query key or claim";
        self.problems.require(!raw.from.is_empty(), &format!("{path}.from"), "the marker has no source", mend);
        let role = self.fields.role();
        // Built-in markers lose the sources this side does not have; written ones are refused for it.
        let available = |field: &RawField| !is_default || unavailable(field, role).is_none();
        let listed = || raw.from.iter().enumerate().filter(|(_, field)| available(field));
        let ranked =
            Trust::ALL.into_iter().flat_map(|trust| listed().filter(move |(_, field)| trust_of(field) == trust));
        let sources: Vec<(FieldId, String)> = ranked
            .filter_map(|(at, field)| Some((self.source(field, &format!("{path}.from[{at}]"))?, describe(field))))
            .collect();
        let id = self.fields.marker(sources.iter().map(|(id, _)| *id).collect());
        self.markers.push((raw.name.clone(), id));
        Marker { name: raw.name.clone(), sources }
    }

    fn source(&mut self, field: &RawField, path: &str) -> Option<FieldId> {
        if let RawField::Marker(name) = field {
            let message = format!("marker `{name}` cannot be a source of a marker");
            self.problems.add(path, message, "name the header, query key or claim itself");
            return None;
        }
        self.fields.add(field, &self.raw.claims, path, self.problems)
    }

    /// A field of a rule or of the unit; markers are looked up.
    fn field(&mut self, field: &RawField, path: &str) -> Option<FieldId> {
        let RawField::Marker(name) = field else {
            return self.fields.add(field, &self.raw.claims, path, self.problems);
        };
        let known = self.markers.iter().find(|(marker, _)| marker == name).map(|(_, id)| *id);
        if known.is_none() {
            let names: Vec<&str> = self.markers.iter().map(|(name, _)| name.as_str()).collect();
            let mend = format!("use one of [{}], or add it to markers", names.join(", "));
            self.problems.add(path, format!("there is no marker `{name}`"), mend);
        }
        known
    }

    fn rules(&mut self, path: &str) -> Vec<Rule> {
        let count = self.raw.rules.len();
        let rules_path = format!("{path}.rules");
        self.problems.require(
            count <= MAX_RULES,
            &rules_path,
            format!("{count} rules"),
            format!("use at most {MAX_RULES}"),
        );
        let rules: &[RawRule] = &self.raw.rules;
        let mut names = hashbrown::HashSet::new();
        let mut compiled = Vec::with_capacity(rules.len());
        for (at, rule) in rules.iter().take(MAX_RULES).enumerate() {
            let path = format!("{rules_path}[{at}]");
            let fresh = !rule.name.is_empty() && names.insert(rule.name.as_str());
            let message = format!("rule name `{}` is empty or taken", rule.name.escape_default());
            self.problems.require(fresh, &format!("{path}.name"), message, "give each rule a name of its own");
            compiled.extend(self.rule(rule, &path));
        }
        compiled
    }

    fn rule(&mut self, raw: &RawRule, path: &str) -> Option<Rule> {
        let lane = self.lane(&raw.lane, &format!("{path}.lane"));
        let when = self.condition(&raw.when, &format!("{path}.when"), &raw.name, 0);
        let (from, until) = (raw.from_unix.unwrap_or(0), raw.until_unix.unwrap_or(u64::MAX));
        let message = format!("the rule would end at {until}, not after it begins at {from}");
        self.problems.require(from < until, &format!("{path}.untilUnix"), message, "write a later end");
        Some(Rule {
            name: raw.name.clone(),
            lane: lane?,
            when: when?,
            from_unix_ms: from.saturating_mul(1_000),
            until_unix_ms: until.saturating_mul(1_000),
        })
    }

    fn lane(&mut self, name: &str, path: &str) -> Option<LaneId> {
        let lane = self.lanes.iter().position(|lane| lane == name).map(|at| LaneId(at as u16));
        if lane.is_none() {
            unknown_lane(self.problems, path, name, self.lanes);
        }
        lane
    }

    fn slots(&mut self, raw: &RawSlots, path: &str) -> Option<Slots> {
        let mend = "write a value of this attempt's own";
        self.problems.require(!raw.salt.is_empty(), &format!("{path}.salt"), "the salt is empty", mend);
        let runs_path = format!("{path}.runs");
        if let Err(error) = SlotTable::from_runs(&raw.runs) {
            self.problems.add(
                &runs_path,
                error.to_string(),
                format!("let the runs ascend and the last end at {SLOTS}"),
            );
            return None;
        }
        let runs: Vec<(u32, LaneId)> = raw
            .runs
            .iter()
            .enumerate()
            .filter_map(|(at, run)| Some((run.until, self.lane(&run.lane, &format!("{runs_path}[{at}].lane"))?)))
            .collect();
        let expires_unix_ms = raw.expires_unix.map_or(u64::MAX, |seconds| seconds.saturating_mul(1_000));
        Some(Slots { seed: seed_of(&raw.salt), runs, expires_unix_ms })
    }

    fn unit(&mut self, path: &str) -> Vec<FieldId> {
        let stickiness = &self.raw.stickiness;
        let mut unit: Vec<FieldId> = stickiness
            .unit
            .iter()
            .enumerate()
            .filter_map(|(at, field)| self.field(field, &format!("{path}.unit[{at}]")))
            .collect();
        if stickiness.no_unit == NoUnit::Cookie {
            check_cookie(&stickiness.cookie, &format!("{path}.cookie"), self.problems);
            let cookie = RawField::Cookie(stickiness.cookie.name.clone());
            unit.extend(self.field(&cookie, &format!("{path}.cookie.name")));
        }
        unit
    }
}

/// Whether some rule or the unit reads a marker of this name.
fn mentions(entry: &RawEntry, name: &str) -> bool {
    let is_marker = |field: &RawField| matches!(field, RawField::Marker(marker) if marker == name);
    entry.stickiness.unit.iter().any(is_marker)
        || entry.rules.iter().any(|rule| condition::reads(&rule.when, &is_marker))
}

/// A field as a person would say it.
pub(super) fn describe(field: &RawField) -> String {
    match field {
        RawField::Header(name) => format!("header {name}"),
        RawField::GrpcMetadata(name) => format!("gRPC metadata {name}"),
        RawField::Query(key) => format!("query {key}"),
        RawField::Cookie(name) => format!("cookie {name}"),
        RawField::Path => "path".into(),
        RawField::Method => "method".into(),
        RawField::Host => "host".into(),
        RawField::Claim(name) => format!("claim {name}"),
        RawField::Peer => "peer".into(),
        RawField::Baggage(key) => format!("baggage {key}"),
        RawField::Marker(name) => format!("marker {name}"),
    }
}

fn check_cookie(cookie: &RawCookie, path: &str, problems: &mut Problems) {
    let good_path =
        cookie.path.starts_with('/') && cookie.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    let message = format!("`{}` is no cookie path", cookie.path.escape_default());
    problems.require(
        good_path,
        &format!("{path}.path"),
        message,
        "write a path that begins with /, without blanks or ;",
    );
    problems.require(
        cookie.same_site != SameSite::None || cookie.secure,
        &format!("{path}.sameSite"),
        "browsers drop a SameSite=None cookie that is not secure",
        "set secure: true, or use lax",
    );
    problems.require(
        cookie.max_age_seconds > 0,
        &format!("{path}.maxAgeSeconds"),
        "the cookie would be gone at once",
        "write a positive number of seconds",
    );
}
