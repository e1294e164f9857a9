//! Bad releases.

use super::{Damage, Harm, LATE_S, Scenario, Truth, good};
use crate::draw::Draw;

pub(super) fn shape(scenario: &mut Scenario, draw: &mut Draw) {
    let hop = draw.below(3);
    let rate = draw.log_between(0.02, 1.0);
    scenario.truth = Truth::Bad;
    scenario.damage = Damage { harm: Harm::Own, hop, rate, from_s: 0.0, rise_s: 0.0 };
    scenario.kind = "own failures";
    match draw.between(0.0, 1.0) {
        at if at < 0.05 => hanging(scenario, draw),
        at if at < 0.08 => left(scenario, draw),
        at if at < 0.25 => {}
        at if at < 0.33 => unreachable(scenario, draw),
        at if at < 0.40 => swallowed(scenario, draw),
        at if at < 0.53 => slow(scenario, draw),
        at if at < 0.61 => one_pod(scenario, draw),
        at if at < 0.65 => late(scenario, draw),
        at if at < 0.68 => later(scenario, draw),
        at if at < 0.73 => rising(scenario, draw),
        at if at < 0.78 => low_traffic(scenario, draw),
        at if at < 0.84 => between(scenario, draw),
        _ => beside(scenario, draw),
    }
}

fn unreachable(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "nobody answers";
    scenario.damage.harm = Harm::Unreachable;
    scenario.damage.rate = if draw.chance(0.5) { 1.0 } else { draw.between(0.1, 1.0) };
}

/// A gateway waits for as long as its users do, so that it is no first service that hangs here.
fn hanging(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "callers give up";
    let rate = draw.log_between(0.03, 1.0);
    scenario.damage = Damage { harm: Harm::Hanging, hop: 1 + draw.below(2), rate, ..scenario.damage };
    if draw.chance(0.5) {
        left(scenario, draw);
        scenario.kind = "callers give up, and users leave";
    }
}

/// Calls without an answer that say nothing of who fails.
fn left(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "users leave";
    scenario.leaves = draw.log_between(0.005, 0.1);
    scenario.untraced = if draw.chance(0.3) { 1.0 } else { 0.0 };
}

/// The service above answers 200 all the same.
fn swallowed(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "swallowed failures";
    scenario.damage.hop = 1 + draw.below(2);
    scenario.hands_on = 0.0;
}

fn slow(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "slow";
    scenario.damage.harm = Harm::Slow;
    scenario.damage.rate = draw.log_between(0.12, 1.0);
}

fn one_pod(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "one bad pod of the lane's five";
    scenario.damage.rate = 0.2 * draw.between(0.3, 1.0);
}

fn late(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "begins late";
    scenario.damage.from_s = draw.between(5.0, LATE_S);
}

/// Up to the end of the handbook's four minutes.
fn later(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "begins much later";
    scenario.truth = Truth::Later;
    scenario.damage.from_s = draw.between(LATE_S, 240.0);
}

fn rising(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "rises slowly";
    scenario.damage.rise_s = draw.between(20.0, 120.0);
}

fn low_traffic(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "low traffic";
    scenario.rps = draw.log_between(0.5, 10.0);
}

fn between(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "under twice what is allowed";
    scenario.truth = Truth::Between;
    scenario.damage.rate = draw.log_between(0.005, 0.02);
}

/// Something else goes wrong at the same time.
fn beside(scenario: &mut Scenario, draw: &mut Draw) {
    match draw.below(6) {
        0 => good::drift(scenario, draw),
        1 => good::outage(scenario, draw),
        2 => good::lost(scenario, draw),
        3 => good::restarts(scenario, draw),
        4 => good::bursts(scenario, draw),
        _ => {
            scenario.kind = "traces dropped";
            scenario.untraced = 1.0;
        }
    }
}
