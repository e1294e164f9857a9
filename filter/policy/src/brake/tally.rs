//! What one worker counts of one lane between two looks at the shared evidence.

use super::{STRATA, Sample, Step, UNITS, Window};

/// How long a window is open at least.
const WINDOW_MS: u64 = 500;
/// A window in which one side never came is thrown away after this long: the risk of long ago says
/// nothing about who comes now.
const STALE_MS: u64 = 60_000;
/// Failures of one unit that always count in a period; beyond, at most one in [`SHARE`] of all. With these
/// numbers none of 2,000 seeded runs tripped in which one user in a hundred is broken in either version;
/// with periods of a minute 2 did, and without the limit 42.
const FREE: u32 = 2;
const SHARE: u32 = 8;
const PERIOD_MS: u64 = 600_000;

/// The counts of one lane on one worker under one document.
#[derive(Clone, Debug)]
pub struct Tally {
    windows: Vec<Open>,
    units: [u32; UNITS],
    counted: u32,
    period: u64,
    step: Step,
}

#[derive(Clone, Copy, Debug, Default)]
struct Open {
    window: Window,
    since_unix_ms: u64,
}

// === impl Tally ===

impl Default for Tally {
    fn default() -> Self {
        Self { windows: Vec::new(), units: [0; UNITS], counted: 0, period: 0, step: Step::default() }
    }
}

impl Tally {
    /// A finished request, of this lane or of stable.
    ///
    /// Users are what is random about a sticky split, and not requests: one broken user with many
    /// requests would otherwise speak for a whole lane. So a unit's failures in the lane count up to
    /// a share of all; beyond they count as successes, which can only make the lane look better.
    pub fn count(&mut self, sample: &Sample, failed: bool) {
        let counts = failed && (sample.is_baseline() || self.admit(sample.unit));
        if self.windows.len() <= sample.stratum {
            self.windows.resize(sample.stratum.min(STRATA - 1) + 1, Open::default());
        }
        let Some(open) = self.windows.get_mut(sample.stratum) else { return };
        let arm = if sample.is_baseline() { &mut open.window.stable } else { &mut open.window.lane };
        arm.count(counts);
    }

    /// Closes the windows that are due; to be called a few times a second.
    pub fn close(&mut self, now_unix_ms: u64) {
        for open in &mut self.windows {
            let is_new = open.since_unix_ms == 0 || open.since_unix_ms > now_unix_ms;
            if is_new || open.window.is_empty() {
                open.since_unix_ms = now_unix_ms;
            }
            let age = now_unix_ms.saturating_sub(open.since_unix_ms);
            if (age >= WINDOW_MS && open.window.has_both()) || age >= STALE_MS {
                self.step.close(&open.window);
                *open = Open { window: Window::default(), since_unix_ms: now_unix_ms };
            }
        }
        let period = now_unix_ms / PERIOD_MS;
        if period != self.period {
            (self.units, self.counted, self.period) = ([0; UNITS], 0, period);
        }
    }

    /// What closed windows are worth and nobody has taken yet.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// The step was folded into the evidence. One that says nothing yet is kept: its failures belong to
    /// windows that are still open.
    pub fn taken(&mut self) {
        if self.step.says_something() {
            self.step = Step::default();
        }
    }

    fn admit(&mut self, unit: usize) -> bool {
        let most = FREE.saturating_add(self.counted / SHARE);
        let Some(seen) = self.units.get_mut(unit).filter(|seen| **seen < most) else { return false };
        *seen += 1;
        self.counted = self.counted.saturating_add(1);
        self.step.failures = self.step.failures.saturating_add(1);
        self.step.units |= 1 << unit;
        true
    }
}
