//! The config of proxies, from the statuses of all releases. Pure.
//!
//! The documents of a place hold the groups of every release that meets there. A release whose lanes are
//! gone has no group; a place without any gets an empty document until its proxies have confirmed it, and
//! then the switch that needs no module.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use graylane_policy::raw::{RawBrake, RawConfig, RawGroup, RawRun};

use super::Millis;
use super::seams::{Object, Place, Wanted};
use super::status::{Exposure, Phase, Status};
use crate::build::{self, Running, Side, Version};
use crate::release::Release;

/// Slots expire this long after they were renewed last: a controller that is gone takes its weights with
/// it.
const EXPIRY_MS: Millis = 20 * 60 * 1000;
/// One attempt of so many has its brakes trip anywhere for no reason.
const FALSE_TRIP: u64 = 10_000;
/// Slots are renewed when they have less than this left.
const RENEWAL_MS: Millis = 10 * 60 * 1000;

/// Answers where the documents of a release go.
pub type PlacesOf<'a> = &'a dyn Fn(&Release) -> BTreeSet<Place>;

/// The places of a release in a mesh: its entries, and both sides of the sidecars in its namespace.
pub fn mesh_places(release: &Release) -> BTreeSet<Place> {
    let entry = &release.plan.entry;
    let at = |namespace: &str, side| Place { namespace: namespace.into(), side };
    let mut places: BTreeSet<Place> = entry.gateways.iter().map(|one| at(&one.namespace, Side::Gateway)).collect();
    places.insert(at(&release.namespace, Side::Inbound));
    places.insert(at(&release.namespace, Side::Outbound));
    if !entry.inbound.is_empty() {
        places.insert(at(&release.namespace, Side::InboundEntry));
    }
    if !entry.outbound.is_empty() {
        places.insert(at(&release.namespace, Side::OutboundEntry));
    }
    places
}

/// What the places of a namespace shall run. `held` is what they hold now; places that hold something
/// although no release is in force there become inert. Where nothing is in force and nothing is held,
/// nothing is wanted: a release that waits or has ended asks for nothing.
pub fn wanted(
    namespace: &str,
    objects: &[Arc<Object>],
    places_of: PlacesOf<'_>,
    held: &BTreeMap<Place, Option<RawConfig>>,
    now: Millis,
) -> BTreeMap<Place, Wanted> {
    let in_force = objects.iter().filter(|object| is_shown(&object.status) || is_withdrawing(&object.status));
    // Asked once: with many releases it is asked for each of their places otherwise.
    let in_force: Vec<InForce<'_>> =
        in_force.map(|object| InForce { object, places: object.spec.as_ref().ok().map(places_of) }).collect();
    let named = in_force.iter().filter_map(|one| one.places.as_ref()).flatten();
    let all: BTreeSet<&Place> = named.chain(held.keys()).filter(|place| place.namespace == namespace).collect();
    let wish = |place: &Place| {
        let held = held.get(place).and_then(Option::as_ref);
        (place.clone(), at(place, &in_force, held, now))
    };
    all.into_iter().map(wish).collect()
}

/// A release that has something to say to proxies.
struct InForce<'a> {
    object: &'a Object,
    /// Where; of a release that cannot be read, nobody knows.
    places: Option<BTreeSet<Place>>,
}

fn at(place: &Place, in_force: &[InForce<'_>], held: Option<&RawConfig>, now: Millis) -> Wanted {
    let mut groups: Vec<RawGroup> = in_force.iter().filter_map(|one| group(place, one, held, now)).collect();
    build::drop_ambiguous(&mut groups);
    let is_at = |one: &InForce<'_>| one.places.as_ref().is_none_or(|places| places.contains(place));
    let awaited = in_force.iter().any(|one| is_withdrawing(&one.object.status) && is_at(one));
    if groups.is_empty() && !awaited { Wanted::Inert } else { Wanted::Document(groups) }
}

fn is_shown(status: &Status) -> bool {
    status.exposure != Exposure::Absent
}

fn is_withdrawing(status: &Status) -> bool {
    status.exposure == Exposure::Absent && matches!(status.phase, Phase::RollingBack | Phase::Promoting)
}

fn group(place: &Place, one: &InForce<'_>, held: Option<&RawConfig>, now: Millis) -> Option<RawGroup> {
    let object = one.object;
    if !is_shown(&object.status) {
        return None;
    }
    let last = held.and_then(|document| document.groups.iter().find(|group| group.rollout == object.id));
    let status = &object.status;
    let mut group = match (&object.spec, &one.places) {
        (Ok(_), Some(places)) if !places.contains(place) => return None,
        (Ok(release), Some(_)) => build::group(place.side, &running(release, status)),
        _ => still_ready(last?.clone(), status),
    };
    if let Some(entry) = &mut group.entry {
        if status.exposure == Exposure::Draining {
            entry.rules.clear();
            entry.slots = None;
        }
        if let Some(slots) = &mut entry.slots {
            let before = last.and_then(|group| group.entry.as_ref()?.slots.as_ref()?.expires_unix);
            slots.expires_unix = expiry(status, before, now);
        }
    }
    Some(group)
}

/// The group that a release had while its spec could be read. What can serve is still told by what is seen.
fn still_ready(mut group: RawGroup, status: &Status) -> RawGroup {
    for destination in &mut group.lanes.destinations {
        let service = &destination.service;
        let version = |lane: &String| Version { service: service.clone(), lane: lane.clone() };
        destination.ready.retain(|lane| !status.not_ready.contains(&version(lane)));
        let serving = status.last_versions.difference(&status.not_ready).filter(|one| one.service == *service);
        for version in serving {
            if !destination.ready.contains(&version.lane) {
                destination.ready.push(version.lane.clone());
            }
        }
    }
    group
}

fn running(release: &Release, status: &Status) -> Running {
    Running {
        release: release.clone(),
        salt: status.salt.clone(),
        table: status.table(),
        not_ready: status.not_ready.clone(),
        brake: brake(release, status),
    }
}

/// Where a release is judged, proxies that choose lanes stop by themselves what does clear harm, long before
/// the controller has heard of it.
fn brake(release: &Release, status: &Status) -> Option<RawBrake> {
    release.plan.analysis.as_ref()?;
    // A power of two, so that it does not change with every pod.
    let proxies = u64::from(status.proxies.expected.max(1).next_power_of_two());
    let lanes = u64::try_from(release.lanes.len()).unwrap_or(1).max(1);
    let brake = status.brake.unwrap_or_default();
    Some(RawBrake {
        evidence: proxies.saturating_mul(lanes).saturating_mul(FALSE_TRIP),
        attempt: status.salt.clone(),
        released: brake.released.into(),
    })
}

/// When the slots of a release expire, in Unix seconds. Once the handover has begun they hold: stable may
/// no longer be what it was.
fn expiry(status: &Status, before: Option<u64>, now: Millis) -> Option<u64> {
    let expires = matches!(status.phase, Phase::Progressing | Phase::Paused) && !status.weights.is_empty();
    let still_good = |at: &u64| at.saturating_mul(1000) >= now.saturating_add(RENEWAL_MS);
    expires.then(|| before.filter(still_good).unwrap_or_else(|| now.saturating_add(EXPIRY_MS) / 1000))
}

/// When the slots of a document have to be renewed, if they expire at all.
pub fn renewal(document: &RawConfig) -> Option<Millis> {
    let slots = document.groups.iter().filter_map(|group| group.entry.as_ref()?.slots.as_ref());
    slots.filter_map(|slots| slots.expires_unix).min().map(|at| at.saturating_mul(1000).saturating_sub(RENEWAL_MS))
}

/// What of a release its documents depend on, for telling whether they have to be made again.
#[derive(Clone, Debug)]
pub struct Basis {
    exposure: Exposure,
    phase: Phase,
    salt: String,
    slots: Vec<RawRun>,
    not_ready: BTreeSet<Version>,
    released: u32,
    generation: i64,
    readable: bool,
}

// === impl Basis ===

impl Basis {
    /// What the documents of a release depend on now.
    pub fn of(object: &Object) -> Self {
        let status = &object.status;
        Self {
            exposure: status.exposure,
            phase: status.phase,
            salt: status.salt.clone(),
            slots: status.slots.clone(),
            not_ready: status.not_ready.clone(),
            released: status.brake.unwrap_or_default().released,
            generation: object.generation,
            readable: object.spec.is_ok(),
        }
    }

    /// Whether the documents of a release would be the same as when this was made.
    pub fn is_of(&self, object: &Object) -> bool {
        let status = &object.status;
        self.exposure == status.exposure
            && self.phase == status.phase
            && self.generation == object.generation
            && self.readable == object.spec.is_ok()
            && self.salt == status.salt
            && self.slots == status.slots
            && self.not_ready == status.not_ready
            && self.released == status.brake.unwrap_or_default().released
    }
}
