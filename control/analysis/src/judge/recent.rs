//! Counts of the last half minute: whether something is wrong now, not ever.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::Pair;

/// Length of a block in milliseconds; the last one and the open one count as now.
const BLOCK_MS: u64 = 10_000;

/// The open block and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Recent {
    block: u64,
    open: Pair,
    last: Pair,
}

// === impl Recent ===

impl Recent {
    /// Adds what happened until a time.
    pub fn add(&mut self, pair: Pair, to_ms: u64) {
        let block = to_ms / BLOCK_MS;
        if block > self.block {
            self.last = if block == self.block + 1 { self.open } else { Pair::default() };
            self.open = Pair::default();
            self.block = block;
        }
        self.open.add(pair);
    }

    /// The sum.
    pub fn sum(&self) -> Pair {
        let mut sum = self.last;
        sum.add(self.open);
        sum
    }
}
