//! Stories of releases, second by second.

use super::*;
use crate::{FaultKind, ServicePlan};

fn plan() -> Plan {
    let objective = Objective { name: "success".into(), kind: ObjectiveKind::SuccessRate { at_least: 0.99 } };
    Plan::new("canary", vec![ServicePlan { service: "cart".into(), objectives: vec![objective] }]).unwrap()
}

/// One second in which the lane and stable had so many requests and failures.
fn second(at: u64, lane: (u64, u64), stable: (u64, u64)) -> Interval {
    let mut interval =
        Interval { from_ms: at * 1000, to_ms: (at + 1) * 1000, expected: 2, reporting: 2, ..Default::default() };
    for (name, (requests, failures)) in [("canary", lane), (STABLE, stable)] {
        let cell = Cell { service: "cart".into(), lane: name.into(), cohort: Cohort::Slot };
        interval.cells.insert(cell, Tally { requests, failures, ..Tally::default() });
        interval.entered.insert(name.into(), requests);
    }
    interval
}

fn told(seconds: u64, lane: (u64, u64), stable: (u64, u64)) -> (Evidence, Verdict) {
    let (plan, mut evidence) = (plan(), Evidence::default());
    (0..seconds).for_each(|at| evidence.observe(&plan, &second(at, lane, stable)));
    let verdict = evidence.verdict(&plan, seconds * 1000);
    (evidence, verdict)
}

#[test]
fn a_lane_that_fails_is_taken_back_within_seconds_and_named() {
    let (_, verdict) = told(4, (10, 10), (90, 0));
    assert_eq!(verdict.outcome, Outcome::Fail, "{verdict:?}");
    assert_eq!(verdict.allowed_weight, 0);
    let fault = verdict.fault.unwrap();
    assert_eq!((fault.service.as_str(), fault.lane.as_str(), fault.first_bad_ms), ("cart", "canary", 0));
}

#[test]
fn one_burst_alone_is_no_reason_to_take_a_lane_back() {
    let (_, verdict) = told(1, (1_000, 900), (9_000, 0));
    assert_eq!(verdict.outcome, Outcome::Wait, "{verdict:?}");
}

#[test]
fn a_good_lane_passes_only_with_enough_traffic() {
    assert_eq!(told(30, (10, 0), (90, 0)).1.outcome, Outcome::Wait);
    assert_eq!(told(120, (10, 0), (90, 0)).1.outcome, Outcome::Pass);
}

#[test]
fn too_little_traffic_ends_unverified_and_never_passes() {
    let plan = Plan { horizon_ms: 60_000, ..plan() };
    let (evidence, _) = told(60, (1, 0), (9, 0));
    assert_eq!(evidence.verdict(&plan, 60_000).outcome, Outcome::Unverified);
}

#[test]
fn what_breaks_both_sides_pauses() {
    let (_, verdict) = told(10, (10, 5), (90, 45));
    assert_eq!((verdict.outcome, verdict.pause), (Outcome::Pause, Some(PauseCause::SharedOutage)), "{verdict:?}");
}

#[test]
fn without_reports_the_verdict_waits_and_says_since_when() {
    let (mut evidence, _) = told(120, (10, 0), (90, 0));
    let silent = Interval { from_ms: 120_000, to_ms: 125_000, expected: 2, reporting: 0, ..Interval::default() };
    evidence.observe(&plan(), &silent);
    let verdict = evidence.verdict(&plan(), 125_000);
    assert_eq!((verdict.outcome, verdict.no_data_since_ms), (Outcome::Wait, Some(120_000)));
}

#[test]
fn evidence_that_went_through_json_is_the_same_evidence() {
    let (evidence, _) = told(7, (10, 1), (90, 1));
    let text = serde_json::to_string(&evidence).unwrap();
    assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
    assert!(text.len() < 2_000, "{} bytes: {text}", text.len());
}

/// Seconds that are changed before they are observed.
fn altered(seconds: u64, plan: &Plan, alter: impl Fn(&mut Interval)) -> Verdict {
    let mut evidence = Evidence::default();
    for at in 0..seconds {
        let mut interval = second(at, (10, 0), (90, 0));
        alter(&mut interval);
        evidence.observe(plan, &interval);
    }
    evidence.verdict(plan, seconds * 1000)
}

#[test]
fn a_lane_that_gets_next_to_nothing_of_its_weight_is_broken_routing() {
    let verdict = altered(60, &plan(), |interval| {
        interval.weights.insert("canary".into(), 1_000);
        interval.entered.insert("canary".into(), 0);
    });
    assert_eq!((verdict.outcome, verdict.pause), (Outcome::Pause, Some(PauseCause::BrokenRouting)), "{verdict:?}");
}

#[test]
fn a_lane_that_gets_its_weight_within_what_users_scatter_is_fine() {
    let verdict = altered(120, &plan(), |interval| {
        interval.weights.insert("canary".into(), 2_000);
    });
    assert_eq!(verdict.outcome, Outcome::Pass, "{verdict:?}");
}

#[test]
fn too_many_fallbacks_pause_and_name_the_service() {
    let verdict = altered(60, &plan(), |interval| {
        let cell = Cell { service: "cart".into(), lane: STABLE.into(), cohort: Cohort::Fallback };
        interval.cells.insert(cell, Tally { requests: 5, ..Tally::default() });
    });
    assert_eq!((verdict.outcome, verdict.pause), (Outcome::Pause, Some(PauseCause::Fallbacks)), "{verdict:?}");
    assert!(verdict.reason.starts_with("cart: "), "{}", verdict.reason);
}

#[test]
fn a_workload_that_drops_the_lane_is_named() {
    use crate::counts::{Direction, Source};
    let verdict = altered(60, &plan(), |interval| {
        let mut put = |lane: &str, direction, source, calls| {
            interval.contexts.insert(("auth".into(), lane.into(), direction, source), calls);
        };
        put("canary", Direction::Inbound, Source::Header, 10);
        put(STABLE, Direction::Inbound, Source::None, 90);
        put("canary", Direction::Outbound, Source::Header, 1);
        put(STABLE, Direction::Outbound, Source::None, 99);
    });
    assert_eq!((verdict.outcome, verdict.pause), (Outcome::Pause, Some(PauseCause::Integrity)), "{verdict:?}");
    assert!(verdict.reason.starts_with("auth "), "{}", verdict.reason);
}

#[test]
fn the_handbooks_rule_fails_on_the_second_bad_window_in_a_row() {
    let plan = Plan { method: crate::Method::Consecutive, ..plan() };
    let outcome = |seconds: u64| {
        let mut evidence = Evidence::default();
        (0..seconds).for_each(|at| evidence.observe(&plan, &second(at, (10, 1), (90, 0))));
        evidence.verdict(&plan, seconds * 1000).outcome
    };
    assert_eq!([59, 60].map(outcome), [Outcome::Wait, Outcome::Fail]);
}

#[test]
fn testers_are_not_compared() {
    let verdict = altered(30, &plan(), |interval| {
        let cell = Cell { service: "cart".into(), lane: "canary".into(), cohort: Cohort::Rule };
        interval.cells.insert(cell, Tally { requests: 10, failures: 10, ..Tally::default() });
    });
    assert_ne!(verdict.outcome, Outcome::Fail, "{verdict:?}");
}

#[test]
fn a_ratio_of_prometheus_that_is_not_a_number_holds_and_a_low_one_fails() {
    let kind = ObjectiveKind::Ratio { at_least: 0.9 };
    let objective = Objective { name: "orders".into(), kind };
    let plan = Plan::new("canary", vec![ServicePlan { service: "cart".into(), objectives: vec![objective] }]).unwrap();
    let outcome = |value: f64| {
        let key = RatioKey { service: "cart".into(), objective: "orders".into(), lane: "canary".into() };
        altered(2, &plan, |interval| {
            interval.ratios.insert(key.clone(), Ratio::Value(value));
        })
        .outcome
    };
    assert_eq!([f64::NAN, 0.5, 0.95].map(outcome), [Outcome::Wait, Outcome::Fail, Outcome::Pass]);
}

#[test]
fn the_deepest_hop_with_failures_of_its_own_is_named() {
    let objective = Objective { name: "success".into(), kind: ObjectiveKind::SuccessRate { at_least: 0.99 } };
    let service = |name: &str| ServicePlan { service: name.into(), objectives: vec![objective.clone()] };
    let plan = Plan::new("canary", vec![service("cart"), service("stock")]).unwrap();
    let mut evidence = Evidence::default();
    for at in 0..6 {
        let mut interval = second(at, (10, 5), (90, 0));
        let cell = |lane: &str| Cell { service: "stock".into(), lane: lane.into(), cohort: Cohort::Slot };
        interval.cells.insert(cell("canary"), Tally { requests: 10, failures: 5, ..Tally::default() });
        interval.cells.insert(cell(STABLE), Tally { requests: 90, ..Tally::default() });
        let inbound = |own, downstream| crate::counts::Inbound { requests: 10, own, downstream, ..Default::default() };
        interval.inbound.insert(("cart".into(), "canary".into()), inbound(0, 5));
        interval.inbound.insert(("stock".into(), "canary".into()), inbound(5, 0));
        evidence.observe(&plan, &interval);
    }
    let fault = evidence.verdict(&plan, 6_000).fault.unwrap();
    assert_eq!((fault.service.as_str(), fault.kind, fault.failures), ("stock", crate::FaultKind::Own, 30));
}

#[test]
fn a_service_that_only_the_lane_has_is_measured_by_its_objective() {
    let (_, verdict) = told(30, (20, 5), (0, 0));
    assert_eq!(verdict.outcome, Outcome::Fail, "{verdict:?}");
    let (_, verdict) = told(120, (20, 0), (0, 0));
    assert_eq!(verdict.outcome, Outcome::Pass, "{verdict:?}");
}

/// The same second, with so many more calls that callers gave up on.
fn second_given_up(at: u64, answered: (u64, u64), given_up: (u64, u64)) -> Interval {
    let mut interval = second(at, (answered.0, 0), (answered.1, 0));
    for (cell, tally) in &mut interval.cells {
        tally.given_up = if cell.lane == STABLE { given_up.1 } else { given_up.0 };
    }
    interval
}

fn told_given_up(seconds: u64, answered: (u64, u64), given_up: (u64, u64)) -> Verdict {
    let (plan, mut evidence) = (plan(), Evidence::default());
    (0..seconds).for_each(|at| evidence.observe(&plan, &second_given_up(at, answered, given_up)));
    evidence.verdict(&plan, seconds * 1000)
}

#[test]
fn a_version_that_only_hangs_is_taken_back_though_no_caller_counts_an_answer_of_it() {
    for (seconds, answered, given_up) in [(6, (0, 90), (10, 0)), (20, (8, 90), (2, 0))] {
        let verdict = told_given_up(seconds, answered, given_up);
        assert_eq!(verdict.outcome, Outcome::Fail, "{verdict:?}");
        assert!(verdict.reason.contains("callers gave up on"), "{}", verdict.reason);
        let fault = verdict.fault.unwrap();
        assert_eq!((fault.service.as_str(), fault.kind), ("cart", FaultKind::Hanging));
    }
}

#[test]
fn users_who_leave_stable_as_often_as_the_lane_neither_fail_nor_pause_it() {
    let verdict = told_given_up(120, (10, 90), (1, 9));
    assert_eq!(verdict.outcome, Outcome::Pass, "{verdict:?}");
}

/// A plan of which so many requests have to succeed.
fn strict(at_least: f64) -> Plan {
    let objective = Objective { name: "success".into(), kind: ObjectiveKind::SuccessRate { at_least } };
    Plan::new("canary", vec![ServicePlan { service: "cart".into(), objectives: vec![objective] }]).unwrap()
}

/// The first second after which the outcome is this one, of seconds that are made one by one.
fn first(outcome: Outcome, seconds: u64, plan: &Plan, make: impl Fn(u64) -> Interval) -> Option<u64> {
    let mut evidence = Evidence::default();
    (0..seconds).find(|at| {
        evidence.observe(plan, &make(*at));
        evidence.verdict(plan, (at + 1) * 1000).outcome == outcome
    })
}

#[test]
fn a_lane_that_breaks_a_strict_objective_fails_however_much_worse_it_may_be_than_stable() {
    // 0.35% against 0.05% where 0.1% is allowed.
    let make = |at: u64| second(at, (1_000, 3 + at % 2), (9_000, 4 + at % 2));
    let failed = first(Outcome::Fail, 120, &strict(0.999), make);
    assert!(failed.is_some_and(|second| second < 30), "{failed:?}");
    // 0.3% against 0.005% where 0.01% is allowed.
    let make = |at: u64| second(at, (1_000, 3), (9_000, at % 2));
    let failed = first(Outcome::Fail, 120, &strict(0.9999), make);
    assert!(failed.is_some_and(|second| second < 30), "{failed:?}");
}

#[test]
fn a_strict_objective_that_stable_breaks_as_well_pauses() {
    let make = |at: u64| second(at, (1_000, 3 + at % 2), (9_000, 31 + at % 2));
    assert_eq!(first(Outcome::Fail, 300, &strict(0.999), make), None);
    assert!(first(Outcome::Pause, 300, &strict(0.999), make).is_some());
}

#[test]
fn a_lane_that_has_everybody_and_dies_goes_back_although_nobody_is_left_to_compare_it_with() {
    for (good, limit) in [(0, 10), (60, 15), (3_600, 30)] {
        let make = |at: u64| match at {
            0..60 => second(at, (10, 0), (90, 0)),
            _ => second(at, (100, if at < 60 + good { 0 } else { 100 }), (0, 0)),
        };
        let failed = first(Outcome::Fail, 60 + good + 120, &plan(), make);
        let took = failed.map(|second| second - 59 - good);
        assert!(took.is_some_and(|seconds| seconds <= limit), "after {good} s: {took:?}");
    }
}

#[test]
fn a_lane_that_has_everybody_goes_on_after_one_bad_second() {
    let make = |at: u64| match at {
        0..60 => second(at, (10, 0), (90, 0)),
        _ => second(at, (100, if at == 70 { 100 } else { 0 }), (0, 0)),
    };
    assert_eq!(first(Outcome::Fail, 600, &plan(), make), None);
}
