//! What happened between two moments.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cohort, Direction, Metric, Origin, Pick, Quit, Series, Source};

/// Where requests count: destination, the lane that served, cohort.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The destination.
    pub service: String,
    /// The lane that served.
    pub lane: String,
    /// How the requests came to the lane.
    pub cohort: Cohort,
}

/// Requests of one cell as their callers saw them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered requests, failed ones included.
    pub requests: u64,
    /// Failures.
    pub failures: u64,
    /// Requests whose status says that nobody answered: 502, 503, 504 or none.
    pub unanswered: u64,
    /// Those that gateways counted.
    pub entered: u64,
    /// Beside them: requests that gateways had no answer for when their user left.
    pub left: u64,
    /// Beside them: calls that services gave up before any answer.
    pub given_up: u64,
    /// Beside them: calls that services ended because whoever they were made for had left.
    pub cut_off: u64,
    /// Requests slower than so many milliseconds.
    pub slow: BTreeMap<u32, u64>,
}

/// Requests of one service and lane as its own proxies saw them; they attribute and never judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inbound {
    /// Requests that arrived.
    pub requests: u64,
    /// Failures of its own.
    pub own: u64,
    /// Failures because a call below failed.
    pub downstream: u64,
    /// Failures while some call below failed.
    pub unknown: u64,
    /// Requests slower than so many milliseconds.
    pub slow: BTreeMap<u32, u64>,
}

/// One edge of the call graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The calling service; none for a gateway.
    pub from: Option<String>,
    /// The destination.
    pub to: String,
}

/// Requests of the units of one bucket, as entries put them into a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Requests.
    pub requests: u64,
    /// Failures; each is counted at once, and requests a little later.
    pub failures: u64,
}

/// Lane sources seen by a workload: (workload, lane, direction, source) to calls.
pub type Contexts = BTreeMap<(String, String, Direction, Source), u64>;

/// Which number of Prometheus, on which lane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumberKey {
    /// The service, or the release, that its objective belongs to.
    pub service: String,
    /// Name of the objective.
    pub objective: String,
    /// The lane.
    pub lane: String,
}

/// What happened between two moments, over all proxies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    /// Begin, Unix milliseconds.
    pub from_ms: u64,
    /// End, Unix milliseconds.
    pub to_ms: u64,
    /// Requests as callers saw them: these judge.
    pub cells: BTreeMap<Cell, Tally>,
    /// Requests as the called side saw them, by service and lane: these attribute.
    pub inbound: BTreeMap<(String, String), Inbound>,
    /// Requests that entered by weight, by lane, all destinations together: as gateways counted them, and as sidecars
    /// that are entries chose.
    pub entered: BTreeMap<String, u64>,
    /// Picks and fallbacks by lane.
    pub picks: BTreeMap<(String, Pick), u64>,
    /// Where sidecars read the lane.
    pub contexts: Contexts,
    /// Calls by edge, all lanes together.
    pub calls: BTreeMap<Call, u64>,
    /// Whose requests entered a lane by their slot: by lane and bucket.
    pub units: BTreeMap<(String, u8), Unit>,
    /// Numbers of windows that end in it, as the reader of Prometheus filled them in.
    pub numbers: BTreeMap<NumberKey, f64>,
    /// Versions, as service and lane, of which more pods became ready in it; filled in by the caller.
    pub started: BTreeSet<(String, String)>,
    /// Intended weights while it lasted, in 1/10,000 by lane; filled in by the caller. A lane whose
    /// weight changed within the interval is left out.
    pub weights: BTreeMap<String, u32>,
    /// Proxies that should have reported.
    pub expected: u32,
    /// Proxies that did.
    pub reporting: u32,
    /// Expected proxies that did not.
    pub missing: BTreeSet<String>,
}

// === impl Interval ===

impl Interval {
    /// Adds the growth of one counter.
    pub(super) fn add(&mut self, beside: Option<&str>, series: &Series, grown: u64) {
        match series.metric {
            Metric::LanePicks(pick) => {
                *self.picks.entry((series.lane.clone(), pick)).or_default() += grown;
                // A sidecar that chooses counts no requests of its own at that place.
                if pick == Pick::Slot && beside.is_some() {
                    *self.entered.entry(series.lane.clone()).or_default() += grown;
                }
            }
            Metric::Context(source) => {
                let key = (series.service.clone(), series.lane.clone(), series.direction, source);
                *self.contexts.entry(key).or_default() += grown;
            }
            Metric::UnitRequests(at) => self.unit(series, at).requests += grown,
            Metric::UnitFailures(at) => self.unit(series, at).failures += grown,
            _ if series.direction == Direction::Inbound => self.add_inbound(series, grown),
            _ => self.add_outcome(beside, series, grown),
        }
    }

    fn unit(&mut self, series: &Series, at: u8) -> &mut Unit {
        self.units.entry((series.lane.clone(), at)).or_default()
    }

    fn add_inbound(&mut self, series: &Series, grown: u64) {
        let inbound = self.inbound.entry((series.service.clone(), series.lane.clone())).or_default();
        match (series.metric, series.origin) {
            (Metric::Requests, _) => inbound.requests += grown,
            (Metric::Failures, Some(Origin::Own)) => inbound.own += grown,
            (Metric::Failures, Some(Origin::Downstream)) => inbound.downstream += grown,
            (Metric::Failures, _) => inbound.unknown += grown,
            (Metric::Slow(over_ms), _) => *inbound.slow.entry(over_ms).or_default() += grown,
            _ => {}
        }
    }

    fn add_outcome(&mut self, beside: Option<&str>, series: &Series, grown: u64) {
        let Series { service, lane, cohort, .. } = series.clone();
        let tally = self.cells.entry(Cell { service, lane, cohort }).or_default();
        match series.metric {
            Metric::Requests => {
                tally.requests += grown;
                if matches!(series.status, Some(0 | 502 | 503 | 504)) {
                    tally.unanswered += grown;
                }
                if series.direction == Direction::Gateway {
                    tally.entered += grown;
                }
                if series.direction == Direction::Gateway && series.cohort == Cohort::Slot {
                    *self.entered.entry(series.lane.clone()).or_default() += grown;
                }
                self.add_calls(beside, series, grown);
            }
            Metric::Failures => tally.failures += grown,
            Metric::Abandoned(_) if series.direction == Direction::Gateway => tally.left += grown,
            Metric::Abandoned(quit) => {
                match quit {
                    Quit::Left => tally.cut_off += grown,
                    Quit::GaveUp => tally.given_up += grown,
                }
                // A version that answers nothing is called all the same.
                self.add_calls(beside, series, grown);
            }
            Metric::Slow(over_ms) => *tally.slow.entry(over_ms).or_default() += grown,
            _ => {}
        }
    }

    fn add_calls(&mut self, beside: Option<&str>, series: &Series, grown: u64) {
        let call = Call { from: beside.map(str::to_owned), to: series.service.clone() };
        *self.calls.entry(call).or_default() += grown;
    }
}
