//! How much more failures scatter than independent ones would.
//!
//! Retries, heavy users and sessions make failures come together. A bet that assumes independence
//! then grows too fast, so its logarithm is divided by the dispersion: what a Poisson process would
//! show is 1. Measured over successive differences, so that a rate that drifts, or an outage that
//! begins and ends, does not count as scatter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::{Arm, real};

/// Blocks of so many intervals are compared with the one before.
const SCALES: [u32; 2] = [1, 4];

/// So many of the largest differences are left out.
const TRIMMED: usize = 3;

/// Moments of one arm's failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    scales: [Scale; SCALES.len()],
}

/// One block length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Scale {
    /// Intervals in the open block.
    filled: u32,
    open: Arm,
    before: Arm,
    /// Sum of squared differences, each standing for twice the variance, in thousandths.
    squares: u64,
    /// Failures that were compared.
    bad: u64,
    /// The largest squares with their failures, largest first: left out, because the edges of an outage
    /// that hits both sides are among them.
    top: [(u64, u64); TRIMMED],
}

// === impl Spread ===

impl Spread {
    /// Takes an interval's counts. One in the midst of an outage is not compared with its neighbours.
    pub fn take(&mut self, arm: Arm, is_clean: bool) {
        for (scale, length) in self.scales.iter_mut().zip(SCALES) {
            if is_clean {
                scale.take(arm, length);
            } else {
                *scale = Scale { squares: scale.squares, bad: scale.bad, top: scale.top, ..Scale::default() };
            }
        }
    }

    /// The sums of both, as if they were one longer series.
    pub fn estimate(spreads: &[&Self], prior: f64) -> f64 {
        let at = |index: usize| {
            let sum = |of: fn(&Scale) -> u64| spreads.iter().map(|spread| real(of(&spread.scales[index]))).sum::<f64>();
            (sum(|scale| scale.squares) / 1000.0 + prior) / (sum(|scale| scale.bad) + prior)
        };
        (0..SCALES.len()).map(at).fold(1.0, f64::max)
    }
}

// === impl Scale ===

impl Scale {
    fn take(&mut self, arm: Arm, length: u32) {
        self.open.add(arm);
        self.filled += 1;
        if self.filled < length {
            return;
        }
        let (now, before) = (self.open, self.before);
        if now.n > 0 && before.n > 0 {
            // Under equal rates the scaled difference has mean 0 and variance (s_1 + s_2) n_1 n_2 / N^2,
            // for which (s_1 + s_2) is the unbiased estimate of N p.
            let (n1, n2) = (real(now.n), real(before.n));
            let difference = (real(now.bad) * n2 - real(before.bad) * n1) / (n1 + n2);
            let scale = (n1 + n2) * (n1 + n2) / (n1 * n2);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the clamp")]
            let square = (difference * difference * scale * 1000.0).clamp(0.0, 1e12) as u64;
            self.keep((square, now.bad + before.bad));
        }
        *self = Self { filled: 0, open: Arm::default(), before: now, ..*self };
    }

    /// Adds a difference, or the smallest of the largest ones instead of it.
    fn keep(&mut self, mut difference: (u64, u64)) {
        for top in &mut self.top {
            if difference.0 > top.0 {
                std::mem::swap(top, &mut difference);
            }
        }
        self.squares = self.squares.saturating_add(difference.0);
        self.bad = self.bad.saturating_add(difference.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_come_in_fives_scatter_five_times_as_much() {
        let (mut even, mut bursts) = (Spread::default(), Spread::default());
        let mut state = 7_u64;
        for _ in 0..4_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let hit = (state >> 33).is_multiple_of(10);
            even.take(Arm::new(100, u64::from(hit)), true);
            bursts.take(Arm::new(100, 5 * u64::from(hit)), true);
        }
        assert!((0.8..1.25).contains(&Spread::estimate(&[&even], 4.0)), "{}", Spread::estimate(&[&even], 4.0));
        assert!((3.8..6.0).contains(&Spread::estimate(&[&bursts], 4.0)), "{}", Spread::estimate(&[&bursts], 4.0));
    }
}
