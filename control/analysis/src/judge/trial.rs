//! The evidence on one objective of one service.

mod reasons;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::{Arm, Pair};
use super::bound;
use super::breach::Breach;
use super::consecutive::Windows;
use super::harm::{self, ANY, RATIOS};
use super::keep::Keep;
use super::nats::{Nats, log_mean_exp};
use super::pooled::Pooled;
use super::recent::Recent;
use super::spread::Spread;
use crate::counts::Interval;
use crate::plan::{Method, Objective, Plan};

/// Share of an objective's test that is a bet on harm, against stable. The rest is one on a breach of the objective:
/// that is what is left where there is nothing to compare with, and where more harm would be accepted than is allowed.
pub const HARM: f64 = 0.9;
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
/// So often the pods of a service are forgiven to be slow at first, beside the lane's first.
const WARM_UPS: u32 = 12;
/// Where stable had no request for so long, in milliseconds, the lane is measured by its objective alone.
const ALONE_MS: u64 = 30_000;
/// Time in which half of what stable did before the lane opened is forgotten, in milliseconds.
const HALF_LIFE_MS: u64 = 120_000;
/// Intervals are put together until they hold so many requests: a comparison within one that holds two
/// says nothing. Depends on requests only, never on how they went.
const BLOCK: u64 = 30;
/// Chance that an excess is taken to be above the floor although it is not. The e-process bounds false
/// alarms already; this keeps what is within the floor from being rolled back.
const FLOOR: f64 = 0.02;
/// The same for what is seen of the last seconds only.
const LATELY: f64 = 0.001;

/// What one block may add to a bet at most.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// On harm.
    pub harm: f64,
    /// On a breach.
    pub breach: f64,
}

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
    /// Begin of the first interval in which the lane broke the objective more often than stable, since it last looked
    /// as good.
    pub first_bad_ms: Option<u64>,
    /// Since when pods that became ready later are forgiven, Unix milliseconds, and how often some were.
    #[serde(skip_serializing_if = "is_default")]
    warming_ms: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    warm_ups: u32,
    pub(super) recent: Recent,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) windows: Windows,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) stable_windows: Windows,
    /// Since when stable has been seen to break it, Unix milliseconds.
    unclean_since_ms: Option<u64>,
    block: Pair,
    /// Calls of the open block that callers gave up on.
    #[serde(skip_serializing_if = "is_default")]
    block_given_up: Pair,
    /// Calls that callers gave up on before any answer. They are not in `total`: where applications hand no
    /// trace on, those of users who went away are among them. So they say nothing of the objective, and are
    /// only compared with stable's, which users leave as well.
    #[serde(skip_serializing_if = "is_default")]
    pub given_up: Pair,
    /// Failures of few users that the last interval told of, and that no failure was found for.
    late: u64,
    /// Failures of the lane that were not held against it, because they are of few users.
    pub lone: u64,
    pooled: Pooled,
    /// The same without the first seconds after the lane's start.
    settled: Pooled,
    harm: [Nats; RATIOS.len()],
    /// Bets on any excess over stable's rate: what breaks the objective may be what breaks stable's too.
    excess: [Nats; ANY.len()],
    breach: Breach,
    /// When stable had its last request, Unix milliseconds.
    stable_ms: Option<u64>,
    /// Whether there is nothing to compare with now.
    alone: bool,
    /// What is held against the lane, failures of few users and outages of stable left out.
    held: Held,
    keep: Keep,
    lane_spread: Spread,
    stable_spread: Spread,
}

/// Requests of the lane that are held against its objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Held {
    block: Arm,
    all: Arm,
    /// The same without the first seconds after the lane's start.
    settled: Arm,
    /// The last seconds, without these either.
    recent: Recent,
}

/// One interval of one trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub pair: Pair,
    pub allowed: f64,
    pub from_ms: u64,
    pub to_ms: u64,
    /// Whether all weight is the lane's.
    pub has_all: bool,
    /// Whether slow requests are still forgiven after a start.
    pub forgives_start: bool,
    /// Whether pods of the lane's version or of stable became ready.
    pub started: bool,
    /// Failures of few users, at the entry.
    pub lone: u64,
    /// Calls that callers gave up on, all of them bad; beside `pair`.
    pub given_up: Pair,
}

/// Whether a field need not be written down.
fn is_default<T: Default + PartialEq>(field: &T) -> bool {
    *field == T::default()
}

// === impl Trial ===

impl Trial {
    /// Takes an interval's counts; no bet gains more than its cap by one block of them.
    pub(super) fn observe(&mut self, plan: &Plan, step: &Step, caps: Caps) {
        let pair = step.pair;
        let is_clean = self.is_clean(step);
        self.stable_ms = if pair.stable.n > 0 { Some(step.to_ms) } else { self.stable_ms };
        self.alone = step.has_all || self.stable_ms.is_none_or(|at| step.to_ms >= at.saturating_add(ALONE_MS));
        self.unclean_since_ms = if is_clean { None } else { self.unclean_since_ms.or(Some(step.from_ms)) };
        let mut compared = pair;
        compared.add(step.given_up);
        self.stable_spread.take(compared.stable, is_clean);
        if pair.lane.n + step.given_up.lane.n == 0 && self.first_ms.is_none() {
            self.remember(pair.stable, step.to_ms);
            return;
        }
        let first = *self.first_ms.get_or_insert(step.from_ms);
        if step.forgives_start && self.is_warming(plan, step, first) {
            return;
        }
        self.total.add(pair);
        self.recent.add(pair, step.to_ms);
        if plan.method == Method::Consecutive {
            self.windows.add(pair.lane, step);
            self.stable_windows.add(pair.stable, step);
        }
        self.lane_spread.take(compared.lane, is_clean);
        if !self.is_outage(step) {
            self.keep.step(pair.lane, self.recent.sum().lane, step.allowed);
        }
        self.given_up.add(step.given_up);
        let is_bad = compared.lane.bad > 0 && compared.excess() > 0.0;
        self.compare(plan, step, caps);
        if is_bad {
            self.first_bad_ms.get_or_insert(step.from_ms);
        } else if self.looks_good() {
            self.first_bad_ms = None;
        }
    }

    /// Whether nothing speaks against the lane, lately and on the whole: a failure now and then is not the begin of
    /// trouble.
    fn looks_good(&self) -> bool {
        self.recent.sum().excess() <= 0.0 && self.harm() <= 0.0 && self.breach() <= 0.0
    }

    /// Whether pods may still be slow, because the lane has just begun or some have just become ready. Pods that come
    /// again and again are forgiven so many times only.
    fn is_warming(&mut self, plan: &Plan, step: &Step, first: u64) -> bool {
        if step.started && self.warm_ups < WARM_UPS {
            (self.warm_ups, self.warming_ms) = (self.warm_ups + 1, Some(step.from_ms));
        }
        let is_within = |since: u64| step.from_ms < since.saturating_add(plan.warm_up_ms);
        is_within(first) || self.warming_ms.is_some_and(is_within)
    }

    /// The clock was turned back to a time: no window or half minute is continued.
    pub(super) fn turn_back(&mut self, now: u64) {
        self.first_ms = self.first_ms.map(|first| first.min(now));
        self.first_bad_ms = self.first_bad_ms.map(|first| first.min(now));
        self.before_age = now / HALF_LIFE_MS;
        self.warming_ms = None;
        self.stable_ms = self.stable_ms.map(|at| at.min(now));
        self.unclean_since_ms = self.unclean_since_ms.map(|since| since.min(now));
        self.recent = Recent::default();
        self.held.recent = Recent::default();
        self.windows.turn_back();
        self.stable_windows.turn_back();
    }

    /// Adds to what stable did before the lane had requests; half of it is forgotten every two minutes.
    fn remember(&mut self, stable: Arm, to_ms: u64) {
        let age = to_ms / HALF_LIFE_MS;
        if age > self.before_age {
            self.before.halve();
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
    fn compare(&mut self, plan: &Plan, step: &Step, caps: Caps) {
        let pair = self.without_lone(step);
        self.block.add(pair);
        self.block_given_up.add(step.given_up);
        if !self.is_outage(step) {
            self.held.block.add(pair.lane);
            if self.has_settled(plan, step) {
                self.held.recent.add(pair, step.to_ms);
            }
        }
        let mut all = self.block;
        all.add(self.block_given_up);
        if all.lane.n + all.stable.n >= BLOCK {
            let answered = std::mem::take(&mut self.block);
            self.block_given_up = Pair::default();
            self.pooled.add(&all);
            let held = std::mem::take(&mut self.held.block);
            self.held.all.add(held);
            if self.has_settled(plan, step) {
                self.settled.add(&all);
                self.held.settled.add(held);
            }
            harm::step(&mut self.harm, RATIOS, &all, plan.margin, caps.harm);
            harm::step(&mut self.excess, ANY, &answered, 1.0, caps.breach);
            self.breach.take(held, step.allowed, caps.breach);
        }
    }

    /// Whether the first seconds after the lane's start are over.
    fn has_settled(&self, plan: &Plan, step: &Step) -> bool {
        let settles_ms = if step.forgives_start { 2 * plan.warm_up_ms } else { plan.warm_up_ms / 2 };
        step.from_ms >= self.first_ms.unwrap_or_default().saturating_add(settles_ms)
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
        self.first_bad_ms = is_bad.then(|| self.first_bad_ms.unwrap_or(interval.from_ms));
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

    /// Logarithm of the e-value against "the lane keeps the objective, or is no worse than stable", of which the second
    /// part is left out where there is nothing to compare with.
    pub fn breach(&self) -> f64 {
        let breach = self.breach.get(self.dispersion());
        if self.alone { breach } else { breach.min(log_mean_exp(&self.excess, self.dispersion())) }
    }

    /// Logarithm of the e-value against "the lane breaks the objective".
    pub fn keep(&self) -> f64 {
        self.keep.get(self.dispersion())
    }

    /// Rates of the lane and of stable, as if the weight had never changed.
    pub fn rates(&self) -> Option<(f64, f64)> {
        self.pooled.rates()
    }
}
