//! Whose requests they are: the counters by bucket of the gateway's filter.

use graylane_analysis::counts::{UNITS, Unit};

use crate::draw::Draw;
use crate::scenario::Scenario;
use crate::world::{Hop, World};

/// What the gateway counts of the lane's units.
#[derive(Clone, Debug)]
pub struct Units {
    /// Chance that a failure is of the same user as the one before: retries.
    cluster: f64,
    /// The weight of `shares`.
    at: f64,
    /// Shares of all traffic that the lane has, by bucket.
    shares: [f64; UNITS],
    draw: Draw,
}

// === impl Units ===

impl Units {
    /// The units of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        Self { cluster: scenario.cluster, at: 0.0, shares: [0.0; UNITS], draw: Draw::new(scenario.seed ^ 0x0175) }
    }

    /// Half a second of the lane at the gateway. `users` are slots and shares of those whose requests fail
    /// whoever serves them.
    pub fn of(&mut self, world: &World, weight: f64, hop: &Hop, users: &[(f64, f64)]) -> [Unit; UNITS] {
        let mut units = [Unit::default(); UNITS];
        if hop.called == 0 {
            return units;
        }
        if (self.at - weight).abs() > f64::EPSILON {
            (self.at, self.shares) = (weight, world.by_bucket(weight));
        }
        let mut others = self.shares;
        for (slot, share) in users {
            let other = &mut others[bucket_of(*slot)];
            *other = (*other - share).max(0.0);
        }
        for _ in 0..hop.by_users {
            let unit = &mut units[bucket_of(self.draw.one_of(users))];
            unit.requests += 1;
            unit.failures += 1;
        }
        let rest = hop.called - hop.by_users.min(hop.called);
        self.deal(rest, &others, &mut units);
        let mut last = None;
        for _ in hop.by_users..hop.failed() {
            let at = last.filter(|_| self.cluster > 0.0 && self.draw.chance(self.cluster));
            let at = at.unwrap_or_else(|| self.bucket(&others));
            units[at].failures += 1;
            last = Some(at);
        }
        units
    }

    fn deal(&mut self, requests: u64, shares: &[f64; UNITS], units: &mut [Unit; UNITS]) {
        let (mut left, mut sum) = (requests, shares.iter().sum::<f64>());
        for (share, unit) in shares.iter().zip(units) {
            let here = if sum > 0.0 { self.draw.binomial(left, (share / sum).min(1.0)) } else { 0 };
            unit.requests += here;
            left -= here;
            sum -= share;
        }
    }

    fn bucket(&mut self, shares: &[f64; UNITS]) -> usize {
        let mut left = self.draw.between(0.0, shares.iter().sum());
        for (at, share) in shares.iter().enumerate() {
            left -= share;
            if left < 0.0 {
                return at;
            }
        }
        0
    }
}

/// As the filter takes the bucket from the slot of 10,000.
pub fn bucket_of(slot: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a slot is not negative")]
    let slot = (slot * 10_000.0) as usize;
    slot % UNITS
}
