//! Finding the first rule that holds without asking every rule.
//!
//! Each rule is filed under its *anchors*: comparisons of which at least one must hold for the rule
//! to hold. A request then asks only the rules whose anchors its values hit: exact values by hash,
//! prefixes by hash once per distinct length, numbers and versions parsed once per field. Rules
//! without anchors (a `not`, a `suffix`, a bare `percent`) are asked one by one. A thousand rules so
//! cost about as much as ten, as long as few of them are of that last kind.

use hashbrown::HashMap;
use semver::VersionReq;

use crate::condition::{Condition, Test, version};
use crate::field::{FieldId, Values};
use crate::number::Number;

/// Rules by anchor. Every list of rules ascends.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    by_field: Vec<Anchored>,
    scan: Vec<u32>,
}

/// The rules that are anchored on one field.
#[derive(Clone, Debug)]
struct Anchored {
    field: FieldId,
    exact: HashMap<Box<[u8]>, Vec<u32>>,
    prefix: Prefixes,
    range: Vec<(Number, Number, u32)>,
    semver: Vec<(VersionReq, u32)>,
}

/// Prefixes by length, so that a value is hashed once for each distinct length.
#[derive(Clone, Debug, Default)]
struct Prefixes {
    lens: Vec<usize>,
    rules: HashMap<Box<[u8]>, Vec<u32>>,
}

/// A comparison on a field.
struct Anchor<'c> {
    field: FieldId,
    by: By<'c>,
}

enum By<'c> {
    Exact(&'c [u8]),
    Prefix(&'c [u8]),
    Range(Number, Number),
    Semver(&'c VersionReq),
}

/// The anchors of a condition; `None` when it can hold without any of them.
fn anchors(condition: &Condition) -> Option<Vec<Anchor<'_>>> {
    match condition {
        Condition::All(parts) => parts.iter().filter_map(anchors).min_by_key(Vec::len),
        Condition::Any(parts) => {
            let every: Option<Vec<_>> = parts.iter().map(anchors).collect();
            every.map(|parts| parts.into_iter().flatten().collect())
        }
        Condition::Match { field, test } => {
            let anchor = |by| Anchor { field: *field, by };
            match test {
                Test::Exact(value) => Some(vec![anchor(By::Exact(value))]),
                Test::In(values) => Some(values.iter().map(|value| anchor(By::Exact(value))).collect()),
                Test::Prefix(value) => Some(vec![anchor(By::Prefix(value))]),
                Test::Range { min, max } => Some(vec![anchor(By::Range(*min, *max))]),
                Test::Semver(wanted) => Some(vec![anchor(By::Semver(wanted))]),
                _ => None,
            }
        }
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

    /// Asks kind by kind, the cheapest first: a low rule found early spares asking the higher ones.
    fn candidates(&self, values: &mut Values<'_>, ask: &mut impl FnMut(u32, &mut Values<'_>)) {
        for Anchored { field, exact, .. } in self.by_field.iter().filter(|anchored| !anchored.exact.is_empty()) {
            let hit = values.get(*field).and_then(|value| exact.get(value));
            hit.into_iter().flatten().for_each(|&rule| ask(rule, values));
        }
        for Anchored { field, prefix, .. } in self.by_field.iter().filter(|anchored| !anchored.prefix.lens.is_empty()) {
            let hits = values.get(*field).map(|value| prefix.hits(value)).unwrap_or_default();
            hits.into_iter().flatten().for_each(|&rule| ask(rule, values));
        }
        for Anchored { field, range, .. } in self.by_field.iter().filter(|anchored| !anchored.range.is_empty()) {
            let Some(value) = values.get(*field).and_then(Number::parse) else { continue };
            let hits = range.iter().filter(|(min, max, _)| (*min..=*max).contains(&value));
            hits.for_each(|&(_, _, rule)| ask(rule, values));
        }
        for Anchored { field, semver, .. } in self.by_field.iter().filter(|anchored| !anchored.semver.is_empty()) {
            let Some(value) = values.get(*field).and_then(version) else { continue };
            let hits = semver.iter().filter(|(wanted, _)| wanted.matches(&value));
            hits.for_each(|&(_, rule)| ask(rule, values));
        }
    }

    fn file(&mut self, rule: u32, condition: &Condition) {
        let Some(anchors) = anchors(condition) else {
            self.scan.push(rule);
            return;
        };
        for Anchor { field, by } in anchors {
            let Some(anchored) = self.on(field) else { continue };
            match by {
                By::Exact(value) => push(anchored.exact.entry(value.into()).or_default(), rule),
                By::Prefix(value) => anchored.prefix.file(value, rule),
                By::Range(min, max) => anchored.range.push((min, max, rule)),
                By::Semver(wanted) => anchored.semver.push((wanted.clone(), rule)),
            }
        }
    }

    /// The entry of a field, new or known; there always is one.
    fn on(&mut self, field: FieldId) -> Option<&mut Anchored> {
        let known = self.by_field.iter().position(|anchored| anchored.field == field);
        let at = known.unwrap_or_else(|| {
            self.by_field.push(Anchored::new(field));
            self.by_field.len() - 1
        });
        self.by_field.get_mut(at)
    }
}

fn push(rules: &mut Vec<u32>, rule: u32) {
    // An `any` may name one value twice.
    if rules.last() != Some(&rule) {
        rules.push(rule);
    }
}

// === impl Anchored ===

impl Anchored {
    fn new(field: FieldId) -> Self {
        Self { field, exact: HashMap::new(), prefix: Prefixes::default(), range: Vec::new(), semver: Vec::new() }
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
