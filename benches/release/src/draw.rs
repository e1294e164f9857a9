//! Seeded draws. The generator's stream is part of its definition (PCG XSL RR 128/64), so a seed tells
//! the same story on every machine.

use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution, Exp1, Poisson};
use rand_pcg::Pcg64;

/// A source of draws.
#[derive(Clone, Debug)]
pub struct Draw(Pcg64);

// === impl Draw ===

impl Draw {
    /// The draws of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Pcg64::seed_from_u64(seed))
    }

    /// Uniform in `[low, high)`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// Uniform in the logarithm.
    pub fn log_between(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    /// A whole number in `0..below`.
    pub fn below(&mut self, below: usize) -> usize {
        self.0.random_range(0..below.max(1))
    }

    /// True with a probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// Events of a Poisson process.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 { 0 } else { whole(Poisson::new(mean).map_or(0.0, |law| law.sample(&mut self.0))) }
    }

    /// Successes among `n`.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n == 0 || p <= 0.0 {
            0
        } else if p >= 1.0 {
            n
        } else {
            Binomial::new(n, p).map_or(0, |law| law.sample(&mut self.0))
        }
    }

    /// The slot of one of several users, of whom (slot, share of the traffic) is known.
    pub fn one_of(&mut self, users: &[(f64, f64)]) -> f64 {
        let mut left = self.between(0.0, users.iter().map(|(_, share)| share).sum());
        for (slot, share) in users {
            left -= share;
            if left <= 0.0 {
                return *slot;
            }
        }
        0.0
    }

    /// Exponential with a mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        let unit: f64 = Exp1.sample(&mut self.0);
        mean * unit
    }

    /// Pareto with minimum 1.
    pub fn pareto(&mut self, shape: f64) -> f64 {
        self.between(f64::EPSILON, 1.0).powf(-1.0 / shape)
    }

    /// Size of a cluster: 1, and one more with a probability, again and again.
    pub fn cluster(&mut self, more: f64) -> u64 {
        let mut size = 1;
        while size < 50 && self.chance(more) {
            size += 1;
        }
        size
    }

    /// A seed for something of its own.
    pub fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(value: f64) -> u64 {
    value as u64
}
