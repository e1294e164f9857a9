//! From checked releases to the documents of the filter, and from documents to what Envoy reads.
//!
//! Everything here is pure and cannot fail: doubt was spent in [`crate::release::validate`].

pub mod ecds;

use std::collections::{BTreeMap, BTreeSet};

use graylane_policy::raw::{
    ClientMarks, RawBrake, RawConfig, RawDestination, RawEntry, RawGroup, RawLanes, RawSlots, Role, VERSION,
};
use graylane_policy::slots::{SlotTable, evolve};
use serde::{Deserialize, Serialize};

use crate::release::{Member, Release};

/// Where a document runs: the side of the proxy, and whether lanes are chosen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// A gateway, which chooses lanes for its clients.
    Gateway,
    /// The inbound side of a sidecar.
    Inbound,
    /// The outbound side of a sidecar.
    Outbound,
    /// The additional filter of a sidecar that chooses lanes for what comes in.
    InboundEntry,
    /// The additional filter of a sidecar that chooses lanes for what its own app sends.
    OutboundEntry,
}

/// A release at work: what was asked for, and how far it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// The release.
    pub release: Release,
    /// Salt of the attempt; fixed while it lasts.
    pub salt: String,
    /// Which slots are in which lane.
    pub table: SlotTable,
    /// Versions that exist but cannot serve now.
    pub not_ready: BTreeSet<Version>,
    /// The brake of proxies that choose lanes, if there is one.
    pub brake: Option<RawBrake>,
}

/// A version of a member: `orders.shop/canary`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Version {
    /// The `service` label of the member.
    pub service: String,
    /// The lane.
    pub lane: String,
}

/// The document of one side for all releases that meet there, in their order.
pub fn document(generation: u64, side: Side, releases: &[Running]) -> RawConfig {
    let mut groups: Vec<RawGroup> = releases.iter().map(|running| group(side, running)).collect();
    drop_ambiguous(&mut groups);
    RawConfig { version: VERSION, generation, role: side.role(), entry_only: side.is_additional(), groups }
}

/// Where releases of several namespaces meet, such as at a gateway, a short name may mean a service in each
/// of them: then it means none.
pub fn drop_ambiguous(groups: &mut [RawGroup]) {
    let mut means: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for destination in groups.iter().flat_map(|group| &group.lanes.destinations) {
        let service = &destination.service;
        let short = service.split('.').next().unwrap_or(service);
        means.entry(short.to_owned()).or_default().insert(service.clone());
    }
    for destination in groups.iter_mut().flat_map(|group| &mut group.lanes.destinations) {
        destination.hosts.retain(|host| means.get(host).is_none_or(|services| services.len() < 2));
    }
}

/// The group of one release in the document of one side.
pub fn group(side: Side, running: &Running) -> RawGroup {
    let release = &running.release;
    RawGroup {
        name: release.group.clone(),
        rollout: release.id(),
        carried_header: release.carried_header.clone(),
        baggage: release.baggage,
        client_marks: client_marks(side, release),
        entry: side.chooses().then(|| entry(running)),
        brake: running.brake.clone().filter(|_| side.chooses()),
        drain_after_ms: release.plan.drain_after_ms.filter(|_| matches!(side, Side::Gateway | Side::Outbound)),
        lanes: RawLanes {
            names: release.lanes.clone(),
            destinations: release.members.iter().map(|member| destination(member, running)).collect(),
            trace: release.trace.clone(),
        },
    }
}

/// What the release says of clients holds where lanes are chosen for them, at gateways and inbound
/// entries; what it says of peers holds behind. An app's own marks are its pod's.
fn client_marks(side: Side, release: &Release) -> Option<ClientMarks> {
    match side {
        Side::Gateway | Side::InboundEntry => release.client_marks,
        Side::Inbound => release.peer_marks,
        Side::Outbound | Side::OutboundEntry => None,
    }
}

fn entry(running: &Running) -> RawEntry {
    let release = &running.release;
    RawEntry {
        markers: release.markers.clone(),
        rules: release.rules.clone(),
        slots: Some(RawSlots { salt: running.salt.clone(), runs: running.table.to_runs(), expires_unix: None }),
        stickiness: release.stickiness.clone(),
        claims: release.claims.clone(),
    }
}

fn destination(member: &Member, running: &Running) -> RawDestination {
    let is_ready = |lane: &&String| {
        let version = Version { service: member.label.clone(), lane: (*lane).clone() };
        !running.not_ready.contains(&version)
    };
    RawDestination {
        service: member.label.clone(),
        hosts: member.hosts.clone(),
        ready: member.lanes.iter().filter(is_ready).cloned().collect(),
        route_by: member.route_by,
        slow_over_ms: member.latency_ms.clone(),
    }
}

// === impl Side ===

impl Side {
    /// Every side there is.
    pub const ALL: [Side; 5] = [Side::Gateway, Side::Inbound, Side::Outbound, Side::InboundEntry, Side::OutboundEntry];

    /// The role of the side's documents.
    pub fn role(self) -> Role {
        match self {
            Self::Gateway => Role::Gateway,
            Self::Inbound | Self::InboundEntry => Role::Inbound,
            Self::Outbound | Self::OutboundEntry => Role::Outbound,
        }
    }

    /// The side of a role; on a sidecar, choosing lanes is work of an additional filter.
    pub fn of(role: Role, chooses: bool) -> Self {
        match (role, chooses) {
            (Role::Gateway, _) => Self::Gateway,
            (Role::Inbound, false) => Self::Inbound,
            (Role::Inbound, true) => Self::InboundEntry,
            (Role::Outbound, false) => Self::Outbound,
            (Role::Outbound, true) => Self::OutboundEntry,
        }
    }

    /// Whether lanes are chosen here.
    pub fn chooses(self) -> bool {
        self == Self::Gateway || self.is_additional()
    }

    /// Name of the filter: its ECDS resource and its root id.
    pub fn filter_name(self) -> &'static str {
        match self {
            Self::Gateway => "graylane.gateway",
            Self::Inbound => "graylane.inbound",
            Self::Outbound => "graylane.outbound",
            Self::InboundEntry => "graylane.entry",
            // A name of its own: Envoy refuses a response that has one name twice, and both may meet on
            // one sidecar.
            Self::OutboundEntry => "graylane.entry.outbound",
        }
    }

    /// The `role` label of the filter's gauges.
    pub fn label(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::InboundEntry | Self::OutboundEntry => "entry",
        }
    }

    fn is_additional(self) -> bool {
        matches!(self, Self::InboundEntry | Self::OutboundEntry)
    }
}

// === impl Running ===

impl Running {
    /// A release at its beginning: everything ready, everybody in stable.
    pub fn new(release: Release) -> Self {
        let salt = salt(&release, 1);
        Self { release, salt, table: SlotTable::all_stable(), not_ready: BTreeSet::new(), brake: None }
    }

    /// A release at the weights of its file, as if they had been given at once.
    pub fn at_its_weights(release: Release) -> Self {
        let mut running = Self::new(release);
        // Checked weights always make a table.
        if let Ok(table) = evolve(&running.table, &running.release.weights) {
            running.table = table;
        }
        running
    }
}

/// The salt of an attempt. It holds the name of the release, so that two releases divide the same
/// users independently, and the number of the attempt, so that a second one does not hit the same
/// users first again.
pub fn salt(release: &Release, attempt: u32) -> String {
    format!("{}#{attempt}", release.id())
}

// === impl Version ===

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service, self.lane)
    }
}

#[cfg(test)]
mod tests {
    use graylane_policy::Policy;

    use super::*;
    use crate::release::read::read_text;
    use crate::release::validate::check;

    #[test]
    fn services_of_one_name_in_two_namespaces_meet_at_a_gateway() {
        let release = |namespace: &str| {
            let text = format!(
                "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {{name: web, namespace: {namespace}}}\n\
                 spec: {{group: {namespace}, carriedHeader: x-{namespace}, lanes: [{{name: canary}}], \
                 members: [{{service: web}}]}}\n"
            );
            let checked = check(read_text("r", &text).unwrap(), &Side::ALL).unwrap().remove(0);
            Running::at_its_weights(checked.release)
        };
        let hosts = |releases: &[Running]| -> Vec<String> {
            let document = document(1, Side::Gateway, releases);
            Policy::check(&document).unwrap();
            document.groups.into_iter().flat_map(|group| group.lanes.destinations).flat_map(|one| one.hosts).collect()
        };
        assert!(hosts(&[release("shop")]).contains(&"web".to_owned()));
        let both = hosts(&[release("shop"), release("pay")]);
        assert!(!both.contains(&"web".to_owned()), "{both:?}");
        assert!(both.contains(&"web.shop".to_owned()) && both.contains(&"web.pay".to_owned()), "{both:?}");
    }
}
