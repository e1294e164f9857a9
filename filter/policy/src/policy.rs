//! A checked and compiled config: what a document becomes before it serves a request.

use hashbrown::HashMap;

use crate::authority::Authority;
use crate::brake::Brake;
use crate::condition::Condition;
use crate::field::{Field, FieldId};
use crate::headers::{Captured, HeaderId, HeaderTable};
use crate::index::RuleIndex;
use crate::lane::LaneId;
use crate::problem::ConfigError;
use crate::raw::{ClientMarks, NoUnit, RawConfig, RawCookie, RawField, Role, RouteBy};

/// One document, checked and compiled. Built once per push, read by every request.
#[derive(Debug)]
pub struct Policy {
    pub(crate) generation: u64,
    pub(crate) role: Role,
    pub(crate) entry_only: bool,
    pub(crate) headers: HeaderTable,
    pub(crate) wellknown: WellKnown,
    pub(crate) groups: Vec<Group>,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) hosts: HashMap<Box<[u8]>, usize>,
    pub(crate) fields: Vec<Field>,
    pub(crate) claims: Vec<Vec<String>>,
    pub(crate) needs_peer: bool,
}

/// Headers with a fixed meaning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WellKnown {
    pub(crate) authority: HeaderId,
    pub(crate) route: HeaderId,
    pub(crate) cohort: HeaderId,
    pub(crate) content_type: HeaderId,
    /// Read only where some group carries its lane in baggage.
    pub(crate) baggage: Option<BaggageHeaders>,
    /// Read on sidecars only: the ring links the two sides of one proxy.
    pub(crate) trace: Option<TraceHeaders>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BaggageHeaders {
    pub(crate) trusted: HeaderId,
    pub(crate) untrusted: HeaderId,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceHeaders {
    pub(crate) traceparent: HeaderId,
    pub(crate) b3: HeaderId,
    pub(crate) b3_trace_id: HeaderId,
    pub(crate) request_id: HeaderId,
}

/// A lane group.
#[derive(Debug)]
pub struct Group {
    pub(crate) name: String,
    pub(crate) rollout: String,
    pub(crate) carried: Carried,
    /// `graylane.<name>` where the lane also travels as a baggage member.
    pub(crate) baggage_key: Option<String>,
    pub(crate) client_marks: ClientMarks,
    pub(crate) entry: Option<Entry>,
    pub(crate) brake: Option<Brake>,
    pub(crate) drain_after_ms: Option<u64>,
    /// Names by [`LaneId`]; the first is `stable`.
    pub(crate) lanes: Vec<String>,
    pub(crate) trace: Option<Trace>,
}

/// The carried header of a group, and where a gateway puts what clients sent under that name.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) name: String,
    pub(crate) id: HeaderId,
    pub(crate) untrusted: HeaderId,
}

/// How an entry chooses.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) rules: Vec<Rule>,
    pub(crate) index: RuleIndex,
    pub(crate) slots: Option<Slots>,
    pub(crate) unit: Vec<FieldId>,
    pub(crate) no_unit: NoUnit,
    pub(crate) cookie: RawCookie,
    /// Whether some rule asks for the unit.
    pub(crate) rules_need_unit: bool,
    pub(crate) markers: Vec<Marker>,
}

/// A marker and its sources, best first; for `explain`.
#[derive(Debug)]
pub(crate) struct Marker {
    pub(crate) name: String,
    pub(crate) sources: Vec<(FieldId, RawField)>,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) lane: LaneId,
    pub(crate) when: Condition,
    pub(crate) from_unix_ms: u64,
    pub(crate) until_unix_ms: u64,
}

/// A compiled slot table.
#[derive(Debug)]
pub(crate) struct Slots {
    pub(crate) seed: u64,
    /// First slot after the run, and its lane.
    pub(crate) runs: Vec<(u32, LaneId)>,
    pub(crate) expires_unix_ms: u64,
}

/// Which workloads' lost lanes are restored by trace id.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) workloads: Vec<String>,
    pub(crate) ttl_ms: u32,
}

/// A member service, as callers address it.
#[derive(Debug)]
pub struct Destination {
    pub(crate) group: usize,
    pub(crate) service: String,
    /// By [`LaneId`]: whether a version is ready there.
    pub(crate) ready: Vec<bool>,
    pub(crate) route_by: RouteBy,
    pub(crate) slow_over_ms: Vec<u32>,
}

// === impl Policy ===

impl Policy {
    /// Reads, checks and compiles a document.
    ///
    /// # Errors
    /// The path of the first place with the wrong shape, or all semantic problems together.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        Self::check(&crate::shape::read(json)?)
    }

    /// Checks and compiles a document that already has its shape.
    ///
    /// # Errors
    /// All semantic problems together, each with its path and the mend.
    pub fn check(raw: &RawConfig) -> Result<Self, ConfigError> {
        crate::check::compile(raw)
    }

    /// The document's generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The document's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The `role` label of gauges: the role, or `entry` for an entry-only document.
    pub fn role_label(&self) -> &'static str {
        match (self.entry_only, self.role) {
            (true, _) => "entry",
            (_, Role::Gateway) => "gateway",
            (_, Role::Inbound) => "inbound",
            (_, Role::Outbound) => "outbound",
        }
    }

    /// Whether the document is of a sidecar's extra entry filter.
    pub fn is_entry_only(&self) -> bool {
        self.entry_only
    }

    /// Whether the document names no group: every request goes to stable untouched.
    pub fn is_inert(&self) -> bool {
        self.groups.is_empty()
    }

    /// The groups, in the order of [`crate::Decision::choices`].
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The member services.
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// Picks the headers this config reads out of a request's pairs.
    pub fn capture<'r>(&self, pairs: impl Iterator<Item = (&'r [u8], &'r [u8])>) -> Captured<'r> {
        self.headers.capture(pairs)
    }

    /// Property paths of the claims that rules read; [`crate::Inputs::claims`] follows their order.
    pub fn claims(&self) -> &[Vec<String>] {
        &self.claims
    }

    /// Whether the peer's identity is asked for.
    pub fn needs_peer(&self) -> bool {
        self.needs_peer
    }

    /// Whether some entry may need random bits, for a new unit or a random draw.
    pub fn needs_random(&self) -> bool {
        let draws = |entry: &Entry| entry.no_unit != NoUnit::Stable;
        self.groups.iter().filter_map(|group| group.entry.as_ref()).any(draws)
    }

    /// The member that an authority means, with or without its port.
    pub(crate) fn destination_of(&self, authority: &Authority<'_>) -> Option<usize> {
        self.hosts.get(authority.whole()).or_else(|| self.hosts.get(authority.host())).copied()
    }

    /// The lane of a pod with these labels (`graylane.io/group`, `graylane.io/lane`).
    ///
    /// Without the group label the lane counts where exactly one group has one of that name: a
    /// pod's lane is its own group's, and a guess could send another group's traffic astray.
    pub fn pod_lane(&self, group: Option<&str>, lane: &str) -> Option<PodLane> {
        let mut having = self.groups.iter().enumerate().filter_map(|(at, candidate)| {
            let wanted = group.is_none_or(|name| name == candidate.name);
            let lane = candidate.lane_named(lane.as_bytes()).filter(|_| wanted)?;
            Some(PodLane { group: at, lane })
        });
        let only = having.next();
        if having.next().is_some() { None } else { only }
    }
}

/// The lane of the pod that the filter runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodLane {
    /// Position of its group in [`Policy::groups`].
    pub group: usize,
    /// Its lane in that group.
    pub lane: LaneId,
}

// === impl Entry ===

impl Entry {
    /// Whether weights may put a request in this lane.
    pub(crate) fn may_pick(&self, lane: LaneId) -> bool {
        self.slots.as_ref().is_some_and(|slots| slots.runs.iter().any(|(_, picked)| *picked == lane))
    }
}

// === impl Group ===

impl Group {
    /// Name of the group.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `namespace/name` of the release.
    pub fn rollout(&self) -> &str {
        &self.rollout
    }

    /// The carried header.
    pub fn carried_header(&self) -> &str {
        &self.carried.name
    }

    /// The lanes' names by [`LaneId`].
    pub fn lanes(&self) -> &[String] {
        &self.lanes
    }

    /// The name of a lane; `stable` for one that does not exist.
    pub fn lane_name(&self, lane: LaneId) -> &str {
        self.lanes.get(usize::from(lane.0)).map_or(crate::slots::STABLE, String::as_str)
    }

    /// The lane of this name.
    pub fn lane_named(&self, name: &[u8]) -> Option<LaneId> {
        self.lanes.iter().position(|lane| lane.as_bytes() == name).map(|at| LaneId(at as u16))
    }

    /// How long a noted trace is believed for this workload, in milliseconds; `None` where lanes
    /// are not restored by trace.
    pub fn trace_ttl_ms(&self, workload: &str) -> Option<u32> {
        let trace = self.trace.as_ref()?;
        trace.workloads.iter().any(|name| name == "*" || name == workload).then_some(trace.ttl_ms)
    }

    /// Name of a rule, by its position.
    pub fn rule_name(&self, rule: u32) -> Option<&str> {
        self.entry.as_ref()?.rules.get(rule as usize).map(|rule| rule.name.as_str())
    }

    /// Whether lanes are chosen here.
    pub fn is_entry(&self) -> bool {
        self.entry.is_some()
    }

    /// Its local brake.
    pub fn brake(&self) -> Option<&Brake> {
        self.brake.as_ref()
    }

    /// How long after its lane is gone an open call in it is closed, in milliseconds; never where `None`.
    pub fn drain_after_ms(&self) -> Option<u64> {
        self.drain_after_ms
    }

    /// The cookie this group issues.
    pub fn cookie(&self) -> Option<&RawCookie> {
        self.entry.as_ref().filter(|entry| entry.no_unit == NoUnit::Cookie).map(|entry| &entry.cookie)
    }
}

// === impl Destination ===

impl Destination {
    /// Position of its group in [`Policy::groups`].
    pub fn group(&self) -> usize {
        self.group
    }

    /// The `service` label.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Whether a version is ready in a lane; stable always is.
    pub fn is_ready(&self, lane: LaneId) -> bool {
        lane.is_stable() || self.ready.get(usize::from(lane.0)).copied().unwrap_or(false)
    }

    /// Latency objectives, in milliseconds.
    pub fn slow_over_ms(&self) -> &[u32] {
        &self.slow_over_ms
    }
}
