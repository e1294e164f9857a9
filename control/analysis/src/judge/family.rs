//! All services and objectives of a release as one test.

use super::arm::real;
use super::bound::WORSE;
use super::trial::{Caps, HARM};
use super::{Evidence, RATIOS};
use crate::plan::{Objective, ObjectiveKind, Plan};

/// Share of the whole test that an objective has, over that of another kind: failures are what hurts.
fn weight(objective: &Objective) -> f64 {
    if matches!(objective.kind, ObjectiveKind::SuccessRate { .. }) { 3.0 } else { 1.0 }
}

/// Logarithm of the e-value that an objective alone has to reach for the release to fail.
///
/// The e-values of all hops and objectives are averaged with weights that are fixed in advance, which
/// keeps their expectation at most 1 however they depend on each other (Vovk and Wang, "E-values:
/// calibration, combination and applications", 2021).
pub fn needed(plan: &Plan, objective: &Objective) -> f64 {
    let tested = plan.objectives().filter(|(_, objective)| !objective.is_value());
    let all: f64 = tested.map(|(_, objective)| weight(objective)).sum();
    f64::ln(1.0 / plan.alpha) + f64::ln(all / weight(objective))
}

/// What one interval may add at most to one bet on harm and to one on a breach, so that a rollback needs as many
/// intervals as the plan asks for.
pub fn caps(plan: &Plan, objective: &Objective) -> Caps {
    let needed = needed(plan, objective);
    let cap = |bets: usize, stake: f64| {
        (needed + f64::ln(real(bets as u64)) - stake.ln()) / f64::from(plan.confirmations.max(1))
    };
    // Half of the stake of a bet on a breach is kept for later.
    Caps { harm: cap(RATIOS.len(), HARM), breach: cap(WORSE.len(), 0.5 * (1.0 - HARM)) }
}

/// The objectives whose harm makes the release fail, worst first: (service, objective).
pub fn failing<'a>(evidence: &'a Evidence, plan: &'a Plan) -> Vec<(&'a str, &'a str)> {
    let material = |(service, objective): (&'a str, &'a Objective)| {
        let trial = evidence.trial(service, &objective.name)?;
        let needed = needed(plan, objective);
        let against = trial.against(plan, objective).filter(|_| !trial.has_moved(needed))?;
        Some((service, objective.name.as_str(), against, against - needed))
    };
    let mut trials: Vec<_> = plan.objectives().filter_map(material).collect();
    let sum: f64 = trials.iter().map(|(_, _, _, beyond)| beyond.min(600.0).exp()).sum();
    if sum < 1.0 {
        return Vec::new();
    }
    trials.retain(|(_, _, against, _)| *against >= f64::ln(20.0));
    trials.sort_by(|a, b| b.2.total_cmp(&a.2));
    trials.into_iter().map(|(service, objective, _, _)| (service, objective)).collect()
}
