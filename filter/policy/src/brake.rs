//! The local brake: what a proxy does when a lane does clear harm and nobody has said so yet.
//!
//! Each worker keeps a [`Tally`] of its own and closes its windows a few times a second; what they are
//! worth is folded into the [`Evidence`] of the lane, which all workers of the proxy share as one
//! [`Table`]. When the evidence reaches what the document asks for, the lane's brake trips: an entry
//! stops its weight-based picks, everybody else only tells. It stays tripped for the attempt, until the
//! controller takes the lane back or lets the brake go (`released`).
//!
//! What is compared: at an entry the requests it put into the lane by weight with those it left in
//! stable by weight, wherever they were served, so that harm further down the chain counts too;
//! elsewhere the calls to members of the group, by the version that served them. Testers never count.

mod evidence;
mod table;
mod tally;

pub use evidence::{Arm, Evidence, RATIOS, Step, Window};
pub use table::{Line, Table};
pub use tally::Tally;

use xxhash_rust::xxh64::xxh64;

use crate::decide::Decision;
use crate::lane::{Cohort, LaneId, Reason, STABLE};
use crate::policy::{Group, Policy};
use crate::raw::RawBrake;
use crate::trace::TraceId;

/// Units are told apart by one of this many buckets.
pub const UNITS: usize = 64;

/// Services are compared each with itself, up to this many of them; beyond, some share a window.
pub const STRATA: usize = 64;

/// A lane and the group it is of, by position in [`Policy::groups`].
pub type GroupLane = (usize, LaneId);

/// The brake of one group.
#[derive(Clone, Debug)]
pub struct Brake {
    evidence: f64,
    lanes: Vec<BrakedLane>,
}

/// One lane under the brake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrakedLane {
    /// The lane.
    pub lane: LaneId,
    /// Stands for release, lane, attempt and number of times let go: evidence is kept under it.
    pub identity: u64,
    /// Whether this document may send requests there by weight.
    pub is_exposed: bool,
}

/// Where one request counts for the brake of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The group.
    pub group: usize,
    /// The lane; stable is what the others are compared with.
    pub lane: LaneId,
    /// The service it is compared within, below [`STRATA`].
    pub stratum: usize,
    /// Whom it was for, below [`UNITS`]: the bucket of the slot, or of the trace where no slot is known.
    pub unit: usize,
}

// === impl Brake ===

impl Brake {
    /// The brake of a group with these lanes, of which stable is the first.
    pub(crate) fn new(
        raw: &RawBrake,
        rollout: &str,
        lanes: &[String],
        is_exposed: impl Fn(LaneId, &String) -> bool,
    ) -> Self {
        let braked = |(at, name): (usize, &String)| {
            let lane = LaneId(at as u16);
            let words = format!("{rollout}\n{name}\n{}\n{}", raw.attempt, raw.released);
            BrakedLane { lane, identity: xxh64(words.as_bytes(), 0), is_exposed: is_exposed(lane, name) }
        };
        Self { evidence: raw.evidence as f64, lanes: lanes.iter().enumerate().skip(1).map(braked).collect() }
    }

    /// The evidence at which it trips.
    pub fn evidence(&self) -> f64 {
        self.evidence
    }

    /// The lanes, in the order of the document.
    pub fn lanes(&self) -> &[BrakedLane] {
        &self.lanes
    }

    fn watches_any(&self) -> bool {
        self.lanes.iter().any(|lane| lane.is_exposed)
    }
}

// === impl Policy ===

impl Policy {
    /// Where a request counts for brakes; nowhere, and without a cost, where no lane is exposed.
    pub fn samples(&self, decision: &Decision<'_>, trace: Option<&TraceId>) -> Vec<Sample> {
        let mut samples = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            if group.brake.as_ref().is_some_and(Brake::watches_any) {
                samples.extend(self.sample(at, group, decision, trace));
            }
        }
        samples
    }

    fn sample(&self, at: usize, group: &Group, decision: &Decision<'_>, trace: Option<&TraceId>) -> Option<Sample> {
        let choice = decision.choices.get(at)?;
        let stratum = decision.destination.map_or(0, |at| 1 + at % (STRATA - 1));
        if group.entry.is_some() {
            let picked = choice.reason == Reason::Slot && choice.cohort == Cohort::Slot;
            let slot = choice.slot.filter(|_| picked)?;
            return Some(Sample { group: at, lane: choice.lane, stratum, unit: usize::from(slot) % UNITS });
        }
        let destination = self.destinations.get(decision.destination?)?;
        let counts = destination.group == at && decision.cohort == Cohort::Slot;
        let unit = trace.and_then(|trace| trace.as_bytes().last()).map_or(0, |byte| usize::from(*byte) % UNITS);
        counts.then_some(Sample { group: at, lane: decision.served, stratum, unit })
    }
}

// === impl Sample ===

impl Sample {
    /// Whether it is of the baseline.
    pub fn is_baseline(&self) -> bool {
        self.lane == STABLE
    }
}
