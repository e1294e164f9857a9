//! Rates of both sides as if their shares of the traffic had never changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::{Pair, real};

/// Sums over intervals, each weighted by `n_c n_b / (n_c + n_b)` (Mantel and Haenszel 1959).
///
/// While the weight moves, plain totals lie: a lane that had most of its requests during an outage
/// looks worse than stable, which had most of its before (Simpson's paradox). In thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Pooled {
    lane: u64,
    stable: u64,
    weight: u64,
    /// Requests of the lane.
    n: u64,
}

// === impl Pooled ===

impl Pooled {
    /// Adds an interval.
    pub fn add(&mut self, pair: &Pair) {
        let all = real(pair.lane.n + pair.stable.n);
        if all > 0.0 {
            self.n = self.n.saturating_add(pair.lane.n);
            let add = |sum: &mut u64, a: u64, b: u64| {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count in thousandths")]
                let part = (real(a) * real(b) / all * 1000.0) as u64;
                *sum = sum.saturating_add(part);
            };
            add(&mut self.lane, pair.lane.bad, pair.stable.n);
            add(&mut self.stable, pair.stable.bad, pair.lane.n);
            add(&mut self.weight, pair.lane.n, pair.stable.n);
        }
    }

    /// Requests of the lane.
    pub fn lane_n(&self) -> f64 {
        real(self.n)
    }

    /// Rates of the lane and of stable; nothing before both had requests at the same time.
    pub fn rates(&self) -> Option<(f64, f64)> {
        let weight = real(self.weight);
        (self.weight > 0).then(|| (real(self.lane) / weight, real(self.stable) / weight))
    }
}

#[cfg(test)]
mod tests {
    use super::super::arm::Arm;
    use super::*;

    #[test]
    fn an_outage_while_most_traffic_is_in_the_lane_favours_nobody() {
        let mut pooled = Pooled::default();
        pooled.add(&Pair { lane: Arm::new(1_000, 0), stable: Arm::new(9_000, 0) });
        pooled.add(&Pair { lane: Arm::new(9_000, 4_500), stable: Arm::new(1_000, 500) });
        let (lane, stable) = pooled.rates().unwrap();
        assert!((lane - stable).abs() < 1e-3, "{lane} {stable}");
    }
}
