//! Good releases: what goes wrong goes wrong on both sides, or not because of the version.

use super::{Outage, Scenario};
use crate::draw::Draw;

pub(super) fn shape(scenario: &mut Scenario, draw: &mut Draw) {
    let at = draw.between(0.0, 1.0);
    // Shares of the kinds, summed up.
    match at {
        _ if at < 0.18 => {}
        _ if at < 0.26 => drift(scenario, draw),
        _ if at < 0.36 => outage(scenario, draw),
        _ if at < 0.44 => lost(scenario, draw),
        _ if at < 0.50 => restarts(scenario, draw),
        _ if at < 0.58 => low_traffic(scenario, draw),
        _ if at < 0.68 => heavy_users(scenario, draw),
        _ if at < 0.78 => bursts(scenario, draw),
        _ if at < 0.82 => stable_pod(scenario, draw),
        _ if at < 0.90 => cold(scenario, draw),
        _ if at < 0.94 => slight(scenario, draw),
        _ if at < 0.99 => everything(scenario, draw),
        _ => storm(scenario, draw),
    }
}

pub(super) fn drift(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "drift of the base";
    scenario.drift = (draw.log_between(2.0, 6.0), draw.between(30.0, 300.0));
}

pub(super) fn outage(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "shared outage";
    let from_s = draw.between(1.0, 150.0);
    let to_s = from_s + draw.log_between(2.0, 60.0);
    scenario.outage = Some(Outage { hop: draw.below(3), rate: draw.log_between(0.03, 1.0), from_s, to_s });
}

pub(super) fn lost(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "lost samples";
    scenario.lost = draw.between(0.02, 0.3);
}

pub(super) fn restarts(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "restarts";
    scenario.restart_s = draw.between(15.0, 90.0);
}

fn low_traffic(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "low traffic";
    scenario.rps = draw.log_between(0.5, 10.0);
}

pub(super) fn heavy_users(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "heavy users";
    let base: f64 = scenario.base.iter().sum();
    let crowd = &mut scenario.crowd;
    crowd.users = 500 + draw.below(5_000);
    crowd.shape = draw.between(1.2, 2.0);
    crowd.broken = draw.log_between(0.005, 0.03);
    crowd.breaks = (base / crowd.broken).min(1.0);
    crowd.bout_s = if draw.chance(0.5) { draw.log_between(5.0, 60.0) } else { 0.0 };
    scenario.base = scenario.base.map(|rate| rate * 0.2);
}

pub(super) fn bursts(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "retry bursts";
    scenario.cluster = draw.between(0.4, 0.85);
}

fn stable_pod(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "one bad pod of stable's five";
    scenario.stable_pod = draw.log_between(0.05, 1.0);
}

pub(super) fn cold(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "cold start";
    scenario.cold = (draw.between(0.1, 0.6), draw.log_between(0.001, 0.02), draw.between(1.0, 4.0));
}

fn slight(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "slightly worse, within the floor";
    scenario.base = scenario.base.map(|rate| rate.min(0.001));
    scenario.slight = draw.between(0.0005, 0.0025);
}

/// Several at once, each milder.
fn everything(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "several at once";
    if draw.chance(0.5) {
        scenario.drift = (draw.log_between(1.5, 3.0), draw.between(30.0, 300.0));
    }
    if draw.chance(0.5) {
        scenario.lost = draw.between(0.02, 0.15);
    }
    if draw.chance(0.5) {
        scenario.cluster = draw.between(0.2, 0.6);
    }
    if draw.chance(0.3) {
        let from_s = draw.between(1.0, 150.0);
        let to_s = from_s + draw.log_between(2.0, 30.0);
        scenario.outage = Some(Outage { hop: draw.below(3), rate: draw.log_between(0.03, 0.5), from_s, to_s });
    }
    if draw.chance(0.3) {
        scenario.restart_s = draw.between(30.0, 120.0);
    }
}

/// One user begins to fail, for reasons of its own. Where its slot is in the lane, counts cannot tell
/// this from a bad version; it is part of the figures all the same.
fn storm(scenario: &mut Scenario, draw: &mut Draw) {
    scenario.kind = "one user's storm";
    scenario.crowd.storm = draw.log_between(0.0005, 0.01);
}
