//! Proxies: counters that are read once a second, each at its own moment, get lost and restart.

use graylane_analysis::counts::{Pick, UNITS, Unit};
use graylane_analysis::{Cohort, Direction, Metric, Origin, Quit, Reading, STABLE, Series};

use crate::draw::Draw;
use crate::run::START_MS;
use crate::scenario::{SERVICES, SLOW_MS, Scenario};
use crate::world::{Flow, Hop};

/// The judged lane.
pub const LANE: &str = "canary";

/// All proxies: a gateway, and one for each service and lane that stands for its pods.
#[derive(Clone, Debug)]
pub struct Proxies {
    gateway: Proxy,
    /// By lane (the judged one first) and service.
    sidecars: [Vec<Proxy>; 2],
    lost: f64,
    restart_s: f64,
    untraced: f64,
    draw: Draw,
}

#[derive(Clone, Debug)]
struct Proxy {
    name: String,
    beside: Option<String>,
    epoch_ms: u64,
    /// Whether it is read in the middle of a second.
    reads_early: bool,
    counters: Vec<(Series, u64)>,
}

/// Counters of a caller for one destination and lane, in this order.
const CALLER: usize = 6;
/// Counters of the called side, in this order.
const CALLED: usize = 5;

// === impl Proxies ===

impl Proxies {
    /// The proxies of a scenario, all of them running for a while.
    pub fn new(scenario: &Scenario) -> Self {
        let mut draw = Draw::new(scenario.seed ^ 0x9e37);
        let lanes = [LANE, STABLE];
        let counters = lanes.iter().flat_map(|lane| caller(0, lane, scenario));
        let gateway = counters.chain(units()).chain(picks()).collect();
        let gateway = Proxy::new("gateway".into(), None, &mut draw, gateway);
        let sidecars = lanes.map(|lane| {
            let sidecar = |at: usize| {
                let mut counters = called(at, lane, scenario);
                if at + 1 < SERVICES.len() {
                    counters.extend(caller(at + 1, lane, scenario));
                }
                let name = format!("{}-{lane}", SERVICES[at]);
                Proxy::new(name, Some(SERVICES[at].into()), &mut draw, counters)
            };
            (0..SERVICES.len()).map(sidecar).collect()
        });
        let Scenario { lost, restart_s, untraced, .. } = *scenario;
        Self { gateway, sidecars, lost, restart_s, untraced, draw }
    }

    /// Names of all proxies.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(&self.gateway).chain(self.sidecars.iter().flatten()).map(|proxy| proxy.name.clone()).collect()
    }

    /// Counts half a second of both lanes.
    pub fn count(&mut self, flows: &[Flow; 2]) {
        for (lane, flow) in flows.iter().enumerate() {
            for (at, hop) in flow.iter().enumerate() {
                let counters = match at.checked_sub(1) {
                    None => &mut self.gateway.counters[lane * CALLER..],
                    Some(above) => &mut self.sidecars[lane][above].counters[CALLED..],
                };
                add_caller(counters, hop, self.untraced <= 0.0);
                let untraced = self.draw.binomial(hop.downstream, self.untraced);
                add_called(&mut self.sidecars[lane][at].counters, hop, untraced);
            }
        }
    }

    /// Counts the lane's units at the gateway.
    pub fn count_units(&mut self, units: &[Unit; UNITS]) {
        let grown = units.iter().flat_map(|unit| [unit.requests, unit.failures]);
        let counters = self.gateway.counters.iter_mut().skip(2 * CALLER);
        counters.zip(grown).for_each(|((_, value), grown)| *value += grown);
    }

    /// Counts users whom the weight sent to the lane, and those whom the gateway's brake kept out of it.
    pub fn count_picks(&mut self, picked: u64, held_back: u64) {
        let counters = self.gateway.counters.iter_mut().skip(2 * CALLER + 2 * UNITS);
        counters.zip([picked, held_back]).for_each(|((_, value), grown)| *value += grown);
    }

    /// When the gateway's process began: what it shares between its workers is of this process alone.
    pub fn gateway_began_ms(&self) -> u64 {
        self.gateway.epoch_ms
    }

    /// Reads those proxies whose moment it is.
    pub fn read(&mut self, at_ms: u64, is_early: bool) -> Vec<Reading> {
        let mut readings = Vec::new();
        for proxy in std::iter::once(&mut self.gateway).chain(self.sidecars.iter_mut().flatten()) {
            if proxy.reads_early != is_early {
                continue;
            }
            if self.restart_s > 0.0 && self.draw.chance(1.0 / self.restart_s) {
                proxy.epoch_ms = at_ms;
                proxy.counters.iter_mut().for_each(|(_, value)| *value = 0);
            }
            if !self.draw.chance(self.lost) {
                readings.push(proxy.reading(at_ms));
            }
        }
        readings
    }
}

// === impl Proxy ===

impl Proxy {
    fn new(name: String, beside: Option<String>, draw: &mut Draw, counters: Vec<(Series, u64)>) -> Self {
        Self { name, beside, epoch_ms: START_MS - 3_600_000, reads_early: draw.chance(0.5), counters }
    }

    fn reading(&self, at_ms: u64) -> Reading {
        let seen = self.counters.iter().filter(|(_, value)| *value > 0).cloned();
        Reading {
            proxy: self.name.clone(),
            beside: self.beside.clone(),
            at_ms,
            epoch: Some(self.epoch_ms),
            series: seen.collect(),
        }
    }
}

fn caller(at: usize, lane: &str, scenario: &Scenario) -> Vec<(Series, u64)> {
    let direction = if at == 0 { Direction::Gateway } else { Direction::Outbound };
    let series = |metric, status| series(metric, at, lane, direction, scenario, None, status);
    vec![
        (series(Metric::Requests, Some(200)), 0),
        (series(Metric::Requests, Some(503)), 0),
        (series(Metric::Failures, None), 0),
        (series(Metric::Slow(SLOW_MS), None), 0),
        (series(Metric::Abandoned(Quit::GaveUp), None), 0),
        (series(Metric::Abandoned(Quit::Left), None), 0),
    ]
}

fn units() -> impl Iterator<Item = (Series, u64)> {
    let series = |metric| Series {
        metric,
        service: String::new(),
        lane: LANE.into(),
        cohort: Cohort::Unknown,
        direction: Direction::Gateway,
        origin: None,
        status: None,
    };
    (0..UNITS as u8).flat_map(move |at| [(series(Metric::UnitRequests(at)), 0), (series(Metric::UnitFailures(at)), 0)])
}

/// As the filter labels them: who is held back goes to stable.
fn picks() -> [(Series, u64); 2] {
    [(Pick::Slot, LANE), (Pick::Brake, STABLE)].map(|(pick, lane)| {
        let series = Series {
            metric: Metric::LanePicks(pick),
            service: String::new(),
            lane: lane.into(),
            cohort: Cohort::Unknown,
            direction: Direction::Gateway,
            origin: None,
            status: None,
        };
        (series, 0)
    })
}

fn called(at: usize, lane: &str, scenario: &Scenario) -> Vec<(Series, u64)> {
    let series = |metric, origin, status| series(metric, at, lane, Direction::Inbound, scenario, origin, status);
    vec![
        (series(Metric::Requests, None, Some(200)), 0),
        (series(Metric::Failures, Some(Origin::Own), None), 0),
        (series(Metric::Failures, Some(Origin::Downstream), None), 0),
        (series(Metric::Failures, Some(Origin::Unknown), None), 0),
        (series(Metric::Slow(SLOW_MS), None, None), 0),
    ]
}

fn series(
    metric: Metric,
    at: usize,
    lane: &str,
    direction: Direction,
    scenario: &Scenario,
    origin: Option<Origin>,
    status: Option<u16>,
) -> Series {
    let is_unknown = scenario.unknown_cohort && at > 0 && lane != STABLE;
    let cohort = if is_unknown { Cohort::Unknown } else { Cohort::Slot };
    Series { metric, service: SERVICES[at].into(), lane: lane.into(), cohort, direction, origin, status }
}

fn add_caller(counters: &mut [(Series, u64)], hop: &Hop, is_traced: bool) {
    // Only a trace tells why a service does not wait; a gateway's client is a user.
    let is_known = is_traced || counters.first().is_some_and(|(series, _)| series.direction == Direction::Gateway);
    let (given_up, left) = if is_known { (hop.given_up, hop.cut_off) } else { (hop.given_up + hop.cut_off, 0) };
    let grown = [hop.called - hop.unanswered, hop.unanswered, hop.failed(), hop.slow, given_up, left];
    counters.iter_mut().zip(grown).for_each(|((_, value), grown)| *value += grown);
}

fn add_called(counters: &mut [(Series, u64)], hop: &Hop, untraced: u64) {
    // Who gives up answers at once, before its proxy has seen that call end: it seems to fail by itself.
    let own = hop.own + hop.waited;
    let grown = [hop.called - hop.unanswered, own, hop.downstream - untraced, untraced, hop.slow];
    counters.iter_mut().zip(grown).for_each(|((_, value), grown)| *value += grown);
}
