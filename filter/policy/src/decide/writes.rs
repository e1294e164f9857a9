//! The header writes of a decision: only where what should be there differs from what is.
//!
//! Any write makes Envoy pick the route again, so a stable request gets none.

use std::borrow::Cow;

use crate::baggage;
use crate::headers::{self, Captured};
use crate::lane::{Cohort, LaneId};
use crate::policy::{Group, Policy};
use crate::raw::{Role, RouteBy};

use super::choose::{trusts_marks, value_of};
use super::{Decision, Inputs};

/// One header to set or, without a value, to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write<'p> {
    /// Name, in lower case.
    pub name: Cow<'p, str>,
    /// The value; `None` removes the header.
    pub value: Option<Cow<'p, [u8]>>,
}

pub(super) fn of<'p>(policy: &'p Policy, inputs: &Inputs<'_>, decision: &Decision<'p>) -> Vec<Write<'p>> {
    let mut writes = Vec::new();
    for (group, choice) in policy.groups.iter().zip(&decision.choices) {
        writes.extend(carried(group, choice.lane, inputs));
        writes.extend(moved_away(policy, group, inputs));
    }
    writes.extend(cohorts(policy, inputs, decision));
    baggage_writes(policy, inputs, decision, &mut writes);
    writes.extend(route(policy, inputs.headers, decision));
    writes
}

fn set<'p>(name: &'p str, value: impl Into<Cow<'p, [u8]>>) -> Write<'p> {
    Write { name: name.into(), value: Some(value.into()) }
}

fn remove(name: &str) -> Write<'_> {
    Write { name: name.into(), value: None }
}

/// The carried header of one group.
fn carried<'p>(group: &'p Group, lane: LaneId, inputs: &Inputs<'_>) -> Option<Write<'p>> {
    let current = inputs.headers.get(group.carried.id);
    let name = group.carried.name.as_str();
    if !lane.is_stable() {
        let wanted = group.lane_name(lane).as_bytes();
        return (!inputs.headers.is_just(group.carried.id, wanted)).then(|| set(name, wanted));
    }
    // A believed header that names stable, or a lane nobody knows, is left as it came.
    let dropped = current.is_some() && !trusts_marks(group, inputs);
    dropped.then(|| remove(name))
}

/// What a gateway moved away has been judged here; further on, a proxy with other trust could take it
/// for something its own gateway moved.
fn moved_away<'p>(policy: &Policy, group: &Group, inputs: &Inputs<'_>) -> Option<Write<'p>> {
    let moved = policy.role == Role::Gateway && inputs.headers.get(group.carried.untrusted).is_some();
    let name = || format!("{}{}", headers::UNTRUSTED_PREFIX, group.carried.name);
    moved.then(|| Write { name: name().into(), value: None })
}

/// The list of cohorts. Groups that this proxy does not know keep their place in it, but for what a
/// client sent to a gateway.
fn cohorts<'p>(policy: &'p Policy, inputs: &Inputs<'_>, decision: &Decision<'p>) -> Option<Write<'p>> {
    let current = inputs.headers.get(policy.wellknown.cohort);
    let any_lane = decision.choices.iter().any(|choice| !choice.lane.is_stable());
    let untrusted = policy.groups.iter().any(|group| !trusts_marks(group, inputs));
    let forged = untrusted && current.is_some();
    if !any_lane && !forged {
        return None;
    }
    let mut wanted = if policy.role == Role::Gateway { Vec::new() } else { foreign(policy, current.unwrap_or(b"")) };
    for (group, choice) in policy.groups.iter().zip(&decision.choices) {
        if !choice.lane.is_stable() && choice.cohort != Cohort::Unknown {
            push_pair(&mut wanted, group.name.as_bytes(), choice.cohort.as_str().as_bytes());
        }
    }
    match (wanted.is_empty(), current) {
        (true, None) => None,
        (true, Some(_)) => Some(remove(headers::COHORT)),
        (false, current) => (current != Some(wanted.as_slice())).then(|| set(headers::COHORT, wanted)),
    }
}

/// The pairs of groups that this config does not have.
fn foreign(policy: &Policy, list: &[u8]) -> Vec<u8> {
    let ours = |pair: &[u8]| policy.groups.iter().any(|group| value_of(pair, group.name.as_bytes()).is_some());
    let mut kept = Vec::new();
    for pair in list.split(|&byte| byte == b',').filter(|pair| !pair.is_empty() && !ours(pair)) {
        if !kept.is_empty() {
            kept.push(b',');
        }
        kept.extend_from_slice(pair);
    }
    kept
}

fn push_pair(list: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    if !list.is_empty() {
        list.push(b',');
    }
    list.extend_from_slice(key);
    list.push(b'=');
    list.extend_from_slice(value);
}

/// Baggage: our members set where the request has a lane, and taken out where a client's are not
/// believed. What a gateway's early header mutation moved away is put back without ours.
fn baggage_writes<'p>(policy: &'p Policy, inputs: &Inputs<'_>, decision: &Decision<'p>, writes: &mut Vec<Write<'p>>) {
    let Some(known) = policy.wellknown.baggage else { return };
    let current = inputs.headers.get(known.trusted);
    let moved = inputs.headers.get(known.untrusted).filter(|_| policy.role == Role::Gateway);
    let Some(wanted) = wanted_baggage(policy, inputs, decision, current.or(moved)) else { return };
    if moved.is_some() {
        writes.push(remove("x-graylane-untrusted-baggage"));
    }
    match (wanted.is_empty(), current) {
        (true, None) => {}
        (true, Some(_)) => writes.push(remove(headers::BAGGAGE)),
        (false, current) if current == Some(wanted.as_slice()) => {}
        (false, _) => writes.push(set(headers::BAGGAGE, wanted)),
    }
}

/// The whole header as it should be; `None` where there is nothing to say about it.
fn wanted_baggage(
    policy: &Policy,
    inputs: &Inputs<'_>,
    decision: &Decision<'_>,
    current: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let mut wanted: Option<Vec<u8>> = None;
    for (group, choice) in policy.groups.iter().zip(&decision.choices) {
        let Some(key) = &group.baggage_key else { continue };
        let believed = trusts_marks(group, inputs);
        if choice.lane.is_stable() && (believed || current.is_none()) {
            continue;
        }
        let lane = (!choice.lane.is_stable()).then(|| group.lane_name(choice.lane));
        let member = lane.map(|lane| member_of(key, lane, choice.cohort));
        let base = wanted.as_deref().or(current).unwrap_or(b"");
        wanted = Some(baggage::replace(base, key.as_bytes(), member.as_deref()));
    }
    // Even with nothing to change, a client's baggage goes back where it belongs.
    let moved = policy.role == Role::Gateway && current.is_some();
    wanted.or_else(|| current.filter(|_| moved).map(<[u8]>::to_vec))
}

fn member_of(key: &str, lane: &str, cohort: Cohort) -> String {
    match cohort {
        Cohort::Unknown => format!("{key}={lane}"),
        known => format!("{key}={lane};cohort={}", known.as_str()),
    }
}

/// The route header: one hop only, and never what came from outside.
fn route<'p>(policy: &'p Policy, headers: &Captured<'_>, decision: &Decision<'p>) -> Option<Write<'p>> {
    let id = policy.wellknown.route;
    let current = headers.get(id);
    let wanted = wanted_route(policy, decision).map(str::as_bytes);
    match (wanted, current) {
        _ if policy.entry_only => None,
        (Some(wanted), _) => (!headers.is_just(id, wanted)).then(|| set(headers::ROUTE, wanted)),
        (None, Some(_)) => Some(remove(headers::ROUTE)),
        (None, None) => None,
    }
}

fn wanted_route<'p>(policy: &'p Policy, decision: &Decision<'p>) -> Option<&'p str> {
    let destination = policy.destinations.get(decision.destination?)?;
    let routed = policy.role != Role::Inbound && destination.route_by == RouteBy::Route;
    let group = policy.groups.get(destination.group).filter(|_| routed && !decision.served.is_stable())?;
    Some(group.lane_name(decision.served))
}
