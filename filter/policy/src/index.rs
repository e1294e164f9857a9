//! Finding the first rule that holds without asking every rule.
//!
//! Each rule is filed under its *anchors*: comparisons of which at least one must hold for the rule
//! to hold. A request then asks only the rules whose anchors its values hit: exact values by hash,
//! prefixes by hash once per distinct length, numbers and versions parsed once per field. Rules
//! without anchors (a `not`, a `suffix`, a bare `percent`) are asked one by one. A thousand rules so
//! cost about as much as ten, as long as few of them are of that last kind.

use semver::VersionReq;

use crate::bytes::ByteMap;
use crate::condition::{Condition, Test, version};
use crate::field::{FieldId, Values};
use crate::number::Number;

/// Rules by anchor. Every list of rules ascends.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    exact: ByField<Literals>,
    prefix: ByField<Prefixes>,
    range: ByField<Vec<(Number, Number, u32)>>,
    semver: ByField<Vec<(VersionReq, u32)>>,
    scan: Vec<u32>,
}

/// A list and no map: there are few fields, every request goes through all of them, and a map's code
/// would come once for each of the four kinds.
type ByField<T> = Vec<(FieldId, T)>;

/// Prefixes by length, so that a value is hashed once for each distinct length.
#[derive(Clone, Debug, Default)]
struct Prefixes {
    lens: Vec<usize>,
    heads: Literals,
}

/// Rules by the value they compare with. Most requests meet none of them, and two marks spare hashing
/// for those: which lengths (63 stands for all above) and which first bytes (0 for none) occur.
#[derive(Clone, Debug, Default)]
struct Literals {
    lens: u64,
    firsts: [u64; 4],
    rules: ByteMap<Vec<u32>>,
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

    fn candidates(&self, values: &mut Values<'_>, ask: &mut impl FnMut(u32, &mut Values<'_>)) {
        for (field, rules) in &self.exact {
            let hit = values.get(*field).and_then(|value| rules.hit(value));
            hit.into_iter().flatten().for_each(|&rule| ask(rule, values));
        }
        for (field, prefixes) in &self.prefix {
            let hits = values.get(*field).map(|value| prefixes.hits(value)).unwrap_or_default();
            hits.into_iter().flatten().for_each(|&rule| ask(rule, values));
        }
        for (field, ranges) in &self.range {
            let Some(value) = values.get(*field).and_then(Number::parse) else { continue };
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
        for Anchor { field, by } in anchors {
            match by {
                By::Exact(value) => of_field(&mut self.exact, field, |rules| rules.file(value, rule)),
                By::Prefix(value) => of_field(&mut self.prefix, field, |prefixes| prefixes.file(value, rule)),
                By::Range(min, max) => of_field(&mut self.range, field, |ranges| ranges.push((min, max, rule))),
                By::Semver(wanted) => of_field(&mut self.semver, field, |all| all.push((wanted.clone(), rule))),
            }
        }
    }
}

/// Changes what is filed under a field.
fn of_field<T: Default>(all: &mut ByField<T>, field: FieldId, change: impl FnOnce(&mut T)) {
    match all.iter_mut().find(|(known, _)| *known == field) {
        Some((_, filed)) => change(filed),
        None => {
            let mut filed = T::default();
            change(&mut filed);
            all.push((field, filed));
        }
    }
}

// === impl Literals ===

impl Literals {
    fn file(&mut self, value: &[u8], rule: u32) {
        self.lens |= len_bit(value);
        let (word, bit) = first_bit(value);
        if let Some(word) = self.firsts.get_mut(word) {
            *word |= bit;
        }
        let rules = self.rules.entry(value.into()).or_default();
        // An `any` may name one value twice.
        if rules.last() != Some(&rule) {
            rules.push(rule);
        }
    }

    fn hit(&self, value: &[u8]) -> Option<&Vec<u32>> {
        if self.lens & len_bit(value) != 0 && self.may_begin(value) { self.rules.get(value) } else { None }
    }

    fn may_begin(&self, value: &[u8]) -> bool {
        let (word, bit) = first_bit(value);
        self.firsts.get(word).is_some_and(|word| word & bit != 0)
    }
}

fn len_bit(value: &[u8]) -> u64 {
    1 << value.len().min(63)
}

fn first_bit(value: &[u8]) -> (usize, u64) {
    let first = value.first().copied().unwrap_or(0);
    (usize::from(first / 64), 1 << (first % 64))
}

// === impl Prefixes ===

impl Prefixes {
    fn file(&mut self, value: &[u8], rule: u32) {
        if let Err(at) = self.lens.binary_search(&value.len()) {
            self.lens.insert(at, value.len());
        }
        self.heads.file(value, rule);
    }

    fn hits<'p>(&'p self, value: &[u8]) -> Vec<&'p Vec<u32>> {
        if !self.heads.may_begin(value) {
            return Vec::new();
        }
        let heads = self.lens.iter().map_while(|&len| value.get(..len));
        heads.filter_map(|head| self.heads.hit(head)).collect()
    }
}
