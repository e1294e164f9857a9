//! What holds a release although nothing failed: broken routing, fallbacks, lanes that get lost, and
//! missing reports.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::real;
use super::portion::Portion;
use super::share::{Share, around};
use crate::STABLE;
use crate::counts::{Cohort, Direction, Interval, Pick, Source};
use crate::plan::Plan;

/// Logarithm of evidence at which a share counts as broken: one in 20,000.
const BROKEN: f64 = 9.9;

/// Evidence on the way of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// Since when too few proxies report, Unix milliseconds.
    pub silent_since_ms: Option<u64>,
    /// End of the last interval that was observed, Unix milliseconds.
    pub last_ms: Option<u64>,
    /// Proxies that did not report in the last interval.
    pub missing: Vec<String>,
    too_few: Share,
    too_many: Share,
    #[serde(skip_serializing_if = "is_unknown")]
    portion: Portion,
    fallbacks: BTreeMap<String, Share>,
    /// Requests by rule and all requests that entered the lane.
    testers: (u64, u64),
    lost: BTreeMap<String, Share>,
}

// === impl Health ===

impl Health {
    pub(super) fn observe(&mut self, plan: &Plan, interval: &Interval) {
        self.observe_reports(plan, interval);
        self.observe_share(plan, interval);
        self.observe_cells(plan, interval);
        self.observe_contexts(plan, interval);
    }

    /// The clock was turned back to a time.
    pub(super) fn turn_back(&mut self, now: u64) {
        self.silent_since_ms = self.silent_since_ms.map(|since| since.min(now));
        self.last_ms = Some(now);
    }

    fn observe_reports(&mut self, plan: &Plan, interval: &Interval) {
        self.last_ms = Some(interval.to_ms);
        self.missing = interval.missing.iter().take(8).cloned().collect();
        let enough = f64::from(interval.reporting) >= plan.quorum * f64::from(interval.expected);
        if enough && interval.reporting > 0 {
            self.silent_since_ms = None;
        } else {
            self.silent_since_ms.get_or_insert(interval.from_ms);
        }
    }

    /// The sample-ratio test: the lane's share of what entered by weight against the intended one. By requests only
    /// what no users explain; nearer to it by users, where entries tell of them. What fell back at once, as where the
    /// first service has no version in the lane, was in the lane when it was chosen.
    fn observe_share(&mut self, plan: &Plan, interval: &Interval) {
        let Some(&weight) = interval.weights.get(&plan.lane) else { return };
        let fell_back =
            |(cell, tally): (&crate::Cell, &crate::Tally)| (cell.cohort == Cohort::Fallback).then_some(tally.entered);
        let fell_back: u64 = interval.cells.iter().filter_map(fell_back).sum();
        let all = interval.entered.values().sum::<u64>() + fell_back;
        let lane = interval.entered.get(&plan.lane).copied().unwrap_or(0);
        self.portion.take(plan, interval, (lane, fell_back, all), weight);
        let weight = f64::from(weight.min(10_000)) / 10_000.0;
        self.too_few.bet(lane + fell_back, all, weight / 4.0, weight / 40.0);
        let most = 0.5 + weight / 2.0;
        self.too_many.bet(lane, all, most, most.midpoint(1.0));
    }

    fn observe_cells(&mut self, plan: &Plan, interval: &Interval) {
        for service in &plan.services {
            let sum = |lane: &str, wanted: fn(Cohort) -> bool| {
                let of = |(cell, tally): (&crate::Cell, &crate::Tally)| {
                    (cell.service == service.service && cell.lane == lane && wanted(cell.cohort))
                        .then_some(tally.requests)
                };
                interval.cells.iter().filter_map(of).sum::<u64>()
            };
            let served = sum(&plan.lane, |_| true);
            let fallback = sum(STABLE, |cohort| cohort == Cohort::Fallback);
            let budget = plan.fallback_budget.max(0.001);
            let share = self.fallbacks.entry(service.service.clone()).or_default();
            share.bet(fallback, served + fallback, budget, (4.0 * budget).min(budget.midpoint(1.0)));
        }
        self.fallbacks.retain(|_, share| *share != Share::default());
        let picked = |pick| interval.picks.get(&(plan.lane.clone(), pick)).copied().unwrap_or(0);
        let asked = picked(Pick::Rule) + picked(Pick::Tag);
        self.testers.0 += asked;
        self.testers.1 += asked + picked(Pick::Slot);
    }

    /// Lane integrity: a workload whose calls out carry the lane less often than stable's fan-out
    /// says they should.
    fn observe_contexts(&mut self, plan: &Plan, interval: &Interval) {
        let mut flows: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
        for ((workload, lane, direction, source), calls) in &interval.contexts {
            let in_lane = *lane == plan.lane && *source != Source::None;
            let at = usize::from(*direction == Direction::Outbound) * 2 + usize::from(in_lane);
            flows.entry(workload).or_default()[at] += calls;
        }
        for (workload, [stable_in, lane_in, stable_out, lane_out]) in flows {
            let expected = |kept: f64| {
                let lane = kept * real(lane_in);
                lane / (lane + real(stable_in) + (1.0 - kept) * real(lane_in))
            };
            let share = self.lost.entry(workload.to_owned()).or_default();
            if lane_in > 0 && plan.integrity_floor > 0.0 {
                let (above, below) = around(plan.integrity_floor);
                share.bet(lane_out, lane_out + stable_out, expected(above), expected(below));
            }
        }
        self.lost.retain(|_, share| *share != Share::default());
    }

    /// Whether requests whose cohort got lost still stand for those by weight: testers are under a
    /// fifth of what enters the lane.
    pub fn may_compare_unknown(&self) -> bool {
        let (testers, all) = self.testers;
        testers.saturating_mul(5) < all || all == 0
    }

    /// Why the routing counts as broken.
    pub(super) fn routing(&self, plan: &Plan) -> Option<&'static str> {
        let (more, less) = self.portion.evidence();
        if plan.expects_share && self.too_few.get().max(less) >= BROKEN {
            Some("the lane gets far less than its weight")
        } else if self.too_many.get().max(more) >= BROKEN {
            Some("the lane gets far more than its weight")
        } else {
            None
        }
    }

    /// The service whose lane requests are served by stable too often.
    pub(super) fn falling_back(&self) -> Option<&str> {
        worst(&self.fallbacks)
    }

    /// The workload that loses the lane.
    pub(super) fn losing(&self) -> Option<&str> {
        worst(&self.lost)
    }
}

fn is_unknown(portion: &Portion) -> bool {
    *portion == Portion::default()
}

fn worst(shares: &BTreeMap<String, Share>) -> Option<&str> {
    let broken = shares.iter().filter(|(_, share)| share.get() >= BROKEN);
    broken.max_by(|a, b| a.1.get().total_cmp(&b.1.get())).map(|(name, _)| name.as_str())
}
