//! One lane group: names, marks, destinations.

use std::ops::RangeInclusive;

use hashbrown::HashMap;

use crate::authority::Authority;
use crate::brake::Brake;
use crate::headers::UNTRUSTED_PREFIX;
use crate::lane::LaneId;
use crate::path::Path;
use crate::policy::{Carried, Destination, Entry, Group, Trace};
use crate::problem::{Problems, Shown};
use crate::raw::{ClientMarks, RawBrake, RawConfig, RawDestination, RawGroup, RawTrace, Role};
use crate::slots::STABLE;

use super::fields::Fields;
use super::{entry, names};

/// Most lanes a group may have.
const MAX_LANES: usize = 1_000;
/// Most latency objectives of a destination.
const MAX_OBJECTIVES: usize = 8;
/// Longest time that calls may outlive their lane where they are closed at all: a day.
const MAX_DRAIN_MS: u64 = 86_400_000;
/// Evidence a brake may ask for: a chance of 5 in 100, or of one in 10^15.
const EVIDENCE: RangeInclusive<u64> = 20..=1_000_000_000_000_000;

/// The group being checked and what stands around it.
pub(super) struct Place<'p> {
    pub(super) path: &'p Path<'p>,
    pub(super) at: usize,
    pub(super) raw: &'p RawConfig,
    pub(super) earlier: &'p [Group],
    pub(super) problems: &'p mut Problems,
}

// === impl Place ===

impl Place<'_> {
    pub(super) fn compile(&mut self, group: &RawGroup, fields: &mut Fields<'_>) -> Group {
        self.check_name(group);
        self.check_carried(group);
        let lanes = self.lanes(group);
        let entry = group
            .entry
            .as_ref()
            .map(|raw| entry::compile(raw, &self.path.key("entry"), &lanes, &group.rollout, fields, self.problems));
        let header = group.carried_header.to_ascii_lowercase();
        Group {
            name: group.name.clone(),
            rollout: group.rollout.clone(),
            carried: Carried {
                id: fields.headers().intern(&header),
                untrusted: fields.headers().intern(&format!("{UNTRUSTED_PREFIX}{header}")),
                name: header,
            },
            baggage_key: group.baggage.then(|| format!("graylane.{}", group.name)),
            client_marks: self.client_marks(group),
            trace: group.lanes.trace.as_ref().map(|trace| self.trace(trace)),
            drain_after_ms: self.drain_after_ms(group),
            brake: group.brake.as_ref().map(|raw| self.brake(raw, group, &lanes, entry.as_ref())),
            entry,
            lanes,
        }
    }

    fn check_name(&mut self, group: &RawGroup) {
        let path = self.path.key("name");
        names::require_dns_label(self.problems, &path, &group.name);
        let taken = self.earlier.iter().any(|other| other.name == group.name);
        let message = format_args!("group `{}` is there twice", group.name);
        self.problems.require(!taken, &path, &message, &"merge the two");
        self.problems.require(
            names::is_label_value(&group.rollout),
            &self.path.key("rollout"),
            &format_args!("`{}` cannot be a metric label", Shown(&group.rollout)),
            &"write namespace/name of the release",
        );
        self.problems.require(
            !self.raw.entry_only || group.entry.is_some(),
            &self.path.key("entry"),
            &"an entryOnly document has nothing to do here",
            &"give the group an entry, or leave it out",
        );
    }

    fn check_carried(&mut self, group: &RawGroup) {
        let path = self.path.key("carriedHeader");
        let name = group.carried_header.to_ascii_lowercase();
        if !names::require_header(self.problems, &path, &name) {
            return;
        }
        self.problems.require(
            !names::is_spoken_for(&name),
            &path,
            &format_args!("`{name}` has a meaning of its own"),
            &"choose another header, such as x-release-stage",
        );
        let taken = self.earlier.iter().find(|other| other.carried.name == name);
        if let Some(other) = taken {
            let message = format_args!("group `{}` on the same proxy carries its lane in `{name}` too", other.name);
            self.problems.add(&path, &message, &"give each group that meets on a proxy a header of its own");
        }
    }

    fn lanes(&mut self, group: &RawGroup) -> Vec<String> {
        let path = self.path.key("lanes.names");
        let count = group.lanes.names.len();
        let mend = format_args!("use at most {MAX_LANES}");
        self.problems.require(count <= MAX_LANES, &path, &format_args!("{count} lanes"), &mend);
        let mut lanes = vec![STABLE.to_owned()];
        for (at, name) in group.lanes.names.iter().take(MAX_LANES).enumerate() {
            let path = path.at(at);
            names::require_dns_label(self.problems, &path, name);
            let why = if name == STABLE { "always exists" } else { "is there twice" };
            let fresh = !lanes.contains(name);
            self.problems.require(fresh, &path, &format_args!("lane `{name}` {why}"), &"leave it out");
            lanes.push(name.clone());
        }
        lanes
    }

    /// Marks are believed behind the entry, not at it: where lanes are chosen for what comes in, a
    /// client is as little known as at a gateway.
    fn client_marks(&mut self, group: &RawGroup) -> ClientMarks {
        let default = match self.raw.role {
            Role::Gateway => ClientMarks::Drop,
            Role::Inbound if group.entry.is_some() => ClientMarks::Drop,
            Role::Inbound | Role::Outbound => ClientMarks::Accept,
        };
        let marks = group.client_marks.unwrap_or(default);
        self.problems.require(
            !(marks == ClientMarks::Peers && self.raw.role == Role::Outbound),
            &self.path.key("clientMarks"),
            &"the outbound side has no peer to identify",
            &"write accept or drop",
        );
        marks
    }

    fn trace(&mut self, raw: &RawTrace) -> Trace {
        let path = self.path.key("lanes.trace");
        self.problems.require(
            !raw.workloads.is_empty(),
            &path.key("workloads"),
            &"no workload is named, so nothing would be noted",
            &"name the carriers, write \"*\" for all, or leave trace out",
        );
        self.problems.require(
            (100..=600_000).contains(&raw.ttl_ms),
            &path.key("ttlMs"),
            &format_args!("{} ms is no sensible time to remember a trace", raw.ttl_ms),
            &"write 100 to 600000",
        );
        Trace { workloads: raw.workloads.clone(), ttl_ms: raw.ttl_ms }
    }

    fn drain_after_ms(&mut self, group: &RawGroup) -> Option<u64> {
        let after_ms = group.drain_after_ms?;
        self.problems.require(
            after_ms <= MAX_DRAIN_MS,
            &self.path.key("drainAfterMs"),
            &format_args!("{after_ms} ms is longer than anybody waits for a lane to be empty"),
            &"write at most a day, 86400000",
        );
        Some(after_ms)
    }

    fn brake(&mut self, raw: &RawBrake, group: &RawGroup, lanes: &[String], entry: Option<&Entry>) -> Brake {
        let path = self.path.key("brake");
        self.problems.require(
            EVIDENCE.contains(&raw.evidence),
            &path.key("evidence"),
            &format_args!("{} is no sensible amount of evidence", raw.evidence),
            &"write proxies x lanes / chance of a false trip, 20 to 10^15",
        );
        let good = names::is_label_value(&raw.attempt);
        let message = format_args!("`{}` names no attempt", Shown(&raw.attempt));
        self.problems.require(good, &path.key("attempt"), &message, &"write the salt of the attempt");
        self.problems.require(
            self.raw.role != Role::Inbound || entry.is_some(),
            &path,
            &"an inbound side that is no entry makes no calls to compare",
            &"leave brake out there",
        );
        let is_ready = |name: &String| group.lanes.destinations.iter().any(|member| member.ready.contains(name));
        Brake::new(raw, &group.rollout, lanes, |lane, name| match entry {
            Some(entry) => entry.may_pick(lane),
            None => is_ready(name),
        })
    }

    pub(super) fn destinations(
        &mut self,
        raw: &RawGroup,
        group: &Group,
        all: &mut Vec<Destination>,
        hosts: &mut HashMap<Box<[u8]>, usize>,
    ) {
        let list = self.path.key("lanes.destinations");
        for (at, destination) in raw.lanes.destinations.iter().enumerate() {
            let path = list.at(at);
            let taken = all.iter().any(|other| other.service == destination.service);
            let message = format_args!("service `{}` is there twice", destination.service);
            self.problems.require(!taken, &path.key("service"), &message, &"a service is in one group, once");
            self.add_hosts(destination, &path, all, hosts);
            let compiled = self.destination(destination, &path, group);
            all.push(compiled);
        }
    }

    fn add_hosts(
        &mut self,
        raw: &RawDestination,
        path: &Path<'_>,
        all: &[Destination],
        hosts: &mut HashMap<Box<[u8]>, usize>,
    ) {
        let mend = "list every name callers use, such as orders, orders.shop.svc.cluster.local or orders:8080";
        let list = path.key("hosts");
        self.problems.require(!raw.hosts.is_empty(), &list, &"no host is named", &mend);
        for (at, host) in raw.hosts.iter().enumerate() {
            let path = list.at(at);
            let parsed = Authority::parse(host.as_bytes()).filter(|_| names::is_label_value(host));
            let Some(authority) = parsed else {
                self.problems.add(&path, &format_args!("`{}` is no authority", Shown(host)), &mend);
                continue;
            };
            let earlier = hosts.insert(authority.whole().into(), all.len()).filter(|&other| other != all.len());
            if let Some(other) = earlier.and_then(|other| all.get(other)) {
                let message = format_args!("host `{host}` means service `{}` already", other.service);
                self.problems.add(&path, &message, &"a host means one service");
            }
        }
    }

    fn destination(&mut self, raw: &RawDestination, path: &Path<'_>, group: &Group) -> Destination {
        self.problems.require(
            names::is_label_value(&raw.service),
            &path.key("service"),
            &format_args!("`{}` cannot be a metric label", Shown(&raw.service)),
            &"write name.namespace of the service",
        );
        let objectives = raw.slow_over_ms.len() <= MAX_OBJECTIVES && raw.slow_over_ms.iter().all(|&ms| ms > 0);
        self.problems.require(
            objectives,
            &path.key("slowOverMs"),
            &"latency objectives are positive milliseconds, at most 8 of them",
            &"write such as [250, 1000]",
        );
        let mut ready = vec![false; group.lanes.len()];
        for (at, name) in raw.ready.iter().enumerate() {
            let lane = group.lane_named(name.as_bytes()).filter(|lane| !lane.is_stable());
            match lane.and_then(|LaneId(lane)| ready.get_mut(usize::from(lane))) {
                Some(slot) => *slot = true,
                None => unknown_lane(self.problems, &path.key("ready").at(at), name, &group.lanes),
            }
        }
        Destination {
            group: self.at,
            service: raw.service.clone(),
            ready,
            route_by: raw.route_by,
            slow_over_ms: raw.slow_over_ms.clone(),
        }
    }
}

/// Reports a lane that the group does not have.
#[cold]
pub(super) fn unknown_lane(problems: &mut Problems, path: &Path<'_>, name: &str, lanes: &[String]) {
    let known = lanes.join(", ");
    problems.add(
        path,
        &format_args!("the group has no lane `{}`", Shown(name)),
        &format_args!("use one of {known}, or add it to lanes.names"),
    );
}
