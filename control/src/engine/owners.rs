//! Which release has a group. There is no object for a group: its oldest unfinished release owns it.

use std::collections::BTreeMap;

use super::seams::Object;
use super::status::{Exposure, Phase, Status};
use crate::release::Release;

/// The release that has a group.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) id: String,
    uid: String,
    /// Whether it holds the group for good, or only comes before all others.
    has_begun: bool,
}

/// By namespace and group the release that has it: the oldest that is not finished and could begin. One
/// that runs keeps its group even if an older one, once mended, would like to have it.
pub(super) fn owners(objects: &[Object]) -> BTreeMap<(String, String), Owner> {
    let mut owners: BTreeMap<(String, String), Owner> = BTreeMap::new();
    for object in objects {
        let Some(key) = group_of(object) else { continue };
        let has_begun = has_begun(object);
        let could_begin = could_begin(object);
        let comes_first = owners.get(&key).is_none_or(|owner| has_begun && !owner.has_begun);
        if (has_begun || could_begin) && comes_first {
            owners.insert(key, Owner { id: object.id.clone(), uid: object.uid.clone(), has_begun });
        }
    }
    owners
}

fn group_of(object: &Object) -> Option<(String, String)> {
    object.spec.as_ref().ok().map(|release| (release.namespace.clone(), release.group.clone()))
}

/// The release that has the group of this one, if it is another.
pub(super) fn owner<'a>(owners: &'a BTreeMap<(String, String), Owner>, object: &Object) -> Option<&'a Owner> {
    owners.get(&group_of(object)?).filter(|owner| owner.uid != object.uid)
}

/// The releases of other groups that come before this one: they have begun, or could and are older.
/// `objects` are in the order of their age.
pub(super) fn rivals<'a>(
    objects: &'a [Object],
    owners: &BTreeMap<(String, String), Owner>,
    index: usize,
) -> Vec<&'a Release> {
    let Some(object) = objects.get(index) else { return Vec::new() };
    let group = group_of(object);
    let comes_before = |at: usize, other: &Object| match (has_begun(other), has_begun(object)) {
        (true, true) | (false, false) => at < index,
        (begun, _) => begun,
    };
    let is_rival = |(at, other): &(usize, &Object)| {
        let key = group_of(other);
        let owns = key.as_ref().and_then(|key| owners.get(key)).is_some_and(|owner| owner.uid == other.uid);
        owns && key != group && comes_before(*at, other)
    };
    objects.iter().enumerate().filter(is_rival).filter_map(|(_, other)| other.spec.as_ref().ok()).collect()
}

fn has_begun(object: &Object) -> bool {
    object.status.exposure != Exposure::Absent || is_withdrawing(&object.status)
}

fn could_begin(object: &Object) -> bool {
    let phase = object.status.phase;
    !object.deleting && !phase.is_finished() && phase != Phase::Invalid
}

fn is_withdrawing(status: &Status) -> bool {
    matches!(status.phase, Phase::RollingBack | Phase::Promoting)
}
