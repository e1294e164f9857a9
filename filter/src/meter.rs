//! Counting: metric ids by what they count, defined on first use.
//!
//! Label values come from the config or from bounded sets, so the number of series does not depend
//! on what clients send.

use std::cell::RefCell;

use graylane_policy::brake::GroupLane;
use graylane_policy::metric::{push_labels, stat_name};
use graylane_policy::raw::Role;
use graylane_policy::specimen::Specimen;
pub use graylane_policy::vacant::Version;
use graylane_policy::{Choice, Cohort, Decision, LaneId, Policy, Reason};
use hashbrown::HashMap;

use crate::host::{Host, MetricKind};
use crate::ring::Origin;

/// Where a request counts: its destination, the lane that served and the cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Position in [`Policy::destinations`]; `None` is `other`.
    pub destination: Option<usize>,
    /// The lane that served.
    pub lane: LaneId,
    /// The cohort.
    pub cohort: Cohort,
}

/// Why a call was given up before any answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quit {
    /// Whoever it was made for had left before: at a gateway always, for there it is the user who leaves.
    Left,
    /// As far as is known the caller was tired of waiting.
    GaveUp,
}

/// Why a request of a lane is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// It failed.
    Failed,
    /// It took longer than so many milliseconds, the most among its objectives.
    Slow(u32),
}

/// Metric ids of one document.
pub struct Meter {
    direction: &'static str,
    workload: String,
    ids: RefCell<HashMap<Series, Option<u32>>>,
}

/// One series, in numbers; its name is built once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Series {
    Requests(Place, u16),
    Failures(Place, Option<Origin>),
    Abandoned(Place, Quit),
    Milliseconds(Place),
    Slow(Place, u32),
    Lane { group: usize, lane: LaneId, reason: Reason },
    Fallback { group: usize, lane: LaneId },
    Context { group: usize, lane: LaneId, reason: Reason },
    OpenStreams(Version),
    ClosedStreams(Version),
    Named(Version, Trouble, u8),
    Unit { at: GroupLane, bucket: u8, failed: bool },
}

// === impl Place ===

impl Place {
    /// Where a decided request counts.
    pub fn of(decision: &Decision<'_>) -> Self {
        Self { destination: decision.destination, lane: decision.served, cohort: decision.cohort }
    }
}

// === impl Quit ===

impl Quit {
    fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::GaveUp => "gave_up",
        }
    }
}

// === impl Meter ===

impl Meter {
    /// The meter of a document.
    pub fn new(policy: &Policy, workload: &str) -> Self {
        let direction = match policy.role() {
            Role::Gateway => "gateway",
            Role::Inbound => "inbound",
            Role::Outbound => "outbound",
        };
        Self { direction, workload: workload.into(), ids: RefCell::default() }
    }

    /// A finished request, with its HTTP status and how long it took. Says which of its objectives it broke, if
    /// any: the one that allows most.
    pub fn request(
        &self,
        host: &impl Host,
        policy: &Policy,
        place: Place,
        status: u16,
        millis: u64,
    ) -> Option<Trouble> {
        self.add(host, policy, Series::Requests(place, bounded(status)));
        if let Some(id) = self.id(host, policy, Series::Milliseconds(place)) {
            host.record(id, millis);
        }
        let destination = place.destination.and_then(|at| policy.destinations().get(at));
        let mut broken = None;
        for &over_ms in destination.map_or(&[][..], |destination| destination.slow_over_ms()) {
            if millis > u64::from(over_ms) {
                self.add(host, policy, Series::Slow(place, over_ms));
                broken = broken.max(Some(over_ms));
            }
        }
        broken.map(Trouble::Slow)
    }

    /// A failed request; its origin is known on the inbound side only.
    pub fn failure(&self, host: &impl Host, policy: &Policy, place: Place, origin: Option<Origin>) {
        self.add(host, policy, Series::Failures(place, origin));
    }

    /// A call that was given up before any answer; it is in no other counter.
    pub fn abandoned(&self, host: &impl Host, policy: &Policy, place: Place, quit: Quit) {
        self.add(host, policy, Series::Abandoned(place, quit));
    }

    /// A group's choice for a request: the pick at an entry, and the lane's source on a sidecar.
    pub fn choice(&self, host: &impl Host, policy: &Policy, group: usize, choice: &Choice) {
        let Choice { lane, reason, .. } = *choice;
        if reason != Reason::None {
            self.add(host, policy, Series::Lane { group, lane, reason });
        }
        if policy.role() != Role::Gateway && !policy.is_entry_only() {
            self.add(host, policy, Series::Context { group, lane, reason });
        }
    }

    /// A request that wanted a lane and is served by stable.
    pub fn fallback(&self, host: &impl Host, policy: &Policy, group: usize, wanted: LaneId) {
        self.add(host, policy, Series::Fallback { group, lane: wanted });
    }

    /// Streams open on a version: one more, or one less.
    pub fn open_streams(&self, host: &impl Host, policy: &Policy, version: Version, offset: i64) {
        if let Some(id) = self.id(host, policy, Series::OpenStreams(version)) {
            host.add(id, offset);
        }
    }

    /// A stream that was closed because its lane is gone.
    pub fn closed_stream(&self, host: &impl Host, policy: &Policy, version: Version) {
        self.add(host, policy, Series::ClosedStreams(version));
    }

    /// A request in trouble in a lane, by its id, in place of the one before.
    pub fn name_request(&self, host: &impl Host, policy: &Policy, of: (Version, Trouble), id: &Specimen) {
        for (part, value) in (0..).zip(id.to_parts()) {
            if let Some(gauge) = self.id(host, policy, Series::Named(of.0, of.1, part)) {
                host.record(gauge, u64::from(value));
            }
        }
    }

    /// Requests of the units of one bucket in a lane of an entry, or those of them that failed.
    pub fn unit(&self, host: &impl Host, policy: &Policy, (at, bucket): (GroupLane, u8), failed: bool, requests: u32) {
        if let Some(id) = self.id(host, policy, Series::Unit { at, bucket, failed }) {
            host.add(id, i64::from(requests));
        }
    }

    fn add(&self, host: &impl Host, policy: &Policy, series: Series) {
        if let Some(id) = self.id(host, policy, series) {
            host.add(id, 1);
        }
    }

    fn id(&self, host: &impl Host, policy: &Policy, series: Series) -> Option<u32> {
        if let Some(id) = self.ids.borrow().get(&series) {
            return *id;
        }
        let id = host.metric(series.kind(), &self.name(policy, series));
        self.ids.borrow_mut().insert(series, id);
        id
    }

    fn name(&self, policy: &Policy, series: Series) -> String {
        let code;
        match series {
            Series::Requests(place, status) => {
                code = u32::from(status).to_string();
                self.placed("graylane_requests_total", policy, place, &[("status_code", &code)])
            }
            Series::Failures(place, origin) => {
                let origin = origin.unwrap_or(Origin::Unknown).as_str();
                self.placed("graylane_failures_total", policy, place, &[("origin", origin)])
            }
            Series::Abandoned(place, quit) => {
                self.placed("graylane_abandoned_total", policy, place, &[("reason", quit.as_str())])
            }
            Series::Milliseconds(place) => self.placed("graylane_request_milliseconds", policy, place, &[]),
            Series::Slow(place, over_ms) => {
                code = over_ms.to_string();
                self.placed("graylane_slow_requests_total", policy, place, &[("over_ms", &code)])
            }
            Series::Lane { group, lane, reason } => lane_total(policy, group, lane, reason.as_str()),
            Series::Fallback { group, lane } => lane_total(policy, group, lane, "fallback"),
            Series::Context { group, lane, reason } => {
                let (_, lane) = names(policy, group, lane);
                let labels = [
                    ("workload", self.workload.as_str()),
                    ("direction", self.direction),
                    ("lane", lane),
                    ("source", source_of(reason)),
                ];
                stat_name("graylane_context_total", &labels)
            }
            Series::OpenStreams(version) => self.of_version("graylane_open_streams", policy, version),
            Series::ClosedStreams(version) => self.of_version("graylane_closed_streams_total", policy, version),
            Series::Named(version, Trouble::Failed, part) => {
                self.of_version(&part_name("failed", part), policy, version)
            }
            Series::Named(version, Trouble::Slow(over_ms), part) => {
                let mut name = self.of_version(&part_name("slow", part), policy, version);
                push_labels(&mut name, &[("over_ms", &over_ms.to_string())]);
                name
            }
            Series::Unit { at: (group, lane), bucket, failed } => {
                let what = if failed { "failures" } else { "requests" };
                code = format!("graylane_unit_{}_{what}_total", u32::from(bucket));
                let (rollout, lane) = names(policy, group, lane);
                stat_name(&code, &[("rollout", rollout), ("lane", lane)])
            }
        }
    }

    fn of_version(&self, name: &str, policy: &Policy, (destination, lane): Version) -> String {
        let [service, rollout, lane] = labels(policy, Some(destination), lane);
        stat_name(name, &[service, rollout, lane, ("direction", self.direction)])
    }

    fn placed(&self, name: &str, policy: &Policy, place: Place, extra: &[(&str, &str)]) -> String {
        let mut name = stat_name(name, &labels(policy, place.destination, place.lane));
        push_labels(&mut name, &[("cohort", place.cohort.as_str()), ("direction", self.direction)]);
        push_labels(&mut name, extra);
        name
    }
}

// === impl Series ===

impl Series {
    fn kind(self) -> MetricKind {
        match self {
            Self::Milliseconds(_) => MetricKind::Histogram,
            Self::OpenStreams(_) | Self::Named(..) => MetricKind::Gauge,
            _ => MetricKind::Counter,
        }
    }
}

/// The labels of a version; of a host that is no member nothing more is known.
fn labels(policy: &Policy, destination: Option<usize>, lane: LaneId) -> [(&'static str, &str); 3] {
    let destination = destination.and_then(|at| policy.destinations().get(at));
    let (service, rollout, lane) = match destination {
        Some(destination) => {
            let (rollout, lane) = names(policy, destination.group(), lane);
            (destination.service(), rollout, lane)
        }
        None => ("other", "none", "stable"),
    };
    [("service", service), ("rollout", rollout), ("lane", lane)]
}

fn part_name(trouble: &str, part: u8) -> String {
    let part = match part {
        0 => "0",
        1 => "1",
        2 => "2",
        3 => "3",
        _ => "check",
    };
    ["graylane_", trouble, "_trace_", part].concat()
}

fn lane_total(policy: &Policy, group: usize, lane: LaneId, reason: &str) -> String {
    let (rollout, lane) = names(policy, group, lane);
    stat_name("graylane_lane_total", &[("rollout", rollout), ("lane", lane), ("reason", reason)])
}

fn names(policy: &Policy, group: usize, lane: LaneId) -> (&str, &str) {
    policy.groups().get(group).map_or(("none", "stable"), |group| (group.rollout(), group.lane_name(lane)))
}

/// Where a lane was read from; a lane chosen right here came from the entry.
fn source_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Header | Reason::Baggage | Reason::Pod | Reason::Trace | Reason::None => reason.as_str(),
        Reason::Tag | Reason::Rule | Reason::Slot | Reason::Expired | Reason::Brake => "entry",
    }
}

/// A status code that may become a label: what HTTP allows, and 0 for everything else.
fn bounded(status: u16) -> u16 {
    if (100..600).contains(&status) { status } else { 0 }
}
