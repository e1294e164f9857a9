//! Promotion is a test too: is the lane's rate below what the objective allows?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::Arm;
use super::bound::{self, BETTER};
use super::nats::{Nats, log_mean_exp};

/// Below this the bet is lost for good, and may begin anew.
const LOST: f64 = -10.0;

/// The e-process against "the lane breaks the objective", which may begin anew after an outage.
///
/// A bet that was lost never recovers, so an outage of seconds that hit both sides would hold a release
/// for an hour. The k-th new beginning gets 0.1 / 2^k of the stake and the first bet 0.9: each starts
/// at a time that the past alone decides, so their sum is an e-process still, and a lane that breaks
/// its objective soon runs out of stakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Keep {
    /// How often it began anew.
    restarts: u32,
    logs: [Nats; BETTER.len()],
}

// === impl Keep ===

impl Keep {
    /// Takes an interval of the lane; `recent` is the last half minute with it.
    pub fn step(&mut self, lane: Arm, recent: Arm, allowed: f64) {
        bound::step_better(&mut self.logs, lane, allowed);
        if recent.n > 0 && recent.rate() <= allowed && self.logs.iter().all(|log| log.get() < LOST) {
            *self = Self { restarts: self.restarts.saturating_add(1), logs: Default::default() };
        }
    }

    /// Logarithm of the e-value.
    pub fn get(&self, dispersion: f64) -> f64 {
        let stake = if self.restarts == 0 { 0.9 } else { 0.1 * 0.5_f64.powf(f64::from(self.restarts)) };
        log_mean_exp(&self.logs, dispersion) + stake.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_that_is_over_costs_minutes_and_not_for_ever() {
        let mut keep = Keep::default();
        keep.step(Arm::new(1_000, 500), Arm::new(1_000, 500), 0.01);
        (0..40).for_each(|_| keep.step(Arm::new(50, 0), Arm::new(500, 0), 0.01));
        assert!(keep.get(1.0) > f64::ln(1000.0), "{keep:?}");
    }

    #[test]
    fn a_lane_that_breaks_its_objective_runs_out_of_stakes() {
        let mut keep = Keep::default();
        (0..100_000_u64).for_each(|at| keep.step(Arm::new(50, u64::from(at % 2 == 0)), Arm::default(), 0.01));
        assert!(keep.get(1.0) < 0.0, "{keep:?}");
    }
}
