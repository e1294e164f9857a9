//! Absolute harm: does the lane break its objective, whatever stable does?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::{Arm, real};
use super::bound::{self, WORSE};
use super::nats::{Nats, log_mean};

/// Below this a bet is lost for good, and begins anew.
const LOST: f64 = -10.0;

/// The e-process against "the lane keeps its objective".
///
/// A bet loses with every request that goes well, so one that ran through an hour of them would need minutes of
/// failures to win. So a lost bet begins anew, for the k-th time with 1 / 2k(k+1) of the stake, and with half of it
/// at first: each begins at a time that the past alone decides, and the stakes are 1 together, so their sum is
/// an e-process still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Breach {
    bets: [Bet; WORSE.len()],
}

/// The bet on one rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Bet {
    /// How often it was lost.
    lost: u64,
    log: Nats,
}

// === impl Breach ===

impl Breach {
    /// Takes requests of the lane; no bet gains more than `cap` by them (C2 (2); Wald's sequential ratio, mixed
    /// over alternatives).
    pub fn take(&mut self, arm: Arm, allowed: f64, cap: f64) {
        for (bet, multiple) in self.bets.iter_mut().zip(WORSE) {
            let other = (allowed * multiple).min(allowed.midpoint(1.0));
            bet.log = bet.log.plus(bound::ratio(arm, allowed, other).min(cap));
            if bet.log.get() < LOST {
                *bet = Bet { lost: bet.lost.saturating_add(1), log: Nats::default() };
            }
        }
    }

    /// Logarithm of the e-value.
    pub fn get(&self, dispersion: f64) -> f64 {
        log_mean(self.bets.iter().map(|bet| bet.log.get() / dispersion.max(1.0) + bet.stake().ln()))
    }
}

// === impl Bet ===

impl Bet {
    fn stake(self) -> f64 {
        let lost = real(self.lost);
        if self.lost == 0 { 0.5 } else { 0.5 / (lost * (lost + 1.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_good_requests_is_no_credit_for_bad_ones() {
        let mut breach = Breach::default();
        (0..3_600).for_each(|_| breach.take(Arm::new(100, 0), 0.01, 5.0));
        assert!(breach.get(1.0) < 0.0, "{breach:?}");
        (0..10).for_each(|_| breach.take(Arm::new(100, 100), 0.01, 5.0));
        assert!(breach.get(1.0) > f64::ln(2_000.0), "{breach:?}");
    }

    #[test]
    fn a_rate_of_twice_what_is_allowed_is_seen_within_some_thousand_requests() {
        let mut breach = Breach::default();
        let needed = (1..1_000_u64).find(|_| {
            breach.take(Arm::new(100, 2), 0.01, 5.0);
            breach.get(1.0) > f64::ln(2_000.0)
        });
        assert!(needed.is_some_and(|hundreds| (15..40).contains(&hundreds)), "{needed:?}");
    }
}
