//! What has to be true before a weight is raised. Lowering never asks.

use std::collections::BTreeMap;

use crate::engine::judging::Judgement;
use crate::engine::seen::{Arrival, Seen};
use crate::engine::status::WaitReason;
use crate::release::units::{WHOLE, percent};
use crate::release::{Member, Release};

use super::lines;

/// The first gate that is closed for these weights, and why in words.
pub(super) fn closed(release: &Release, seen: &Seen, weights: &BTreeMap<String, u32>) -> Option<(WaitReason, String)> {
    if !seen.problems.is_empty() {
        return Some((WaitReason::Routes, lines(&seen.problems)));
    }
    if let Some(unanswered) = seen.judgement.as_ref().and_then(Judgement::unanswered) {
        return Some((WaitReason::Evidence, unanswered.to_owned()));
    }
    if !seen.arrival.reaches(release.plan.quorum) {
        return Some((WaitReason::Acknowledgement, missing(&seen.arrival)));
    }
    release.members.iter().enumerate().find_map(|(index, member)| {
        let (reason, message) = too_small(release, seen, member, weights)?;
        Some((reason, format!("spec.members[{index}]: {message}")))
    })
}

/// Whether a member's version in one of the lanes could not bear the lane's weight.
fn too_small(
    release: &Release,
    seen: &Seen,
    member: &Member,
    weights: &BTreeMap<String, u32>,
) -> Option<(WaitReason, String)> {
    let stable = seen.stable.get(&member.label).copied().unwrap_or_default();
    let whole = stable.wanted.max(stable.ready);
    let lanes = member.lanes.iter().filter_map(|lane| Some((lane, *weights.get(lane).filter(|weight| **weight > 0)?)));
    for (lane, weight) in lanes {
        let version = crate::build::Version { service: member.label.clone(), lane: lane.clone() };
        let ready = seen.versions.get(&version).copied().unwrap_or_default().ready;
        if ready == 0 {
            let mend = if seen.probed {
                "see that what `proxies.yaml` probes for it answers, or mend the probe there".into()
            } else {
                format!(
                    "see that pods with the labels of subset {lane} run and are ready, or mend the subset in its DestinationRule"
                )
            };
            return Some((WaitReason::Endpoints, format!("{version} has no ready endpoint; {mend}")));
        }
        let needed = needed(whole, weight, release.plan.capacity_floor);
        if ready < needed {
            let lack = format!("{version} has {ready} of {needed} ready replicas that {} needs", percent(weight));
            let mend = "start more of them, or lower `spec.capacity.floor`";
            return Some((WaitReason::Capacity, format!("{lack}; {mend}")));
        }
    }
    None
}

/// Replicas a lane needs: its share of stable's replicas, times the floor, rounded up.
fn needed(stable: u32, weight: u32, floor: u32) -> u32 {
    let whole = u64::from(WHOLE);
    let needed = (u64::from(stable) * u64::from(weight) * u64::from(floor)).div_ceil(whole * whole);
    u32::try_from(needed).unwrap_or(u32::MAX)
}

/// Which proxies do not run a change, in words.
pub(super) fn missing(arrival: &Arrival) -> String {
    if !arrival.known {
        return "the change is on its way to the proxies".into();
    }
    if arrival.expected == 0 {
        return "no proxy runs graylane; `graylane install` shows how to opt in".into();
    }
    let named: Vec<&str> = arrival.missing.iter().take(super::NAMED).map(String::as_str).collect();
    let more = arrival.missing.len().saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} of {} proxies run it; missing: {}{more}", arrival.acknowledged, arrival.expected, named.join(", "))
}

/// Which stable versions could not bear what falls to them, in words; empty when all can.
pub(super) fn short_stable(seen: &Seen) -> String {
    let short = seen.stable.iter().filter(|(_, replicas)| replicas.ready < replicas.wanted);
    let texts = short.map(|(service, replicas)| {
        format!("stable of {service} has {} of {} replicas ready", replicas.ready, replicas.wanted)
    });
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_needs_its_share_of_stables_replicas_rounded_up() {
        assert_eq!(needed(10, 500, 10_000), 1);
        assert_eq!(needed(10, 2_500, 10_000), 3);
        assert_eq!(needed(10, 2_500, 5_000), 2);
        assert_eq!(needed(4, 9_800, 10_000), 4);
        assert_eq!(needed(10, 10_000, 0), 0);
        assert_eq!(needed(u32::MAX, 10_000, 10_000), u32::MAX);
    }
}
