//! Logarithms of e-values in whole millionths.
//!
//! Evidence is kept in the status of an object: integers survive JSON bit by bit, so a controller that
//! was restarted decides exactly as one that was not. Each step is rounded down, which keeps an
//! e-process an e-process.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A natural logarithm in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Nats(i64);

/// Beyond e^+-600 nothing changes any more, and `exp` stays finite.
const LIMIT: i64 = 600_000_000;

// === impl Nats ===

impl Nats {
    /// Adds a step; what is not a number adds nothing.
    #[must_use]
    pub fn plus(self, step: f64) -> Self {
        if step.is_nan() {
            return self;
        }
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the clamp")]
        let step = (step.clamp(-600.0, 600.0) * 1e6).floor() as i64;
        Self(self.0.saturating_add(step).clamp(-LIMIT, LIMIT))
    }

    /// The logarithm.
    #[expect(clippy::cast_precision_loss, reason = "at most 6e8")]
    pub fn get(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

/// The logarithm of the mean of exponentials, each divided by a dispersion of at least 1.
pub fn log_mean_exp(logs: &[Nats], dispersion: f64) -> f64 {
    log_mean(logs.iter().map(|log| log.get() / dispersion.max(1.0)))
}

/// The logarithm of the mean of exponentials; 0 of none.
pub fn log_mean(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        return 0.0;
    }
    let (sum, count) = logs.fold((0.0, 0.0), |(sum, count), log| (sum + (log - top).exp(), count + 1.0));
    top + f64::ln(sum / count)
}

/// The logarithm of the sum of two exponentials.
pub fn log_sum(one: f64, other: f64) -> f64 {
    let (most, least) = (one.max(other), one.min(other));
    most + (least - most).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_adds_nothing_and_nothing_overflows() {
        assert_eq!(Nats::default().plus(f64::NAN), Nats::default());
        assert!((Nats::default().plus(f64::INFINITY).plus(f64::INFINITY).get() - 600.0).abs() < 1e-9);
        assert!(log_mean_exp(&[Nats::default().plus(f64::INFINITY)], 1.0).is_finite());
        assert!(log_mean_exp(&[], 1.0).abs() < 1e-9);
    }
}
