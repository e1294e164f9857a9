//! What a release has to be, in words: one text for the command line, the controller's condition and the
//! API server.
//!
//! Here is only what a release shows by itself and the API server can check as well; the CEL side of
//! each rule is in [`crate::crd`]. What only Rust can check says its words where it is checked.
//!
//! A text may hold a value only where an API server can tell how long it gets: never one that it had to
//! search for. The path says which one it is.

/// Something that a release has to be, and what is said when it is not.
///
/// `{name}` in a text stands for a value that is known only where the rule is broken.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is wrong.
    pub message: &'static str,
    /// What to write instead.
    pub mend: &'static str,
}

/// A part of a text: words, or the name of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// Words as they stand.
    Words(&'a str),
    /// A value by its name.
    Value(&'a str),
}

/// A name is a DNS label (RFC 1123): what Kubernetes allows as the name of a service or namespace.
pub const DNS_LABEL: Rule = Rule {
    message: "`{value}` is not a DNS label",
    mend: "use at most 63 of a-z, 0-9 and `-`, with a letter or digit at both ends",
};

/// There is a lane.
pub const NO_LANE: Rule = Rule { message: "there is no lane", mend: "name at least one, such as `canary`" };

/// Each lane is named once.
pub const LANE_TWICE: Rule = Rule { message: "a lane is there twice", mend: "leave one out" };

/// No lane is called `stable`.
pub const STABLE_LANE: Rule = Rule { message: "lane `stable` always exists", mend: "leave it out" };

/// A lane that is given is one of this release.
pub const UNKNOWN_LANE: Rule =
    Rule { message: "`{value}` is not a lane of this release", mend: "name one of spec.lanes" };

/// The lanes of a member are lanes of this release.
pub const MEMBER_LANE: Rule =
    Rule { message: "a member names a lane that this release does not have", mend: "name one of spec.lanes" };

/// The lane of a rule is one of this release, or `stable`.
pub const RULE_LANE: Rule =
    Rule { message: "a rule names a lane that this release does not have", mend: "name `stable` or one of spec.lanes" };

/// There is a member.
pub const NO_MEMBER: Rule = Rule { message: "there is no member", mend: "name the services of the group" };

/// Each member is named once.
pub const MEMBER_TWICE: Rule = Rule { message: "a service is there twice", mend: "put all its hosts in one member" };

/// A controller has to know where lanes are chosen.
pub const NO_ENTRY: Rule = Rule {
    message: "nobody would choose a lane",
    mend: "name gateways, inbound or outbound services, such as `gateways: [{namespace: istio-ingress}]`",
};

/// A controller has to know how the weight moves.
pub const NO_STEP: Rule = Rule {
    message: "there is no step, so the weight would never move",
    mend: "write at least one, such as `- weight: 5%`",
};

/// Only one moves the weight.
pub const ARGO_STEPS: Rule = Rule {
    message: "Argo Rollouts leads by spec.argo and the release has steps too: both would move the weight",
    mend: "leave out spec.steps, or leave out spec.argo and let the steps lead",
};

/// Who leads promotes.
pub const ARGO_PROMOTES: Rule = Rule {
    message: "Argo Rollouts leads by spec.argo and somebody else would promote",
    mend: "write `promotion: {strategy: argo}`",
};

/// A pause of the release would not hold whoever leads it.
pub const ARGO_GOES_ON: Rule = Rule {
    message: "Argo Rollouts leads by spec.argo and would go on while the failed release is paused",
    mend: "leave onFailure out: everything returns to stable and the Rollout is aborted",
};

/// A step is one of the things that a step can be.
pub const ONE_THING: Rule = Rule {
    message: "a step does exactly one thing",
    mend: "write one of weight, weights, pause, gate, analysis and auto, and further steps below it",
};

/// A single weight is of a single lane.
pub const ONE_WEIGHT: Rule =
    Rule { message: "one weight for several lanes", mend: "write `weights` with a weight for each" };

/// A weight that grows by itself is of a single lane.
pub const ONE_RAMP: Rule = Rule {
    message: "a weight that grows by itself needs a single lane",
    mend: "write `weights` and `analysis` steps, or make a release for each lane",
};

/// A weight that grows begins with something and does not fall.
pub const RAMP: Rule =
    Rule { message: "the weight would not grow", mend: "begin with more than 0% and end with no less than that" };

/// An objective is one that can be tested.
pub const OBJECTIVE: Rule = Rule {
    message: "`{value}` is not between 50% and 99.99%",
    mend: "write the share that has to be good, such as `99%` or `99.9%`",
};

/// Each latency costs a counter in every proxy.
pub const MANY_LATENCIES: Rule =
    Rule { message: "there are more than 4 latencies", mend: "keep those that a user would notice" };

/// One latency is one objective: what is counted twice is evidence twice.
pub const LATENCY_TWICE: Rule =
    Rule { message: "a latency is there twice", mend: "leave one out, or give it another overMs" };

/// An answer belongs to one objective.
pub const OBJECTIVE_TWICE: Rule = Rule { message: "two objectives have one name", mend: "give each a name of its own" };

/// Some number has to be good.
pub const NO_NUMBER: Rule =
    Rule { message: "atLeast is more than atMost", mend: "write an atLeast that is no more than atMost" };

/// A question needs to be asked somewhere.
pub const NO_PROMETHEUS: Rule = Rule {
    message: "there are objectives, and no Prometheus to ask",
    mend: "write `prometheus: {address: \"http://prometheus.monitoring:9090\"}`",
};

/// Prometheus is asked by HTTP.
pub const PROMETHEUS_ADDRESS: Rule = Rule {
    message: "`{value}` is not an address of Prometheus",
    mend: "write it like `http://prometheus.monitoring:9090`",
};

/// An answer is good or bad.
pub const NO_THRESHOLD: Rule =
    Rule { message: "an objective without a threshold", mend: "write atLeast, atMost, or both" };

/// A threshold is a number.
pub const NUMBER: Rule = Rule { message: "`{value}` is not a number", mend: "write a decimal such as \"0.99\"" };

/// Where there are several lanes, one is named that becomes stable.
pub const NO_PROMOTED_LANE: Rule =
    Rule { message: "there are several lanes", mend: "name the one whose version becomes stable" };

/// Little enough stays on stable.
pub const HOLDBACK: Rule = Rule { message: "`{value}` is more than 5%", mend: "keep between 0% and 5% on stable" };

/// What is a weight looks like one.
pub const WEIGHT: Rule = Rule { message: "`{value}` is not a weight", mend: WEIGHT_MEND };

/// A weight is no finer than slots are.
pub const FINE_WEIGHT: Rule = Rule { message: "`{value}` is finer than 0.01%", mend: WEIGHT_MEND };

/// A weight is at most everything.
pub const MUCH_WEIGHT: Rule = Rule { message: "`{value}` is more than 100%", mend: WEIGHT_MEND };

/// What is a length of time looks like one.
pub const SPAN: Rule =
    Rule { message: "`{value}` is not a duration", mend: "write a length of time such as `10s` or `5m`" };

/// What is a point in time looks like one.
pub const TIME: Rule = Rule { message: "`{value}` is not a time", mend: "write it like `2027-01-31T08:00:00Z`" };

/// The group stays while something moves.
pub const GROUP_STAYS: Rule = Rule {
    message: "the group cannot change while the release is under way",
    mend: "abort the release first, or make a new one",
};

/// The carried header stays while something moves: requests on their way carry it.
pub const HEADER_STAYS: Rule = Rule {
    message: "the carried header cannot change while the release is under way",
    mend: "abort the release first, or make a new one",
};

const WEIGHT_MEND: &str = "write a percentage such as `5%` or `0.25%`, or a number of 10000 such as `500`";

// === impl Rule ===

impl Rule {
    /// Message and mend, with these values in their places.
    pub fn said(&self, values: &[(&str, &str)]) -> (String, String) {
        (fill(self.message, values), fill(self.mend, values))
    }
}

/// A text with these values in their places; what is not known is left out.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let value = |name| values.iter().find(|(known, _)| *known == name).map_or("…", |(_, value)| value);
    parts(text)
        .map(|part| match part {
            Part::Words(words) => words,
            Part::Value(name) => value(name),
        })
        .collect()
}

/// The words and values of a text. A brace that holds anything but a plain name is words.
pub(crate) fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) = value_at_start(rest) {
            rest = after;
            return Some(Part::Value(name));
        }
        let next = rest.char_indices().skip(1).find(|(at, _)| value_at_start(&rest[*at..]).is_some());
        let (words, after) = rest.split_at(next.map_or(rest.len(), |(at, _)| at));
        rest = after;
        Some(Part::Words(words))
    })
}

fn value_at_start(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix('{')?.split_once('}')?;
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    plain.then_some((name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_their_names_are() {
        let (message, mend) = UNKNOWN_LANE.said(&[("value", "blue")]);
        assert_eq!(message, "`blue` is not a lane of this release");
        assert_eq!(mend, "name one of spec.lanes");
    }

    #[test]
    fn braces_that_name_no_value_stay() {
        let (_, mend) = NO_ENTRY.said(&[]);
        assert!(mend.ends_with("`gateways: [{namespace: istio-ingress}]`"), "{mend}");
    }
}
