//! Finding the first rule that holds without asking every rule.
//!
//! Each rule is filed under its *anchors*: comparisons of which at least one must hold for the rule
//! to hold. A request then asks only the rules whose anchors its values hit: exact values by hash,
//! prefixes by hash once per distinct length, numbers and versions parsed once per field. Rules
//! without anchors (a `not`, a `suffix`, a bare `percent`) are asked one by one. A thousand rules so
//! cost about as much as ten, as long as few of them are of that last kind.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use semver::VersionReq;

use crate::condition::{Condition, Test, number, version};
use crate::field::{FieldId, Values};

/// Rules by anchor. Every list of rules ascends.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    exact: BTreeMap<FieldId, HashMap<Box<[u8]>, Vec<u32>>>,
    prefix: BTreeMap<FieldId, Prefixes>,
    range: BTreeMap<FieldId, Vec<(f64, f64, u32)>>,
    semver: BTreeMap<FieldId, Vec<(VersionReq, u32)>>,
    scan: Vec<u32>,
}

/// Prefixes by length, so that a value is hashed once for each distinct length.
#[derive(Clone, Debug, Default)]
struct Prefixes {
    lens: Vec<usize>,
    rules: HashMap<Box<[u8]>, Vec<u32>>,
}

enum Anchor<'c> {
    Exact(FieldId, &'c [u8]),
    Prefix(FieldId, &'c [u8]),
    Range(FieldId, f64, f64),
    Semver(FieldId, &'c VersionReq),
}

/// The anchors of a condition; `None` when it can hold without any of them.
fn anchors(condition: &Condition) -> Option<Vec<Anchor<'_>>> {
    match condition {
        Condition::All(parts) => parts.iter().filter_map(anchors).min_by_key(Vec::len),
        Condition::Any(parts) => {
            let every: Option<Vec<_>> = parts.iter().map(anchors).collect();
            every.map(|parts| parts.into_iter().flatten().collect())
        }
        Condition::Match { field, test } => match test {
            Test::Exact(value) => Some(vec![Anchor::Exact(*field, value)]),
            Test::In(values) => Some(values.iter().map(|value| Anchor::Exact(*field, value)).collect()),
            Test::Prefix(value) => Some(vec![Anchor::Prefix(*field, value)]),
            Test::Range { min, max } => Some(vec![Anchor::Range(*field, *min, *max)]),
            Test::Semver(wanted) => Some(vec![Anchor::Semver(*field, wanted)]),
            _ => None,
        },
        Condition::Not(_) | Condition::Percent { .. } => None,
    }
}

// === impl RuleIndex ===

impl RuleIndex {
    pub(crate) fn build<'c>(conditions: impl Iterator<Item = &'c Condition>) -> Self {
        let mut index = Self::default();
        for (rule, condition) in conditions.enumerate() {
            index.file(rule as u32, condition);
        }
        index
    }

    /// The lowest rule for which `holds` is true, asking only rules that can.
    pub(crate) fn first(
        &self,
        values: &mut Values<'_>,
        mut holds: impl FnMut(u32, &mut Values<'_>) -> bool,
    ) -> Option<u32> {
        let mut best: Option<u32> = None;
        let mut ask = |rule: u32, values: &mut Values<'_>| {
            if best.is_none_or(|best| rule < best) && holds(rule, values) {
                best = Some(rule);
            }
        };
        self.candidates(values, &mut ask);
        self.scan.iter().for_each(|&rule| ask(rule, values));
        best
    }

    fn candidates(&self, values: &mut Values<'_>, ask: &mut impl FnMut(u32, &mut Values<'_>)) {
        for (field, rules) in &self.exact {
            let hit = values.get(*field).and_then(|value| rules.get(value));
            hit.into_iter().flatten().for_each(|&rule| ask(rule, values));
        }
        for (field, prefixes) in &self.prefix {
            let hits = values.get(*field).map(|value| prefixes.hits(value)).unwrap_or_default();
            hits.into_iter().flatten().for_each(|&rule| ask(rule, values));
        }
        for (field, ranges) in &self.range {
            let Some(value) = values.get(*field).and_then(number) else { continue };
            let hits = ranges.iter().filter(|(min, max, _)| (*min..=*max).contains(&value));
            hits.for_each(|&(_, _, rule)| ask(rule, values));
        }
        for (field, wanted) in &self.semver {
            let Some(value) = values.get(*field).and_then(version) else { continue };
            let hits = wanted.iter().filter(|(wanted, _)| wanted.matches(&value));
            hits.for_each(|&(_, rule)| ask(rule, values));
        }
    }

    fn file(&mut self, rule: u32, condition: &Condition) {
        let Some(anchors) = anchors(condition) else {
            self.scan.push(rule);
            return;
        };
        for anchor in anchors {
            match anchor {
                Anchor::Exact(field, value) => {
                    push(self.exact.entry(field).or_default().entry(value.into()).or_default(), rule);
                }
                Anchor::Prefix(field, value) => self.prefix.entry(field).or_default().file(value, rule),
                Anchor::Range(field, min, max) => self.range.entry(field).or_default().push((min, max, rule)),
                Anchor::Semver(field, wanted) => self.semver.entry(field).or_default().push((wanted.clone(), rule)),
            }
        }
    }
}

fn push(rules: &mut Vec<u32>, rule: u32) {
    // An `any` may name one value twice.
    if rules.last() != Some(&rule) {
        rules.push(rule);
    }
}

// === impl Prefixes ===

impl Prefixes {
    fn file(&mut self, value: &[u8], rule: u32) {
        if let Err(at) = self.lens.binary_search(&value.len()) {
            self.lens.insert(at, value.len());
        }
        push(self.rules.entry(value.into()).or_default(), rule);
    }

    fn hits<'p>(&'p self, value: &[u8]) -> Vec<&'p Vec<u32>> {
        let heads = self.lens.iter().map_while(|&len| value.get(..len));
        heads.filter_map(|head| self.rules.get(head)).collect()
    }
}
