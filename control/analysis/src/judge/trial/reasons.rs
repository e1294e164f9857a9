//! Whether the evidence on an objective is a reason to take the lane back.

use super::{COLD, FLOOR, HARM, Held, LATELY, MOVED, OUTAGE, SETTLED, Trial};
use crate::judge::arm::{Arm, Pair, real};
use crate::judge::bound;
use crate::judge::nats::log_sum;
use crate::judge::pooled::Pooled;
use crate::plan::{Objective, Plan};

// === impl Trial ===

impl Trial {
    /// Logarithm of the e-value that decides on a rollback: of those against "no worse than stable" and against "keeps
    /// the objective" the weighted mean, which is one as well; each only while what it tells is more than what is
    /// reported only.
    pub fn against(&self, plan: &Plan, objective: &Objective) -> Option<f64> {
        let harm = self.is_worse(plan, objective).then(|| self.harm() + HARM.ln());
        let breach = self.is_broken(plan, objective).then(|| self.breach() + (1.0 - HARM).ln());
        match (harm, breach) {
            (Some(harm), Some(breach)) => Some(log_sum(harm, breach)),
            (one, other) => one.or(other),
        }
    }

    /// Whether the harm is more than what is reported only: enough failures, and an excess that is
    /// surely over the margin and the floor; after a cold start also without the first seconds, and
    /// within these only an excess that no cold start explains.
    fn is_worse(&self, plan: &Plan, objective: &Objective) -> bool {
        let is_over = |pooled: &Pooled, floor: f64, chance: f64| {
            pooled.rates().is_some_and(|(lane, stable)| {
                let accepted = plan.margin * stable + floor;
                bound::is_rate_above(lane, pooled.lane_n(), accepted, self.dispersion(), chance)
            })
        };
        let floor = plan.floor_of(objective);
        let settled = || is_over(&self.settled, floor, SETTLED) || is_over(&self.pooled, floor.max(COLD), SETTLED);
        let failures = self.total.lane.bad.saturating_sub(self.lone) + self.given_up.lane.n;
        failures >= plan.min_failures && is_over(&self.pooled, floor, FLOOR) && settled()
    }

    /// Whether the lane surely breaks the objective, over all its time or lately, and stable keeps it.
    fn is_broken(&self, plan: &Plan, objective: &Objective) -> bool {
        let (limit, dispersion) = (plan.limit_of(objective), self.dispersion());
        let above = |arm: Arm, limit: f64, chance: f64| bound::is_above(arm, limit, dispersion, chance);
        let Held { all, settled, recent, .. } = self.held;
        let cold = objective.allowed() + plan.floor_of(objective).max(COLD);
        let over = above(all, limit, FLOOR) && (above(settled, limit, SETTLED) || above(all, cold, SETTLED));
        let lately = above(recent.sum().lane, limit, LATELY);
        all.bad >= plan.min_failures && (over || lately) && self.stable_keeps(objective)
    }

    /// Whether stable was never seen to break the objective. What it has not served tells nothing against it.
    fn stable_keeps(&self, objective: &Objective) -> bool {
        let mut stable = self.total.stable;
        stable.add(self.before);
        let allowed = objective.allowed();
        stable.rate() <= allowed && !bound::is_above(self.recent.sum().stable, allowed, 1.0, OUTAGE)
    }

    /// Whether lane and stable surely break the objective, and still do: too slowly to be seen in half a minute.
    pub fn both_break(&self, plan: &Plan, objective: &Objective, needed: f64) -> bool {
        let (now, allowed) = (self.recent.sum(), objective.allowed());
        let surely = |arm: Arm, limit: f64| bound::is_above(arm, limit, self.dispersion(), LATELY);
        self.breach.get(self.dispersion()) + (1.0 - HARM).ln() >= needed
            && surely(self.held.all, plan.limit_of(objective))
            && surely(self.total.stable, allowed)
            && [now.lane, now.stable].iter().all(|arm| arm.rate() > allowed)
    }

    /// Whether failures may only have moved from stable into the lane, as those of one user do whose
    /// slot did: then stable fails less often than before the lane had traffic, and all together do
    /// not fail more often. Not believed against evidence three times as strong as `needed`, because a
    /// base rate that fell at the same time looks alike.
    pub fn has_moved(&self, needed: f64) -> bool {
        let evidence = if self.alone { self.breach() } else { self.harm() };
        if self.before.n == 0 || evidence > MOVED * needed {
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
