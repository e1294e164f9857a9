//! How much weight the evidence allows.

use super::arm::real;
use super::{Evidence, bound};
use crate::plan::{ObjectiveKind, Plan};

/// Chance that the bound on a rate, by which the ramp grows, is too low.
const ALPHA: f64 = 0.1;

/// The largest weight, in 1/10,000, at which the share of all user requests that fail because of the
/// lane is bounded by the plan's budget: `weight * upper bound of the excess failure rate <= budget`.
pub fn allowed(evidence: &Evidence, plan: &Plan) -> u32 {
    let mut excess: f64 = 0.0;
    for (service, objective) in plan.objectives() {
        if matches!(objective.kind, ObjectiveKind::Latency { .. } | ObjectiveKind::Value { .. }) {
            continue;
        }
        let bound = evidence.trial(service, &objective.name).map_or(1.0, |trial| {
            let n = real(trial.total.lane.n);
            let (lane, stable) = trial.rates().unwrap_or((trial.total.lane.rate(), 0.0));
            let (_, upper) = bound::interval_at(lane, n, trial.dispersion(), ALPHA);
            (upper - stable).max(0.0)
        });
        excess = excess.max(bound);
    }
    let weight = if excess > 0.0 { plan.ramp_budget / excess } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the clamp")]
    let weight = (weight.clamp(0.0, 1.0) * 10_000.0) as u32;
    weight.max(plan.ramp_start)
}
