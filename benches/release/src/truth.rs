//! What a verdict is measured by: facts that no rule sees.

use graylane_analysis::judge::{Arm, bound};
use graylane_analysis::{Fault, FaultKind, Plan};

use crate::proxies::LANE;
use crate::run::{HORIZON_S, LEAD_S, START_MS, WEIGHT};
use crate::scenario::{CALLED, FAST, Harm, SERVICES, SUCCESS, Scenario, Truth};
use crate::share::real;
use crate::world::{Flow, STEP_S, World};

/// How things are while the lane has users, without what a rule has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Stable's failures and slow requests by service, outages left out.
    stable: [[Arm; 2]; SERVICES.len()],
    lane_requests: [u64; SERVICES.len()],
    steps: u64,
}

// === impl Facts ===

impl Facts {
    /// Half a second; `is_natural` where no outage is.
    pub fn add(&mut self, flows: &[Flow; 2], is_natural: bool) {
        self.steps += 1;
        for (hop, (lane, stable)) in flows[0].iter().zip(&flows[1]).enumerate() {
            self.lane_requests[hop] += lane.called;
            if is_natural {
                self.stable[hop][0].add(Arm::new(stable.called, stable.failed()));
                self.stable[hop][1].add(Arm::new(stable.called, stable.slow));
            }
        }
    }

    fn rates(&self, hop: usize) -> [f64; 2] {
        self.stable[hop].map(Arm::rate)
    }

    /// The lane's requests to a service that the horizon has.
    fn available(&self, hop: usize) -> f64 {
        real(self.lane_requests[hop]) / (STEP_S * real(self.steps.max(1))) * real(HORIZON_S)
    }
}

/// Whether the verdict names the service, the version and how it fails.
pub(crate) fn located(scenario: &Scenario, fault: Option<&Fault>) -> bool {
    let Some(fault) = fault else { return false };
    let kind = match scenario.damage.harm {
        Harm::Unreachable => FaultKind::Unreachable,
        Harm::Hanging => FaultKind::Hanging,
        Harm::Slow => FaultKind::Slow,
        Harm::Own | Harm::None => FaultKind::Own,
    };
    fault.service == SERVICES[scenario.damage.hop] && fault.kind == kind && fault.lane == LANE
}

/// How much later the named first bad time is than the damage's first request, in milliseconds. The latter is known
/// to half a second, of which the middle is taken.
pub(crate) fn named_late_ms(fault: &Fault, world: &World) -> Option<f64> {
    let true_ms = (world.first_harm_s()? + real(LEAD_S) + STEP_S / 2.0) * 1000.0;
    let named_ms = fault.first_bad_ms.checked_sub(START_MS)?;
    Some(real(named_ms) - true_ms)
}

/// Whether some service of the lane fails, or is slow, more often than its objective allows.
pub(crate) fn is_above(scenario: &Scenario, facts: &Facts) -> bool {
    let damage = scenario.damage;
    let mut share = damage.rate;
    for hop in (0..SERVICES.len()).rev() {
        let [mut failed, mut slow] = facts.rates(hop);
        failed += if hop == 0 { scenario.slight } else { 0.0 };
        if hop <= damage.hop {
            match damage.harm {
                Harm::None => {}
                Harm::Slow => slow += share,
                _ => failed += share,
            }
            let handed = if damage.harm == Harm::Slow { 0.9 } else { scenario.hands_on };
            share *= CALLED[hop] * handed;
        }
        if failed > 1.0 - SUCCESS || slow > 1.0 - FAST {
            return true;
        }
    }
    false
}

/// What the verdict needs on average at the true rates, as a share of what the horizon has. Where
/// failures come in clusters, it needs as many times more as they scatter more.
pub(crate) fn needs(scenario: &Scenario, facts: &Facts, plan: &Plan, world: &World) -> f64 {
    let damage = scenario.damage;
    let scatter = (1.0 + scenario.cluster) / (1.0 - scenario.cluster);
    let rates = |hop: usize| facts.rates(hop);
    let share = |needed: f64, hop: usize| {
        if needed.is_finite() { needed / facts.available(hop).max(1.0) } else { f64::INFINITY }
    };
    let objectives = plan.services.first().map_or(&[][..], |service| &service.objectives);
    if scenario.truth == Truth::Good {
        let kept = |hop: usize| {
            let [failed, slow] = rates(hop);
            let mut slight = if hop == 0 { scenario.slight } else { 0.0 };
            if hop == 0 && scenario.crowd.breaks > 0.0 {
                slight += (scenario.base.iter().sum::<f64>() + world.of_users(WEIGHT) - failed).max(0.0);
            }
            let alpha = plan.alpha_pass;
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
    let needed = |objective| bound::needed_harm(base + rate, base, WEIGHT, plan, objective);
    scatter * objectives.get(at).map_or(f64::INFINITY, |objective| share(needed(objective), shown))
}
