//! Counters of proxies, and what they say happened between two moments.
//!
//! Raw counters only ever grow until their process ends; [`Ledger`] takes differences, so it has to
//! know a restart from a quiet second. Names and labels are the filter's (`filter/src/meter.rs`).

mod interval;
mod ledger;
mod name;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use interval::{Call, Cell, Contexts, Inbound, Interval, NumberKey, Tally, Unit};
pub use ledger::{EPOCH_SLACK_MS, Ledger};
pub use name::series;

/// Units are told apart by one of so many buckets (`filter/src/units.rs`).
pub const UNITS: usize = 16;

/// How a request came to its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cohort {
    /// By weight; on stable everything that nobody asked to be there.
    Slot,
    /// Explicitly: testers.
    Rule,
    /// Without a unit to be sticky to.
    Random,
    /// It wanted the lane and was served by stable.
    Fallback,
    /// The lane is known only from the pod.
    Unknown,
}

/// Which side of a proxy counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// A gateway, as the caller.
    Gateway,
    /// A sidecar, as the caller.
    Outbound,
    /// A sidecar, as the one who was called.
    Inbound,
}

/// Whom a failed request failed for; counted on the inbound side only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// No call below failed.
    Own,
    /// A call of the same trace failed below.
    Downstream,
    /// Calls below failed meanwhile, of no known trace.
    Unknown,
}

/// Why an entry or a caller put a request in a lane (`reason` of `graylane_lane_total`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pick {
    /// A signed tag.
    Tag,
    /// A rule.
    Rule,
    /// The slot of the unit.
    Slot,
    /// The lane was wanted, and stable served.
    Fallback,
    /// The local brake held it back.
    Brake,
    /// The slot table had lapsed.
    Expired,
    /// It came with the request: header, baggage, pod or trace.
    Carried,
}

/// Where a sidecar read the lane of a request (`source` of `graylane_context_total`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The carried header, or baggage: the application handed it on.
    Header,
    /// The lane of the calling pod.
    Pod,
    /// The trace ring.
    Trace,
    /// It was chosen right here.
    Entry,
    /// Nothing named a lane.
    None,
}

/// Why a call ended before any answer (`reason` of `graylane_abandoned_total`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quit {
    /// Whoever it was made for had left before.
    Left,
    /// The caller gave up waiting, as far as traces tell.
    GaveUp,
}

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// `graylane_requests_total`; the status code is in [`Series::status`].
    Requests,
    /// `graylane_failures_total`.
    Failures,
    /// `graylane_abandoned_total`: calls that ended before any answer because whoever made them did not wait.
    /// Not among the requests.
    Abandoned(Quit),
    /// `graylane_slow_requests_total`: slower than so many milliseconds.
    Slow(u32),
    /// `graylane_lane_total`; [`Series::service`] is empty.
    LanePicks(Pick),
    /// `graylane_context_total`; [`Series::service`] is the workload.
    Context(Source),
    /// `graylane_unit_N_requests_total`: requests that an entry put into the lane by the slot of their unit, for
    /// one of the buckets that units are told apart by, below [`UNITS`].
    UnitRequests(u8),
    /// `graylane_unit_N_failures_total`: those of them that failed.
    UnitFailures(u8),
}

/// One counter of one proxy, by its labels. The `rollout` label is not part of it: a ledger is fed
/// the series of one release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// What is counted.
    pub metric: Metric,
    /// The destination (`name.namespace`), or the workload of [`Metric::Context`].
    pub service: String,
    /// The lane that served.
    pub lane: String,
    /// The cohort; [`Cohort::Unknown`] where the metric has none.
    pub cohort: Cohort,
    /// The side that counted; [`Direction::Gateway`] where the metric has none.
    pub direction: Direction,
    /// Whom it failed for, of inbound failures.
    pub origin: Option<Origin>,
    /// HTTP status, of requests; 0 is none.
    pub status: Option<u16>,
}

/// The counters of one proxy at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Name of the proxy, unique and stable over its life.
    pub proxy: String,
    /// The service beside whose pods the proxy runs; none at a gateway. Gives the call graph.
    pub beside: Option<String>,
    /// When it was read, Unix milliseconds by the reader's clock.
    pub at_ms: u64,
    /// When the proxy's process started, Unix milliseconds, where known. A later start is a restart.
    pub epoch: Option<u64>,
    /// Its counters.
    pub series: BTreeMap<Series, u64>,
}

// === impl Cohort ===

impl Cohort {
    /// The cohort of a label.
    pub fn of(label: &str) -> Option<Self> {
        Some(match label {
            "slot" => Self::Slot,
            "rule" => Self::Rule,
            "random" => Self::Random,
            "fallback" => Self::Fallback,
            "unknown" => Self::Unknown,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
