//! The evidence on a release, and the verdict it carries.

mod arm;
pub mod bound;
mod breach;
mod consecutive;
mod crowd;
mod family;
mod harm;
mod health;
mod keep;
mod nats;
mod pooled;
mod portion;
mod ramp;
mod recent;
mod share;
mod spread;
mod trial;
mod verdict;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use arm::real;
pub use arm::{Arm, Pair};
pub use breach::Breach;
pub use consecutive::{IN_A_ROW, WINDOW_MS, Windows};
pub use crowd::Crowd;
pub use harm::RATIOS;
pub use health::Health;
pub use keep::Keep;
pub use nats::Nats;
pub use pooled::Pooled;
pub use portion::Portion;
pub use recent::Recent;
pub use share::Share;
pub use spread::Spread;
pub use trial::Trial;
pub use verdict::{Finding, FindingState, Outcome, PauseCause, Verdict};

use crate::STABLE;
use crate::counts::{Cell, Cohort, Interval, NumberKey, Tally};
use crate::locate::Sites;
use crate::plan::{Objective, ObjectiveKind, Plan};
use trial::Step;

/// By less, intervals may overlap.
const STEADY_MS: u64 = 1_000;

/// All that was learned of a lane so far. Small, and kept in the status of the release: a controller
/// that was restarted goes on with it and decides exactly as if it had not been.
///
/// The default is no evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Evidence {
    /// By service and objective.
    pub(crate) trials: BTreeMap<String, BTreeMap<String, Trial>>,
    /// The way of the traffic.
    pub(crate) health: Health,
    /// Where failures come from.
    pub(crate) sites: Sites,
    /// Whose requests fail.
    pub(crate) crowd: Crowd,
}

// === impl Evidence ===

impl Evidence {
    /// Takes what happened in an interval. Intervals come in order; one without a request of the lane
    /// is welcome too: it shows how stable did before. One that begins well before the last one ended comes after the
    /// clock was turned back: what was counted stays, and whatever is measured by the clock begins anew.
    pub fn observe(&mut self, plan: &Plan, interval: &Interval) {
        if self.health.last_ms.is_some_and(|last| interval.from_ms.saturating_add(STEADY_MS) < last) {
            self.turn_back(interval.from_ms);
        }
        self.health.observe(plan, interval);
        self.sites.observe(plan, interval);
        let lone = self.crowd.observe(plan, interval);
        let with_unknown = self.health.may_compare_unknown();
        for (service, objective) in plan.objectives() {
            let trials = self.trials.entry(service.to_owned()).or_default();
            let trial = trials.entry(objective.name.clone()).or_default();
            match counts(plan, interval, service, objective, with_unknown) {
                Counted::Pair(pair) => {
                    let mut step = step(interval, objective, pair);
                    let has_started = |lane: &str| interval.started.contains(&(service.to_owned(), lane.to_owned()));
                    step.started = has_started(&plan.lane) || has_started(STABLE);
                    if matches!(objective.kind, ObjectiveKind::SuccessRate { .. }) {
                        step.lone = lone;
                        step.given_up = pair_of(plan, interval, service, with_unknown, |tally| {
                            Arm::new(tally.given_up, tally.given_up)
                        });
                    }
                    trial.observe(plan, &step, family::caps(plan, objective));
                }
                Counted::Value(lane, stable) => trial.close(objective, interval, lane, stable),
                Counted::Nothing => {}
            }
        }
    }

    fn turn_back(&mut self, now: u64) {
        self.health.turn_back(now);
        self.crowd.turn_back();
        self.trials.values_mut().flat_map(BTreeMap::values_mut).for_each(|trial| trial.turn_back(now));
    }

    /// The trial of an objective.
    pub fn trial(&self, service: &str, objective: &str) -> Option<&Trial> {
        self.trials.get(service)?.get(objective)
    }

    /// The verdict on what was observed; `now` in Unix milliseconds decides only whether reports have
    /// been missing for too long and whether the horizon has passed.
    pub fn verdict(&self, plan: &Plan, now: u64) -> Verdict {
        verdict::of(self, plan, now)
    }
}

enum Counted {
    Pair(Pair),
    /// Of the lane, and of stable where it was asked too.
    Value(f64, Option<f64>),
    Nothing,
}

fn step(interval: &Interval, objective: &Objective, pair: Pair) -> Step {
    let forgives_start = matches!(objective.kind, ObjectiveKind::Latency { .. });
    Step {
        pair,
        allowed: objective.allowed(),
        from_ms: interval.from_ms,
        to_ms: interval.to_ms,
        has_all: interval.weights.values().fold(0, |sum: u32, weight| sum.saturating_add(*weight)) >= 10_000,
        forgives_start,
        started: false,
        lone: 0,
        given_up: Pair::default(),
    }
}

fn counts(plan: &Plan, interval: &Interval, service: &str, objective: &Objective, with_unknown: bool) -> Counted {
    if objective.is_value() {
        return number(plan, interval, service, objective);
    }
    Counted::Pair(pair_of(plan, interval, service, with_unknown, |tally| outcome(tally, objective)))
}

/// What is compared of a service, of the lane and of stable.
fn pair_of(plan: &Plan, interval: &Interval, service: &str, with_unknown: bool, of: impl Fn(&Tally) -> Arm) -> Pair {
    let arm = |lane: &str| {
        let mut sum = Arm::default();
        for cohort in [Cohort::Slot, Cohort::Unknown] {
            if cohort == Cohort::Slot || with_unknown {
                let cell = Cell { service: service.to_owned(), lane: lane.to_owned(), cohort };
                sum.add(interval.cells.get(&cell).map_or_else(Arm::default, &of));
            }
        }
        sum
    };
    Pair { lane: arm(&plan.lane), stable: arm(STABLE) }
}

fn outcome(tally: &Tally, objective: &Objective) -> Arm {
    let bad = match objective.kind {
        ObjectiveKind::Latency { over_ms, .. } => tally.slow.get(&over_ms).copied().unwrap_or(0),
        _ => tally.failures,
    };
    Arm::new(tally.requests, bad)
}

fn number(plan: &Plan, interval: &Interval, service: &str, objective: &Objective) -> Counted {
    let of = |lane: &str| {
        let key = NumberKey { service: service.into(), objective: objective.name.clone(), lane: lane.into() };
        interval.numbers.get(&key).copied()
    };
    of(&plan.lane).map_or(Counted::Nothing, |value| Counted::Value(value, of(STABLE)))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
