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
    assert!(text.len() < 2_100, "{} bytes: {text}", text.len());
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

/// Whether a release is paused for a workload that keeps so many percent of the lane's calls.
fn is_lost(percent: u64, floor: f64) -> bool {
    use crate::counts::{Direction, Source};
    let plan = Plan { integrity_floor: floor, ..plan() };
    let verdict = altered(240, &plan, |interval| {
        let mut put = |lane: &str, direction, source, calls| {
            interval.contexts.insert(("auth".into(), lane.into(), direction, source), calls);
        };
        put("canary", Direction::Inbound, Source::Header, 100);
        put(STABLE, Direction::Inbound, Source::None, 900);
        put("canary", Direction::Outbound, Source::Header, percent);
        put(STABLE, Direction::Outbound, Source::None, 1_000 - percent);
    });
    verdict.pause == Some(PauseCause::Integrity)
}

#[test]
fn below_its_floor_lost_integrity_pauses_and_above_it_does_not() {
    for (floor, below, above) in [(0.2, 10, 30), (0.55, 45, 65), (0.8, 70, 90), (0.9, 80, 95), (0.95, 90, 98)] {
        assert!(is_lost(below, floor) && !is_lost(above, floor), "{floor}");
    }
    assert!(is_lost(90, 1.0) && !is_lost(100, 1.0), "all of them");
    assert!(!is_lost(1, 0.0), "nobody looks");
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

/// What the handbook's rule says of so many seconds, in which so many of the lane's ten and of stable's ninety requests
/// fail, or are slow.
fn by_windows(kind: ObjectiveKind, seconds: u64, bad: (u64, u64)) -> (Outcome, Option<PauseCause>) {
    let objective = Objective { name: "it".into(), kind };
    let services = vec![ServicePlan { service: "cart".into(), objectives: vec![objective] }];
    let plan = Plan { method: crate::Method::Consecutive, ..Plan::new("canary", services).unwrap() };
    let is_slow = matches!(kind, ObjectiveKind::Latency { .. });
    let mut evidence = Evidence::default();
    for at in 0..seconds {
        let failures = if is_slow { (0, 0) } else { bad };
        let mut interval = second(at, (10, failures.0), (90, failures.1));
        for (cell, tally) in &mut interval.cells {
            tally.slow.insert(300, if cell.lane == STABLE { bad.1 } else { bad.0 });
        }
        evidence.observe(&plan, &interval);
    }
    let verdict = evidence.verdict(&plan, seconds * 1000);
    (verdict.outcome, verdict.pause)
}

#[test]
fn the_handbooks_rule_fails_a_slow_lane_and_passes_a_quick_one() {
    let p95 = ObjectiveKind::Latency { over_ms: 300, at_least: 0.95 };
    // Ten seconds of warm-up come first.
    assert_eq!([69, 70].map(|seconds| by_windows(p95, seconds, (1, 0)).0), [Outcome::Wait, Outcome::Fail]);
    assert_eq!(by_windows(p95, 70, (0, 9)).0, Outcome::Pass);
}

#[test]
fn the_handbooks_rule_pauses_where_stable_breaks_the_objective_too() {
    let success = ObjectiveKind::SuccessRate { at_least: 0.99 };
    let p95 = ObjectiveKind::Latency { over_ms: 300, at_least: 0.95 };
    for kind in [success, p95] {
        assert_eq!(by_windows(kind, 80, (1, 9)), (Outcome::Pause, Some(PauseCause::SharedOutage)), "{kind:?}");
        assert_eq!(by_windows(kind, 80, (1, 0)).0, Outcome::Fail, "{kind:?}");
    }
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
fn a_number_of_prometheus_that_is_none_holds_and_a_low_one_fails() {
    let kind = ObjectiveKind::Value { at_least: Some(0.9), at_most: None };
    let objective = Objective { name: "orders".into(), kind };
    let plan = Plan::new("canary", vec![ServicePlan { service: "cart".into(), objectives: vec![objective] }]).unwrap();
    let outcome = |value: f64, stable: Option<f64>| {
        let key = |lane: &str| NumberKey { service: "cart".into(), objective: "orders".into(), lane: lane.into() };
        let verdict = altered(2, &plan, |interval| {
            interval.numbers.insert(key("canary"), value);
            interval.numbers.extend(stable.map(|stable| (key(STABLE), stable)));
        });
        verdict.outcome
    };
    assert_eq!([f64::NAN, 0.5, 0.95].map(|value| outcome(value, None)), [Outcome::Wait, Outcome::Fail, Outcome::Pass]);
    assert_eq!(outcome(0.5, Some(0.4)), Outcome::Pause, "stable has it too");
}

#[test]
fn numbers_of_prometheus_take_nothing_of_the_alpha_that_requests_share() {
    let value = ObjectiveKind::Value { at_least: Some(0.9), at_most: None };
    let mut more = plan();
    more.services.push(ServicePlan {
        service: "shop/summer".into(),
        objectives: vec![Objective { name: "orders".into(), kind: value }],
    });
    let needed = |plan: &Plan| family::needed(plan, &plan.services[0].objectives[0]);
    assert!((needed(&more) - needed(&plan())).abs() < 1e-9);
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

#[test]
fn a_clock_that_is_turned_back_loses_no_evidence_and_holds_no_window() {
    const BACK: u64 = 300;
    for method in [crate::Method::Sequential, crate::Method::Consecutive] {
        let plan = Plan { method, ..plan() };
        let outcome = |seconds: u64, bad: u64| {
            let mut evidence = Evidence::default();
            (1_000..1_120).for_each(|at| evidence.observe(&plan, &second(at, (10, 0), (90, 0))));
            let back = 1_120 - BACK;
            (back..back + seconds).for_each(|at| evidence.observe(&plan, &second(at, (10, bad), (90, 0))));
            evidence.verdict(&plan, (back + seconds) * 1000)
        };
        assert_eq!(outcome(1, 0).outcome, Outcome::Pass, "{method:?}");
        assert_eq!(outcome(61, 10).outcome, Outcome::Fail, "{method:?}");
        assert_eq!(outcome(61, 10).no_data_since_ms, None);
    }
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
    for (good, is_told, limit) in [(0, true, 10), (0, false, 40), (60, true, 15), (60, false, 15), (3_600, true, 30)] {
        let make = |at: u64| {
            let after = (100, if at < 60 + good { 0 } else { 100 });
            let (lane, stable) = if at < 60 { ((10, 0), (90, 0)) } else { (after, (0, 0)) };
            let mut interval = second(at, lane, stable);
            if is_told {
                interval.weights.insert("canary".into(), if at < 60 { 1_000 } else { 10_000 });
            }
            interval
        };
        let failed = first(Outcome::Fail, 60 + good + 120, &plan(), make);
        let took = failed.map(|second| second - 59 - good);
        assert!(took.is_some_and(|seconds| seconds <= limit), "after {good} s: {took:?}");
    }
}

#[test]
fn an_outage_that_stable_has_few_requests_to_show_takes_no_lane_back() {
    for failing in [5, 20, 60] {
        let make = |at: u64| match at {
            0..60 => second(at, (50, 0), (50, 0)),
            60..100 => second(at, (98, 0), (2, 0)),
            100..140 => second(at, (98, failing), (2, u64::from(at * failing % 50 < failing))),
            _ => second(at, (98, 0), (2, 0)),
        };
        assert_eq!(first(Outcome::Fail, 200, &plan(), make), None, "{failing} of 98");
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

/// The outcome of two minutes in which one pod of ten is slow for four seconds after each time that one became ready.
fn slow_starts(every: u64, is_told: bool) -> Outcome {
    let kind = ObjectiveKind::Latency { over_ms: 300, at_least: 0.95 };
    let objective = Objective { name: "p95".into(), kind };
    let plan = Plan::new("canary", vec![ServicePlan { service: "cart".into(), objectives: vec![objective] }]).unwrap();
    let mut evidence = Evidence::default();
    let slow = |at: u64| at >= 30 && (at - 30) % every < 4;
    let fails = (0..120).any(|at| {
        let mut interval = second(at, (100, 0), (100, 0));
        let cell = Cell { service: "cart".into(), lane: "canary".into(), cohort: Cohort::Slot };
        let tally = interval.cells.get_mut(&cell).unwrap();
        tally.slow.insert(300, if slow(at) { 60 } else { 1 });
        if is_told && at >= 30 && (at - 30) % every == 0 {
            interval.started.insert(("cart".into(), "canary".into()));
        }
        evidence.observe(&plan, &interval);
        evidence.verdict(&plan, (at + 1) * 1000).outcome == Outcome::Fail
    });
    if fails { Outcome::Fail } else { evidence.verdict(&plan, 120_000).outcome }
}

#[test]
fn pods_that_become_ready_later_may_be_slow_at_first_but_not_again_and_again() {
    assert_eq!(slow_starts(45, false), Outcome::Fail);
    assert_eq!(slow_starts(45, true), Outcome::Pass);
    assert_eq!(slow_starts(5, true), Outcome::Fail);
}

#[test]
fn a_lane_with_a_weight_of_one_percent_and_near_half_of_the_users_pauses_also_where_sidecars_choose() {
    let verdict = altered(120, &plan(), |interval| {
        interval.entered = [("canary".into(), 45), (STABLE.into(), 55)].into();
        interval.weights.insert("canary".into(), 100);
        for bucket in 0..16 {
            let requests = 2 + u64::from(bucket % 2 == 0);
            interval.units.insert(("canary".into(), bucket), crate::counts::Unit { requests, failures: 0 });
        }
    });
    assert_eq!((verdict.outcome, verdict.pause), (Outcome::Pause, Some(PauseCause::BrokenRouting)), "{verdict:?}");
}

#[test]
fn a_heavy_user_in_the_lane_is_no_broken_routing() {
    let verdict = altered(120, &plan(), |interval| {
        interval.entered = [("canary".into(), 45), (STABLE.into(), 55)].into();
        interval.weights.insert("canary".into(), 100);
        interval.units.insert(("canary".into(), 3), crate::counts::Unit { requests: 45, failures: 0 });
    });
    assert_eq!(verdict.outcome, Outcome::Pass, "{verdict:?}");
}
