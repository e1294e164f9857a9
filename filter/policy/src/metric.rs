//! Stat names: proxy-wasm metrics have names and no labels, so labels travel inside the name as
//! `.label=.=value;.;` and Envoy's stats tags split them out again (`extraStatTags` in Istio).

/// A stat name with its labels.
///
/// Values are sanitised: what would end a label early, a blank, a control character or a byte beyond
/// ASCII becomes `_`. An empty value becomes `_` as well, because an empty tag is dropped by Envoy.
pub fn stat_name(name: &str, labels: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(name.len() + labels.len() * 32);
    out.push_str(name);
    push_labels(&mut out, labels);
    out
}

/// Adds more labels to a stat name, sanitised the same.
pub fn push_labels(out: &mut String, labels: &[(&str, &str)]) {
    for (label, value) in labels {
        out.push('.');
        out.push_str(label);
        out.push_str("=.=");
        push_value(out, value);
        out.push_str(";.;");
    }
}

fn push_value(out: &mut String, value: &str) {
    if value.is_empty() {
        out.push('_');
    }
    for char in value.chars() {
        out.push(if char.is_ascii_graphic() && char != ';' { char } else { '_' });
    }
}

/// Every label that appears in our metrics; `extraStatTags` lists them all.
pub const LABELS: [&str; 12] = [
    "service",
    "rollout",
    "lane",
    "cohort",
    "direction",
    "status_code",
    "origin",
    "over_ms",
    "reason",
    "workload",
    "source",
    "role",
];
