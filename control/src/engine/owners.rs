//! Which release has a group. There is no object for a group: its oldest unfinished release owns it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::seams::Object;
use super::status::{Exposure, Phase, Status};
use crate::release::Release;

/// The release that has a group.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) id: String,
    uid: String,
    /// Where it stands among all.
    index: usize,
    /// Whether it holds the group for good, or only comes before all others.
    has_begun: bool,
}

/// By namespace and group the release that has it: the oldest that is not finished and could begin. One
/// that runs keeps its group even if an older one, once mended, would like to have it.
pub(super) fn owners(objects: &[Arc<Object>]) -> BTreeMap<(String, String), Owner> {
    let mut owners: BTreeMap<(String, String), Owner> = BTreeMap::new();
    for (index, object) in objects.iter().enumerate() {
        let Some(key) = group_of(object) else { continue };
        let has_begun = has_begun(object);
        let could_begin = could_begin(object);
        let comes_first = owners.get(&key).is_none_or(|owner| has_begun && !owner.has_begun);
        if (has_begun || could_begin) && comes_first {
            owners.insert(key, Owner { id: object.id.clone(), uid: object.uid.clone(), index, has_begun });
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
/// `objects` are in the order of their age. Only owners can be rivals, so this looks at no other.
pub(super) fn rivals<'a>(
    objects: &'a [Arc<Object>],
    owners: &BTreeMap<(String, String), Owner>,
    index: usize,
) -> Vec<&'a Release> {
    let Some(object) = objects.get(index) else { return Vec::new() };
    let (group, begun) = (group_of(object), has_begun(object));
    let comes_before = |owner: &Owner| if owner.has_begun == begun { owner.index < index } else { owner.has_begun };
    let others = owners.iter().filter(|(key, owner)| Some(*key) != group.as_ref() && comes_before(owner));
    let mut rivals: Vec<usize> = others.map(|(_, owner)| owner.index).collect();
    rivals.sort_unstable();
    rivals.into_iter().filter_map(|at| objects.get(at)?.spec.as_ref().ok()).collect()
}

/// Whether something of a release is in the config of proxies, or on its way out of it.
pub(super) fn has_begun(object: &Object) -> bool {
    object.status.exposure != Exposure::Absent || is_withdrawing(&object.status)
}

fn could_begin(object: &Object) -> bool {
    let phase = object.status.phase;
    !object.deleting && !phase.is_finished() && phase != Phase::Invalid
}

fn is_withdrawing(status: &Status) -> bool {
    matches!(status.phase, Phase::RollingBack | Phase::Promoting)
}
