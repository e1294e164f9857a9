//! Parts of filter documents, as tests write them.

use graylane_policy::hash::slot_of;
use graylane_policy::raw::{
    RawCondition, RawConfig, RawEntry, RawField, RawMatch, RawOperator, RawRule, RawRun, RawSlots,
};

/// The salt of [`slots`].
pub const SALT: &str = "shop/summer#1";

/// The entries of a document.
pub fn entries(document: &mut RawConfig) -> impl Iterator<Item = &mut RawEntry> {
    document.groups.iter_mut().filter_map(|group| group.entry.as_mut())
}

/// A rule that opts into the lane `canary`, always.
#[must_use]
pub fn rule(name: &str, when: RawCondition) -> RawRule {
    RawRule { name: name.into(), lane: "canary".into(), when, from_unix: None, until_unix: None }
}

/// One field under one operator.
#[must_use]
pub fn matching(field: RawField, is: RawOperator) -> RawCondition {
    RawCondition::Match(RawMatch { field, is })
}

/// This many of the 10,000 slots in the lane `canary`, the others in `stable`.
#[must_use]
pub fn slots(canary: u32) -> RawSlots {
    let run = |until, lane: &str| RawRun { until, lane: lane.into() };
    let runs = [run(canary, "canary"), run(10_000, "stable")];
    let mut begin = 0;
    let not_empty = |run: &RawRun| std::mem::replace(&mut begin, run.until) < run.until;
    RawSlots { salt: SALT.into(), runs: runs.into_iter().filter(not_empty).collect(), expires_unix: None }
}

/// Whether [`slots`] send this unit to the lane `canary`.
#[must_use]
pub fn is_in_canary(unit: &str, canary: u32) -> bool {
    u32::from(slot_of(unit.as_bytes(), SALT)) < canary
}
