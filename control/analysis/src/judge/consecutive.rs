//! The handbook's rule: windows of 30 s, and two in a row that break the objective fail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::Arm;
use super::trial::Step;

/// Length of a window in milliseconds (handbook, chapter 1).
pub const WINDOW_MS: u64 = 30_000;
/// Windows in a row that fail.
pub const IN_A_ROW: u32 = 2;

/// The open window and how the last ones went. A window without requests changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Windows {
    began_ms: Option<u64>,
    open: Arm,
    /// Windows with requests that were judged.
    pub judged: u32,
    /// Bad windows in a row.
    pub bad: u32,
    /// Good windows in a row.
    pub good: u32,
}

// === impl Windows ===

impl Windows {
    /// Adds an interval of the lane.
    pub(super) fn add(&mut self, lane: Arm, step: &Step) {
        let began = *self.began_ms.get_or_insert(step.from_ms);
        self.open.add(lane);
        if step.to_ms < began.saturating_add(WINDOW_MS) {
            return;
        }
        if self.open.n > 0 {
            self.close(self.open.rate() > step.allowed);
        }
        self.open = Arm::default();
        self.began_ms = Some(step.to_ms);
    }

    /// The clock was turned back: the open window begins anew.
    pub(super) fn turn_back(&mut self) {
        (self.began_ms, self.open) = (None, Arm::default());
    }

    /// Takes a window that somebody else measured: the value of a Prometheus ratio.
    pub fn close(&mut self, is_bad: bool) {
        self.judged += 1;
        if is_bad {
            (self.bad, self.good) = (self.bad + 1, 0);
        } else {
            (self.bad, self.good) = (0, self.good + 1);
        }
    }

    /// Whether the lane failed.
    pub fn failed(&self) -> bool {
        self.bad >= IN_A_ROW
    }
}
