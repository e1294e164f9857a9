//! What a verdict is measured by: facts that no rule sees.

use graylane_analysis::judge::{Arm, bound};
use graylane_analysis::{FaultKind, Verdict};

use crate::proxies::LANE;
use crate::run::{HORIZON_S, Run, WEIGHT, at, real};
use crate::scenario::{CALLED, FAST, Harm, SERVICES, SUCCESS, Scenario, Truth};

/// Whether the verdict names the service, the version and how it fails.
pub(crate) fn located(scenario: &Scenario, verdict: &Verdict) -> bool {
    let Some(fault) = &verdict.fault else { return false };
    let kind = match scenario.damage.harm {
        Harm::Unreachable => FaultKind::Unreachable,
        Harm::Hanging => FaultKind::Hanging,
        Harm::Slow => FaultKind::Slow,
        Harm::Own | Harm::None => FaultKind::Own,
    };
    fault.service == SERVICES[scenario.damage.hop] && fault.kind == kind && fault.lane == LANE
}

/// What the verdict needs on average at the true rates, as a share of what the horizon has. Where
/// failures come in clusters, it needs as many times more as they scatter more.
pub(crate) fn needs(run: &Run) -> f64 {
    let scenario = &run.scenario;
    let damage = scenario.damage;
    let scatter = (1.0 + scenario.cluster) / (1.0 - scenario.cluster);
    let available = |hop: usize| real(run.lane_requests[hop]) / at(run.seconds.max(1)) * at(HORIZON_S);
    let rates = |hop: usize| run.truth[hop].map(Arm::rate);
    let share =
        |needed: f64, hop: usize| if needed.is_finite() { needed / available(hop).max(1.0) } else { f64::INFINITY };
    let objectives = run.plan.services.first().map_or(&[][..], |service| &service.objectives);
    if scenario.truth == Truth::Good {
        let kept = |hop: usize| {
            let [failed, slow] = rates(hop);
            let mut slight = if hop == 0 { scenario.slight } else { 0.0 };
            if hop == 0 && scenario.crowd.breaks > 0.0 {
                slight += (scenario.base.iter().sum::<f64>() + run.world.of_users(WEIGHT) - failed).max(0.0);
            }
            let alpha = run.plan.alpha_pass;
            let failed = scatter * bound::needed(failed + slight, 1.0 - SUCCESS, alpha);
            share(failed.max(bound::needed(slow, 1.0 - FAST, alpha)), hop)
        };
        return (0..SERVICES.len()).map(kept).fold(0.0, f64::max);
    }
    // What hangs is counted where it was waited for.
    let (shown, rate) = match damage.harm {
        Harm::Hanging => (damage.hop.saturating_sub(1), damage.rate * CALLED[damage.hop]),
        _ => (damage.hop, damage.rate),
    };
    let [failed, slow] = rates(shown);
    let (base, at) = if damage.harm == Harm::Slow { (slow, 1) } else { (failed, 0) };
    let needed = |objective| bound::needed_harm(base + rate, base, WEIGHT, &run.plan, objective);
    scatter * objectives.get(at).map_or(f64::INFINITY, |objective| share(needed(objective), shown))
}
