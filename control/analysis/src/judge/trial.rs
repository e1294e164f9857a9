//! The evidence on one objective of one service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::{Arm, Pair, real};
use super::bound::{self, WORSE};
use super::consecutive::Windows;
use super::harm::{self, RATIOS};
use super::keep::Keep;
use super::nats::{Nats, log_mean_exp};
use super::pooled::Pooled;
use super::recent::Recent;
use super::spread::Spread;
use crate::counts::Interval;
use crate::plan::{Objective, Plan};

/// Weight of "failures are independent" before any were seen, in failures.
const SPREAD_PRIOR: f64 = 8.0;
/// Chance at which stable is taken to break the objective although it does not.
const OUTAGE: f64 = 0.05;
/// What stable has broken for longer than this, in milliseconds, is no outage but its way.
const OUTAGE_MS: u64 = 90_000;
/// The same chance once more for what came after a cold start, or is more than one.
const SETTLED: f64 = 0.2;
/// Excess of failures, or of slow requests after the warm-up, that a cold start may have.
const COLD: f64 = 0.05;
/// Evidence, as a multiple of what a rollback needs, against which failures are not taken for moved.
const MOVED: f64 = 3.0;
/// Time in which half of what stable did before the lane opened is forgotten, in milliseconds.
const HALF_LIFE_MS: u64 = 120_000;
/// Intervals are put together until they hold so many requests: a comparison within one that holds two
/// says nothing. Depends on requests only, never on how they went.
const BLOCK: u64 = 30;
/// Chance that an excess is taken to be above the floor although it is not. The e-process bounds false
/// alarms already; this keeps what is within the floor from being rolled back.
const FLOOR: f64 = 0.02;

/// The evidence on one objective of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Trial {
    /// All compared counts since the lane's first request.
    pub total: Pair,
    /// Stable's counts in the minutes before it.
    pub before: Arm,
    before_age: u64,
    /// When the lane's first request was counted, Unix milliseconds.
    pub first_ms: Option<u64>,
    /// Begin of the first interval in which the lane broke the objective more often than stable.
    pub first_bad_ms: Option<u64>,
    pub(super) recent: Recent,
    pub(super) windows: Windows,
    pub(super) stable_windows: Windows,
    /// Since when stable has been seen to break it, Unix milliseconds.
    unclean_since_ms: Option<u64>,
    block: Pair,
    /// Calls of the open block that callers gave up on.
    block_given_up: Pair,
    /// Calls that callers gave up on before any answer. They are not in `total`: where applications hand no
    /// trace on, those of users who went away are among them. So they say nothing of the objective, and are
    /// only compared with stable's, which users leave as well.
    pub given_up: Pair,
    /// Failures of few users that the last interval told of, and that no failure was found for.
    late: u64,
    /// Failures of the lane that were not held against it, because they are of few users.
    pub lone: u64,
    pooled: Pooled,
    /// The same without the first seconds after the lane's start.
    settled: Pooled,
    harm: [Nats; RATIOS.len()],
    breach: [Nats; WORSE.len()],
    keep: Keep,
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
    /// Failures of few users, at the entry.
    pub lone: u64,
    /// Calls that callers gave up on, all of them bad; beside `pair`.
    pub given_up: Pair,
}

// === impl Trial ===

impl Trial {
    /// Takes an interval's counts; no bet gains more than `cap` by one block of them.
    pub(super) fn observe(&mut self, plan: &Plan, step: &Step, cap: f64) {
        let pair = step.pair;
        let is_clean = self.is_clean(step);
        self.unclean_since_ms = if is_clean { None } else { self.unclean_since_ms.or(Some(step.from_ms)) };
        let mut compared = pair;
        compared.add(step.given_up);
        self.stable_spread.take(compared.stable, is_clean);
        if pair.lane.n + step.given_up.lane.n == 0 && self.first_ms.is_none() {
            self.remember(pair.stable, step.to_ms);
            return;
        }
        let first = *self.first_ms.get_or_insert(step.from_ms);
        if step.forgives_start && step.from_ms < first.saturating_add(plan.warm_up_ms) {
            return;
        }
        self.total.add(pair);
        self.recent.add(pair, step.to_ms);
        self.windows.add(pair.lane, step);
        self.lane_spread.take(compared.lane, is_clean);
        if !self.is_outage(step) {
            self.keep.step(pair.lane, self.recent.sum().lane, step.allowed);
        }
        self.given_up.add(step.given_up);
        if compared.lane.bad > 0 && compared.excess() > 0.0 {
            self.first_bad_ms.get_or_insert(step.from_ms);
        }
        self.compare(plan, step, cap);
    }

    /// Adds to what stable did before the lane had requests; half of it is forgotten every two minutes.
    fn remember(&mut self, stable: Arm, to_ms: u64) {
        let age = to_ms / HALF_LIFE_MS;
        if age > self.before_age {
            self.before = Arm::new(self.before.n / 2, self.before.bad / 2);
            self.before_age = age;
        }
        self.before.add(stable);
    }

    /// The counts without failures of few users. They count as requests that went well, which can only make
    /// the lane look better, so an e-process stays one. A proxy behind the entry may be read a little later.
    fn without_lone(&mut self, step: &Step) -> Pair {
        let Pair { lane, stable } = step.pair;
        let known = self.late.saturating_add(step.lone);
        let taken = known.min(lane.bad);
        self.late = (known - taken).min(step.lone);
        self.lone = self.lone.saturating_add(taken);
        Pair { lane: Arm::new(lane.n, lane.bad - taken), stable }
    }

    /// Closes the block of intervals that are compared when it holds enough requests.
    fn compare(&mut self, plan: &Plan, step: &Step, cap: f64) {
        let pair = self.without_lone(step);
        self.block.add(pair);
        self.block_given_up.add(step.given_up);
        let mut all = self.block;
        all.add(self.block_given_up);
        if all.lane.n + all.stable.n >= BLOCK {
            let answered = std::mem::take(&mut self.block);
            self.block_given_up = Pair::default();
            self.pooled.add(&all);
            let settles_ms = if step.forgives_start { 2 * plan.warm_up_ms } else { plan.warm_up_ms / 2 };
            if step.from_ms >= self.first_ms.unwrap_or_default().saturating_add(settles_ms) {
                self.settled.add(&all);
            }
            harm::step(&mut self.harm, &all, plan.margin, cap);
            bound::step_worse(&mut self.breach, answered.lane, step.allowed, cap);
        }
    }

    /// Whether stable was not seen to break the objective, lately and in this interval.
    fn is_clean(&self, step: &Step) -> bool {
        let breaks = |arm| bound::is_above(arm, step.allowed, 1.0, OUTAGE);
        !breaks(self.recent.sum().stable) && !breaks(step.pair.stable)
    }

    /// Whether stable breaks the objective since a while ago, and not for long: what the lane does
    /// meanwhile says nothing of its version. Depends on stable alone, so it does not favour the lane.
    fn is_outage(&self, step: &Step) -> bool {
        self.unclean_since_ms.is_some_and(|since| step.from_ms.saturating_sub(since) < OUTAGE_MS)
    }

    /// Takes a window that Prometheus measured. What is no number says nothing.
    pub(super) fn close(&mut self, objective: &Objective, interval: &Interval, lane: f64, stable: Option<f64>) {
        if !lane.is_finite() || stable.is_some_and(|stable| !stable.is_finite()) {
            return;
        }
        let is_bad = !objective.is_kept_by(lane);
        self.windows.close(is_bad);
        if is_bad {
            self.first_bad_ms.get_or_insert(interval.from_ms);
        }
        if let Some(stable) = stable {
            self.stable_windows.close(!objective.is_kept_by(stable));
        }
    }

    /// Whether two windows in a row broke the objective, of the lane and not of stable.
    pub(super) fn failed_windows(&self) -> bool {
        self.windows.failed() && !self.stable_windows.failed()
    }

    /// How much more failures scatter than independent ones; at least 1.
    pub fn dispersion(&self) -> f64 {
        Spread::estimate(&[&self.lane_spread, &self.stable_spread], SPREAD_PRIOR)
    }

    /// Logarithm of the e-value against "no worse than stable".
    pub fn harm(&self) -> f64 {
        log_mean_exp(&self.harm, self.dispersion())
    }

    /// Logarithm of the e-value that decides on a rollback: against stable where there is one; a
    /// service that only the lane has is measured by its objective alone.
    pub fn against(&self) -> f64 {
        if self.has_baseline() { self.harm() } else { self.breach() }
    }

    /// Whether stable had requests at the same time.
    fn has_baseline(&self) -> bool {
        self.total.stable.n > 0
    }

    /// Logarithm of the e-value against "the lane keeps the objective".
    pub fn breach(&self) -> f64 {
        log_mean_exp(&self.breach, self.dispersion())
    }

    /// Logarithm of the e-value against "the lane breaks the objective".
    pub fn keep(&self) -> f64 {
        self.keep.get(self.dispersion())
    }

    /// Rates of the lane and of stable, as if the weight had never changed.
    pub fn rates(&self) -> Option<(f64, f64)> {
        self.pooled.rates()
    }

    /// Whether the harm is more than what is reported only: enough failures, and an excess that is
    /// surely over the margin and the floor; after a cold start also without the first seconds, and
    /// within these only an excess that no cold start explains.
    pub fn is_material(&self, plan: &Plan, objective: &Objective) -> bool {
        let arm = self.total.lane;
        if !self.has_baseline() {
            let accepted = objective.allowed() + plan.floor_of(objective);
            return arm.bad >= plan.min_failures && bound::is_above(arm, accepted, self.dispersion(), FLOOR);
        }
        let is_over = |pooled: &Pooled, floor: f64, chance: f64| {
            pooled.rates().is_some_and(|(lane, stable)| {
                let accepted = plan.margin * stable + floor;
                bound::is_rate_above(lane, pooled.lane_n(), accepted, self.dispersion(), chance)
            })
        };
        let floor = plan.floor_of(objective);
        let settled = || is_over(&self.settled, floor, SETTLED) || is_over(&self.pooled, floor.max(COLD), SETTLED);
        let failures = arm.bad.saturating_sub(self.lone) + self.given_up.lane.n;
        failures >= plan.min_failures && is_over(&self.pooled, floor, FLOOR) && settled()
    }

    /// Whether failures may only have moved from stable into the lane, as those of one user do whose
    /// slot did: then stable fails less often than before the lane had traffic, and all together do
    /// not fail more often. Not believed against evidence three times as strong as `needed`, because a
    /// base rate that fell at the same time looks alike.
    pub fn has_moved(&self, needed: f64) -> bool {
        if self.before.n == 0 || self.harm() > MOVED * needed {
            return false;
        }
        let Pair { lane, stable } = self.total;
        let rate = self.before.rate();
        let before = (rate - 0.5 * (rate * self.dispersion() / real(self.before.n)).sqrt()).max(0.0);
        let excess = real(lane.bad) - stable.rate() * real(lane.n);
        let all = real(lane.bad + stable.bad) - before * real(lane.n + stable.n);
        all < excess / 2.0
    }
}
