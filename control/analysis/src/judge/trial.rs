//! The evidence on one objective of one service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::{Arm, Pair, real};
use super::bound::{self, BETTER, WORSE};
use super::consecutive::Windows;
use super::harm::{self, RATIOS};
use super::nats::{Nats, log_mean_exp};
use super::recent::Recent;
use super::spread::Spread;
use crate::plan::Plan;

/// Weight of "failures are independent" before any were seen, in failures.
const SPREAD_PRIOR: f64 = 8.0;

/// The evidence on one objective of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Trial {
    /// All compared counts since the lane's first request.
    pub total: Pair,
    /// Stable's counts before it.
    pub before: Arm,
    /// When the lane's first request was counted, Unix milliseconds.
    pub first_ms: Option<u64>,
    /// Begin of the first interval in which the lane broke the objective more often than stable.
    pub first_bad_ms: Option<u64>,
    pub(super) recent: Recent,
    pub(super) windows: Windows,
    harm: [Nats; RATIOS.len()],
    breach: [Nats; WORSE.len()],
    keep: [Nats; BETTER.len()],
    lane_spread: Spread,
    stable_spread: Spread,
}

/// One interval of one trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub pair: Pair,
    pub allowed: f64,
    pub from_ms: u64,
    pub to_ms: u64,
    /// Whether slow requests are still forgiven after a start.
    pub forgives_start: bool,
}

// === impl Trial ===

impl Trial {
    /// Takes an interval's counts.
    pub(super) fn observe(&mut self, plan: &Plan, step: &Step, cap: f64) {
        self.stable_spread.take(step.pair.stable);
        if step.pair.lane.n == 0 && self.first_ms.is_none() {
            self.before.add(step.pair.stable);
            return;
        }
        let first = *self.first_ms.get_or_insert(step.from_ms);
        if step.forgives_start && step.from_ms < first.saturating_add(plan.warm_up_ms) {
            return;
        }
        let pair = step.pair;
        self.total.add(pair);
        self.recent.add(pair, step.to_ms);
        self.windows.add(pair.lane, step);
        self.lane_spread.take(pair.lane);
        harm::step(&mut self.harm, &pair, plan.margin, cap);
        bound::step_worse(&mut self.breach, pair.lane, step.allowed, cap);
        bound::step_better(&mut self.keep, pair.lane, step.allowed);
        if pair.lane.bad > 0 && pair.excess() > 0.0 {
            self.first_bad_ms.get_or_insert(step.from_ms);
        }
    }

    /// How much more failures scatter than independent ones; at least 1.
    pub fn dispersion(&self) -> f64 {
        Spread::estimate(&[&self.lane_spread, &self.stable_spread], SPREAD_PRIOR)
    }

    /// Logarithm of the e-value against "no worse than stable".
    pub fn harm(&self) -> f64 {
        log_mean_exp(&self.harm, self.dispersion())
    }

    /// Logarithm of the e-value against "the lane keeps the objective".
    pub fn breach(&self) -> f64 {
        log_mean_exp(&self.breach, self.dispersion())
    }

    /// Logarithm of the e-value against "the lane breaks the objective".
    pub fn keep(&self) -> f64 {
        log_mean_exp(&self.keep, self.dispersion())
    }

    /// Whether the harm is more than what is reported only: enough failures, and an excess over the
    /// margin and the floor.
    pub fn is_material(&self, plan: &Plan) -> bool {
        let Pair { lane, stable } = self.total;
        lane.bad >= plan.min_failures && lane.rate() - plan.margin * stable.rate() >= plan.floor && !self.has_moved()
    }

    /// Whether failures only moved from stable into the lane, as those of one user do whose slot did:
    /// then stable fails less often than before the lane had traffic, and all together no more often.
    pub fn has_moved(&self) -> bool {
        if self.before.n == 0 {
            return false;
        }
        let Pair { lane, stable } = self.total;
        let excess = real(lane.bad) - stable.rate() * real(lane.n);
        let all = real(lane.bad + stable.bad) - self.before.rate() * real(lane.n + stable.n);
        all < excess / 2.0
    }
}
