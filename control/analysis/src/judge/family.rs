//! All services and objectives of a release as one test.

use super::arm::real;
use super::{Evidence, Trial};
use crate::plan::Plan;

/// Logarithm of the e-value that the release as a whole has to reach.
///
/// The e-values of all hops and objectives are averaged, which keeps their expectation at most 1
/// however they depend on each other (Vovk and Wang, "E-values: calibration, combination and
/// applications", 2021). A sum that reaches `count / alpha` is a mean that reaches `1 / alpha`.
pub fn needed(plan: &Plan) -> f64 {
    f64::ln(1.0 / plan.alpha) + f64::ln(real(plan.objectives().count().max(1) as u64))
}

/// What one interval may add to one bet at most, so that a rollback needs as many intervals as the
/// plan asks for.
pub fn cap(plan: &Plan) -> f64 {
    (needed(plan) + f64::ln(real(super::RATIOS.len() as u64))) / f64::from(plan.confirmations.max(1))
}

/// The objectives whose harm makes the release fail, worst first: (service, objective).
pub fn failing<'a>(evidence: &'a Evidence, plan: &'a Plan) -> Vec<(&'a str, &'a str)> {
    let trials = || {
        plan.objectives().filter_map(|(service, objective)| {
            let trial = evidence.trial(service, &objective.name)?;
            trial.is_material(plan).then_some((service, objective.name.as_str(), trial))
        })
    };
    let logs: Vec<f64> = trials().map(|(_, _, trial)| Trial::harm(trial)).collect();
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|log| (log - top).exp()).sum();
    if logs.is_empty() || top + sum.ln() < needed(plan) {
        return Vec::new();
    }
    let mut failing: Vec<_> = trials().filter(|(_, _, trial)| trial.harm() >= f64::ln(20.0)).collect();
    failing.sort_by(|a, b| b.2.harm().total_cmp(&a.2.harm()));
    failing.into_iter().map(|(service, objective, _)| (service, objective)).collect()
}
