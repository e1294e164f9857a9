//! How strongly what was seen speaks against a lane.
//!
//! An e-process (Ville: under the hypothesis that the lane does no clear harm, the chance that it ever
//! reaches `1/alpha` is at most `alpha`, however often one looks). A window with `n` requests of the
//! lane and `m` of stable, `share = n / (n + m)`, tests whether the lane fails more than [`HARM`] times
//! as often. For a supposed ratio `r`, with `w(x) = 1 - share + share * x`, it is worth
//!
//! `(r / HARM)^failures_of_lane * (w(HARM) / w(r))^failures_of_both`
//!
//! whose expectation is at most 1 while the lane's risk is at most `HARM` times stable's: with `p` for
//! stable's risk the logarithm is concave, so that it is at most
//! `(1 + p * (w(r) * w(HARM) / w(r) - w(HARM)))^(n + m) = 1`. So windows multiply, whatever their shares
//! and whatever the common risk does from one to the next, and it also holds without any failure of
//! stable, and when everything fails together.
//!
//! One stake is laid on each ratio: half at the start, and half little by little over a week, so that a
//! version that goes bad after a good day is not measured against that whole day.

/// The ratios that stakes are laid on.
pub const RATIOS: [f64; 4] = [4.0, 10.0, 30.0, 100.0];

/// Harm is clear when the lane fails more than this many times as often as stable. Less is the
/// controller's to judge, which sees every proxy and more than failures.
const HARM: f64 = 2.0;
/// Of the whole stake, what is laid at once.
const AT_ONCE: f64 = 0.5;
/// What is laid in each further millisecond: the other half in a week.
const PER_MS: f64 = (1.0 - AT_ONCE) / (7.0 * 24.0 * 3_600_000.0);
/// A gap in time lays no more than this many milliseconds' worth.
const MAX_GAP_MS: u64 = 60_000;
/// Failures of the lane, and units that had them, without which nothing is clear: in this minute and
/// the one before.
const MIN_FAILURES: u32 = 5;
const MIN_UNITS: u32 = 4;
/// Keeps one window's worth, and their product, within what a float holds.
const MAX_GROWTH: f64 = 600.0;
const MAX_STAKE: f64 = 1e200;

/// Requests of one side, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arm {
    /// Requests.
    pub requests: u32,
    /// Failures among them.
    pub failures: u32,
}

/// What one worker saw of one service for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The lane.
    pub lane: Arm,
    /// Stable.
    pub stable: Arm,
}

/// What closed windows are worth: logarithms, so that they add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// By position in [`RATIOS`].
    pub growth: [f64; RATIOS.len()],
    /// Failures of the lane that counted.
    pub failures: u32,
    /// Units that had them, one bit each.
    pub units: u64,
}

/// All evidence of one proxy against one lane in one attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    pub(super) stakes: [f64; RATIOS.len()],
    pub(super) reserve: f64,
    pub(super) fed_unix_ms: u64,
    pub(super) minute: u64,
    /// This minute's, and those of the minute before.
    pub(super) failures: [u32; 2],
    pub(super) units: [u64; 2],
}

// === impl Arm ===

impl Arm {
    /// One more request.
    pub fn count(&mut self, failed: bool) {
        self.requests = self.requests.saturating_add(1);
        self.failures = self.failures.saturating_add(u32::from(failed));
    }
}

// === impl Window ===

impl Window {
    /// Whether there is something to compare.
    pub fn has_both(&self) -> bool {
        self.lane.requests > 0 && self.stable.requests > 0
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.lane.requests == 0 && self.stable.requests == 0
    }

    /// The logarithm of its worth, by position in [`RATIOS`].
    pub fn growth(&self) -> [f64; RATIOS.len()] {
        let failures = f64::from(self.lane.failures) + f64::from(self.stable.failures);
        if failures == 0.0 || !self.has_both() {
            return [0.0; RATIOS.len()];
        }
        let requests = f64::from(self.lane.requests) + f64::from(self.stable.requests);
        let share = f64::from(self.lane.requests) / requests;
        let weight = |ratio: f64| 1.0 - share + share * ratio;
        RATIOS.map(|ratio| {
            f64::from(self.lane.failures) * (ratio / HARM).ln() + failures * (weight(HARM) / weight(ratio)).ln()
        })
    }
}

// === impl Step ===

impl Step {
    /// Adds a closed window.
    pub fn close(&mut self, window: &Window) {
        for (sum, growth) in self.growth.iter_mut().zip(window.growth()) {
            *sum += growth;
        }
    }

    /// Whether it changes any evidence.
    pub fn says_something(&self) -> bool {
        self.growth.iter().any(|growth| *growth != 0.0)
    }
}

// === impl Evidence ===

impl Evidence {
    /// No evidence yet.
    pub fn new(now_unix_ms: u64) -> Self {
        Self {
            stakes: [AT_ONCE / RATIOS.len() as f64; RATIOS.len()],
            reserve: 1.0 - AT_ONCE,
            fed_unix_ms: now_unix_ms,
            minute: now_unix_ms / 60_000,
            failures: [0; 2],
            units: [0; 2],
        }
    }

    /// Takes in what a worker saw.
    pub fn fold(&mut self, step: &Step, now_unix_ms: u64) {
        let fed = self.feed(now_unix_ms) / RATIOS.len() as f64;
        for (stake, growth) in self.stakes.iter_mut().zip(step.growth) {
            let grown = (*stake + fed) * growth.clamp(-MAX_GROWTH, MAX_GROWTH).exp();
            *stake = if grown.is_finite() { grown.min(MAX_STAKE) } else { MAX_STAKE };
        }
        self.turn(now_unix_ms / 60_000);
        self.failures[0] = self.failures[0].saturating_add(step.failures);
        self.units[0] |= step.units;
    }

    /// The evidence: how many times a bettor against the lane would have made of one coin.
    pub fn worth(&self) -> f64 {
        self.stakes.iter().sum::<f64>() + self.reserve
    }

    /// Whether the harm is clear at this much evidence: recent failures of several units as well, so
    /// that one user with many requests trips nothing.
    pub fn is_clear(&self, wanted: f64) -> bool {
        let [now, before] = self.failures;
        let units = (self.units[0] | self.units[1]).count_ones();
        self.worth() >= wanted && now.saturating_add(before) >= MIN_FAILURES && units >= MIN_UNITS
    }

    /// What is laid for the time that passed. A clock that was set back lays nothing.
    fn feed(&mut self, now_unix_ms: u64) -> f64 {
        let passed = now_unix_ms.saturating_sub(self.fed_unix_ms).min(MAX_GAP_MS);
        let fed = (PER_MS * passed as f64).min(self.reserve);
        self.reserve -= fed;
        self.fed_unix_ms = now_unix_ms;
        fed
    }

    fn turn(&mut self, minute: u64) {
        if minute == self.minute {
            return;
        }
        let follows = self.minute.checked_add(1) == Some(minute);
        self.failures = [0, if follows { self.failures[0] } else { 0 }];
        self.units = [0, if follows { self.units[0] } else { 0 }];
        self.minute = minute;
    }
}
