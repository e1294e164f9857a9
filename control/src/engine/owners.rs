//! Which release has a group. There is no object for a group: its oldest unfinished release owns it.

use std::collections::BTreeMap;

use super::seams::Object;
use super::status::{Exposure, Phase, Status};

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
        let status = &object.status;
        let has_begun = status.exposure != Exposure::Absent || is_withdrawing(status);
        let could_begin = !object.deleting && !status.phase.is_finished() && status.phase != Phase::Invalid;
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

fn is_withdrawing(status: &Status) -> bool {
    matches!(status.phase, Phase::RollingBack | Phase::Promoting)
}
