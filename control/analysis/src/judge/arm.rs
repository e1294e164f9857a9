//! Counts of one side of a comparison.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests, and how many of them broke the objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Arm {
    /// Requests.
    pub n: u64,
    /// Those that broke the objective; never more than `n`.
    pub bad: u64,
}

/// The lane and stable in the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pair {
    /// The judged lane.
    pub lane: Arm,
    /// Its baseline.
    pub stable: Arm,
}

// === impl Arm ===

impl Arm {
    /// Counts; more bad ones than requests (counters of a scrape are not read at one instant) are cut.
    pub fn new(n: u64, bad: u64) -> Self {
        Self { n, bad: bad.min(n) }
    }

    /// Adds counts.
    pub fn add(&mut self, other: Self) {
        self.n = self.n.saturating_add(other.n);
        self.bad = self.bad.saturating_add(other.bad);
    }

    /// Forgets half of them.
    pub fn halve(&mut self) {
        (self.n, self.bad) = (self.n / 2, self.bad / 2);
    }

    /// Share of bad requests; 0 without requests.
    pub fn rate(self) -> f64 {
        if self.n == 0 { 0.0 } else { real(self.bad) / real(self.n) }
    }

    /// Requests that kept the objective.
    pub fn good(self) -> u64 {
        self.n.saturating_sub(self.bad)
    }
}

// === impl Pair ===

impl Pair {
    /// Adds counts.
    pub fn add(&mut self, other: Self) {
        self.lane.add(other.lane);
        self.stable.add(other.stable);
    }

    /// The lane's rate less stable's.
    pub fn excess(&self) -> f64 {
        self.lane.rate() - self.stable.rate()
    }
}

/// A count as a real number.
#[expect(clippy::cast_precision_loss, reason = "counts of requests stay far below 2^53")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}
