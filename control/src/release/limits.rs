//! How much a release kept by an API server may hold. Without bounds the API server refuses rules about
//! lists, because it cannot tell what checking them costs; and etcd holds no object of more than 1.5 MB.
//!
//! The API server says the message in its own words; they are the same here.

use serde_json::Value;

use super::finding::Finding;
use super::read::Source;

/// How much of something there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Items of a list.
    Items(usize),
    /// Entries of a map.
    Entries(usize),
    /// Bytes of a text.
    Bytes(usize),
}

/// Longest name; that it is a DNS label of at most 63 is said in other words.
const NAME: Limit = Limit::Bytes(128);

/// What is bounded: paths in which `[]` is any item of a list.
pub const LIMITS: &[(&str, Limit)] = &[
    ("spec.group", NAME),
    ("spec.carriedHeader", Limit::Bytes(128)),
    ("spec.lanes", Limit::Items(32)),
    ("spec.lanes[].name", NAME),
    ("spec.members", Limit::Items(128)),
    ("spec.members[].service", NAME),
    ("spec.members[].hosts", Limit::Items(64)),
    ("spec.members[].hosts[]", Limit::Bytes(261)),
    ("spec.members[].lanes", Limit::Items(32)),
    ("spec.members[].lanes[]", NAME),
    ("spec.members[].latencyMs", Limit::Items(8)),
    ("spec.markers", Limit::Items(64)),
    ("spec.rules", Limit::Items(1000)),
    ("spec.rules[].name", NAME),
    ("spec.rules[].lane", NAME),
    ("spec.rules[].from", Limit::Bytes(64)),
    ("spec.rules[].until", Limit::Bytes(64)),
    ("spec.weights", Limit::Entries(32)),
    ("spec.entry.gateways", Limit::Items(32)),
    ("spec.entry.gateways[].namespace", NAME),
    ("spec.entry.inbound", Limit::Items(128)),
    ("spec.entry.inbound[]", NAME),
    ("spec.entry.outbound", Limit::Items(128)),
    ("spec.entry.outbound[]", NAME),
    ("spec.carriers", Limit::Items(256)),
    ("spec.carriers[]", NAME),
    ("spec.propagation.trace.workloads", Limit::Items(256)),
    ("spec.propagation.trace.workloads[]", NAME),
    ("spec.propagation.trace.ttl", Limit::Bytes(64)),
    ("spec.argo.rollout", NAME),
    ("spec.steps", Limit::Items(100)),
    ("spec.steps[].weights", Limit::Entries(32)),
    ("spec.steps[].pause.duration", Limit::Bytes(64)),
    ("spec.steps[].gate.name", NAME),
    ("spec.steps[].analysis.duration", Limit::Bytes(64)),
    ("spec.analysis.warmup", Limit::Bytes(64)),
    ("spec.analysis.deadline", Limit::Bytes(64)),
    ("spec.analysis.latency", Limit::Items(8)),
    ("spec.analysis.objectives", Limit::Items(16)),
    ("spec.analysis.objectives[].name", NAME),
    ("spec.analysis.objectives[].query", Limit::Bytes(4096)),
    ("spec.analysis.objectives[].atLeast", Limit::Bytes(32)),
    ("spec.analysis.objectives[].atMost", Limit::Bytes(32)),
    ("spec.analysis.prometheus.address", Limit::Bytes(261)),
    ("spec.promotion.lane", NAME),
    ("spec.promotion.bake", Limit::Bytes(64)),
    ("spec.acknowledgement.timeout", Limit::Bytes(64)),
];

/// What a release holds too much of.
pub(super) fn surplus(source: &Source) -> Vec<Finding> {
    let Ok(spec) = serde_json::to_value(&source.written.spec) else { return Vec::new() };
    let mut findings = Vec::new();
    for (path, limit) in LIMITS {
        let below = path.strip_prefix("spec").unwrap_or(path);
        visit(&spec, below, "spec", &mut |path, value| {
            findings.extend(limit.broken_by(value).map(|(message, mend)| source.finding(path, message, mend)));
        });
    }
    findings
}

/// Calls `found` for every value that a path names.
fn visit(value: &Value, path: &str, at: &str, found: &mut impl FnMut(&str, &Value)) {
    if path.is_empty() {
        return found(at, value);
    }
    if let Some(rest) = path.strip_prefix("[]") {
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            visit(item, rest, &format!("{at}[{index}]"), found);
        }
        return;
    }
    let path = path.trim_start_matches('.');
    let (key, rest) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
    if let Some(value) = value.get(key) {
        visit(value, rest, &format!("{at}.{key}"), found);
    }
}

// === impl Limit ===

impl Limit {
    /// The keyword and the number by which a schema says it.
    pub fn keyword(self) -> (&'static str, usize) {
        match self {
            Self::Items(most) => ("maxItems", most),
            Self::Entries(most) => ("maxProperties", most),
            Self::Bytes(most) => ("maxLength", most),
        }
    }

    fn broken_by(self, value: &Value) -> Option<(String, String)> {
        let (count, most, message) = match (self, value) {
            (Self::Items(most), Value::Array(items)) => (items.len(), most, items_message(most)),
            (Self::Entries(most), Value::Object(entries)) => (entries.len(), most, items_message(most)),
            (Self::Bytes(most), Value::String(text)) => {
                (text.len(), most, format!("may not be more than {most} bytes"))
            }
            _ => return None,
        };
        (count > most).then(|| (message, format!("there are {count}")))
    }
}

fn items_message(most: usize) -> String {
    format!("must have at most {most} items")
}
