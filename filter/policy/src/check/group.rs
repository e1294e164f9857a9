//! One lane group: names, marks, destinations.

use hashbrown::HashMap;

use crate::authority::Authority;
use crate::headers::UNTRUSTED_PREFIX;
use crate::lane::LaneId;
use crate::policy::{Carried, Destination, Group, Trace};
use crate::problem::Problems;
use crate::raw::{ClientMarks, RawConfig, RawDestination, RawGroup, RawTrace, Role};
use crate::slots::STABLE;

use super::fields::Fields;
use super::{entry, names};

/// Most lanes a group may have.
const MAX_LANES: usize = 1_000;
/// Most latency objectives of a destination.
const MAX_OBJECTIVES: usize = 8;

/// The group being checked and what stands around it.
pub(super) struct Place<'p> {
    pub(super) path: &'p str,
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
        let entry = group.entry.as_ref().map(|raw| {
            let path = format!("{}.entry", self.path);
            entry::compile(raw, &path, &lanes, &group.rollout, fields, self.problems)
        });
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
            client_marks: self.client_marks(group, fields.role()),
            entry,
            trace: group.lanes.trace.as_ref().map(|trace| self.trace(trace)),
            lanes,
        }
    }

    fn check_name(&mut self, group: &RawGroup) {
        let path = format!("{}.name", self.path);
        names::require_dns_label(self.problems, &path, &group.name);
        let taken = self.earlier.iter().any(|other| other.name == group.name);
        self.problems.require(!taken, &path, format!("group `{}` is there twice", group.name), "merge the two");
        self.problems.require(
            names::is_label_value(&group.rollout),
            &format!("{}.rollout", self.path),
            format!("`{}` cannot be a metric label", group.rollout.escape_default()),
            "write namespace/name of the release",
        );
        self.problems.require(
            !self.raw.entry_only || group.entry.is_some(),
            &format!("{}.entry", self.path),
            "an entryOnly document has nothing to do here",
            "give the group an entry, or leave it out",
        );
    }

    fn check_carried(&mut self, group: &RawGroup) {
        let path = format!("{}.carriedHeader", self.path);
        let name = group.carried_header.to_ascii_lowercase();
        if !names::require_header(self.problems, &path, &name) {
            return;
        }
        let ours = name.starts_with("x-graylane-");
        let known =
            ["cookie", "baggage", "host", "content-type", "traceparent", "x-request-id"].contains(&name.as_str());
        self.problems.require(
            !ours && !known,
            &path,
            format!("`{name}` has a meaning of its own"),
            "choose another header, such as x-release-stage",
        );
        let taken = self.earlier.iter().find(|other| other.carried.name == name);
        if let Some(other) = taken {
            let message = format!("group `{}` on the same proxy carries its lane in `{name}` too", other.name);
            self.problems.add(&path, message, "give each group that meets on a proxy a header of its own");
        }
    }

    fn lanes(&mut self, group: &RawGroup) -> Vec<String> {
        let path = format!("{}.lanes.names", self.path);
        let count = group.lanes.names.len();
        self.problems.require(count <= MAX_LANES, &path, format!("{count} lanes"), format!("use at most {MAX_LANES}"));
        let mut lanes = vec![STABLE.to_owned()];
        for (at, name) in group.lanes.names.iter().take(MAX_LANES).enumerate() {
            let path = format!("{path}[{at}]");
            names::require_dns_label(self.problems, &path, name);
            let fresh = !lanes.contains(name);
            let message =
                if name == STABLE { "`stable` always exists".into() } else { format!("lane `{name}` is there twice") };
            self.problems.require(fresh, &path, message, "leave it out");
            lanes.push(name.clone());
        }
        lanes
    }

    fn client_marks(&mut self, group: &RawGroup, role: Role) -> ClientMarks {
        let default = if role == Role::Gateway { ClientMarks::Drop } else { ClientMarks::Accept };
        let marks = group.client_marks.unwrap_or(default);
        self.problems.require(
            !(marks == ClientMarks::Peers && role == Role::Outbound),
            &format!("{}.clientMarks", self.path),
            "the outbound side has no peer to identify",
            "write accept or drop",
        );
        marks
    }

    fn trace(&mut self, raw: &RawTrace) -> Trace {
        let path = format!("{}.lanes.trace", self.path);
        self.problems.require(
            !raw.workloads.is_empty(),
            &format!("{path}.workloads"),
            "no workload is named, so nothing would be noted",
            "name the carriers, write \"*\" for all, or leave trace out",
        );
        self.problems.require(
            (100..=600_000).contains(&raw.ttl_ms),
            &format!("{path}.ttlMs"),
            format!("{} ms is no sensible time to remember a trace", raw.ttl_ms),
            "write 100 to 600000",
        );
        Trace { workloads: raw.workloads.clone(), ttl_ms: raw.ttl_ms }
    }

    pub(super) fn destinations(
        &mut self,
        raw: &RawGroup,
        group: &Group,
        all: &mut Vec<Destination>,
        hosts: &mut HashMap<Box<[u8]>, usize>,
    ) {
        for (at, destination) in raw.lanes.destinations.iter().enumerate() {
            let path = format!("{}.lanes.destinations[{at}]", self.path);
            let taken = all.iter().any(|other| other.service == destination.service);
            let message = format!("service `{}` is there twice", destination.service);
            self.problems.require(!taken, &format!("{path}.service"), message, "a service is in one group, once");
            self.add_hosts(destination, &path, all, hosts);
            let compiled = self.destination(destination, &path, group);
            all.push(compiled);
        }
    }

    fn add_hosts(
        &mut self,
        raw: &RawDestination,
        path: &str,
        all: &[Destination],
        hosts: &mut HashMap<Box<[u8]>, usize>,
    ) {
        let mend = "list every name callers use, such as orders, orders.shop.svc.cluster.local or orders:8080";
        self.problems.require(!raw.hosts.is_empty(), &format!("{path}.hosts"), "no host is named", mend);
        for (at, host) in raw.hosts.iter().enumerate() {
            let path = format!("{path}.hosts[{at}]");
            let parsed = Authority::parse(host.as_bytes()).filter(|_| names::is_label_value(host));
            let Some(authority) = parsed else {
                self.problems.add(&path, format!("`{}` is no authority", host.escape_default()), mend);
                continue;
            };
            let earlier = hosts.insert(authority.whole().into(), all.len()).filter(|&other| other != all.len());
            if let Some(other) = earlier.and_then(|other| all.get(other)) {
                let message = format!("host `{host}` means service `{}` already", other.service);
                self.problems.add(&path, message, "a host means one service");
            }
        }
    }

    fn destination(&mut self, raw: &RawDestination, path: &str, group: &Group) -> Destination {
        self.problems.require(
            names::is_label_value(&raw.service),
            &format!("{path}.service"),
            format!("`{}` cannot be a metric label", raw.service.escape_default()),
            "write name.namespace of the service",
        );
        let objectives = raw.slow_over_ms.len() <= MAX_OBJECTIVES && raw.slow_over_ms.iter().all(|&ms| ms > 0);
        self.problems.require(
            objectives,
            &format!("{path}.slowOverMs"),
            "latency objectives are positive milliseconds, at most 8 of them",
            "write such as [250, 1000]",
        );
        let mut ready = vec![false; group.lanes.len()];
        for (at, name) in raw.ready.iter().enumerate() {
            let lane = group.lane_named(name.as_bytes()).filter(|lane| !lane.is_stable());
            match lane.and_then(|LaneId(lane)| ready.get_mut(usize::from(lane))) {
                Some(slot) => *slot = true,
                None => unknown_lane(self.problems, &format!("{path}.ready[{at}]"), name, &group.lanes),
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
pub(super) fn unknown_lane(problems: &mut Problems, path: &str, name: &str, lanes: &[String]) {
    let known = lanes.join(", ");
    problems.add(
        path,
        format!("the group has no lane `{}`", name.escape_default()),
        format!("use one of {known}, or add it to lanes.names"),
    );
}
