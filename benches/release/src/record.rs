//! What became of a release.

use graylane_analysis::Outcome;
use graylane_analysis::judge::PauseCause;

use crate::scenario::Scenario;

/// What became of a release. Times are seconds from the lane's first request.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its scenario.
    pub scenario: Scenario,
    /// Handed over (`Pass`), taken back (`Fail`), paused for a person, or unverified.
    pub outcome: Outcome,
    /// When it was handed over or taken back; else the end.
    pub decided_s: f64,
    /// When all steps were done, so that only the bake was left.
    pub verified_s: Option<f64>,
    /// The last words.
    pub reason: String,
    /// Why it is paused.
    pub pause: Option<PauseCause>,
    /// Whether it was paused for a person at any time.
    pub was_paused: bool,
    /// Whether the faulty hop was named, with how it failed; of those that were taken back.
    pub located: Option<bool>,
    /// How much later the named first bad time is than the true one, in milliseconds; before it, where negative.
    pub named_late_ms: Option<f64>,
    /// When the gateway's brake tripped first.
    pub braked_s: Option<f64>,
    /// Whether it held users back when the release ended.
    pub is_braked: bool,
    /// How often it was let go.
    pub released: u32,
    /// The largest weight that was reached.
    pub weight: f64,
    /// Users' requests that the lane failed until the decision was in force.
    pub failed: u64,
    /// Users' requests in that time.
    pub requests: u64,
    /// For every other rule: when it took the lane back, and the failures until then or its end.
    pub rivals: Vec<(Option<u64>, u64)>,
    /// Requests that the verdict needs on average at the true rates, as a share of those the horizon has.
    pub needs: f64,
    /// Whether some service of the lane truly breaks its objective.
    pub is_above: bool,
}
