//! Stories of a chain: who is named, and who is not.

use super::*;
use crate::counts::{Call, Cell, Cohort, Inbound, Interval, Tally};
use crate::judge::Verdict;
use crate::{STABLE, ServicePlan};

/// A chain, first to last.
const CHAIN: [&str; 3] = ["front", "cart", "orders"];

/// A second of one lane at one service.
#[derive(Clone, Copy, Default)]
struct Hop {
    requests: u64,
    own: u64,
    downstream: u64,
    given_up: u64,
    cut_off: u64,
}

/// Ten requests that went well.
const FINE: Hop = Hop { requests: 10, own: 0, downstream: 0, given_up: 0, cut_off: 0 };

/// What one side of a second holds: its chain, and the users who left.
#[derive(Clone, Copy)]
struct Side {
    hops: [Hop; 3],
    left: u64,
}

const QUIET: Side = Side { hops: [FINE; 3], left: 0 };

fn plan() -> Plan {
    let objective = Objective { name: "success".into(), kind: ObjectiveKind::SuccessRate { at_least: 0.99 } };
    let service = |name: &str| ServicePlan { service: name.into(), objectives: vec![objective.clone()] };
    Plan::new("canary", CHAIN.map(service).to_vec()).unwrap()
}

fn second(at: u64, lane: Side, stable: Side) -> Interval {
    let mut interval =
        Interval { from_ms: at * 1000, to_ms: (at + 1) * 1000, expected: 1, reporting: 1, ..Interval::default() };
    for (name, side) in [("canary", lane), (STABLE, stable)] {
        for (at, hop) in side.hops.into_iter().enumerate() {
            let service = CHAIN[at].to_owned();
            let (entered, left) = if at == 0 { (hop.requests, side.left) } else { (0, 0) };
            let failures = hop.own + hop.downstream;
            let Hop { requests, given_up, cut_off, .. } = hop;
            let tally = Tally { requests, failures, entered, left, given_up, cut_off, ..Tally::default() };
            interval.cells.insert(Cell { service: service.clone(), lane: name.into(), cohort: Cohort::Slot }, tally);
            let inbound =
                Inbound { requests: hop.requests, own: hop.own, downstream: hop.downstream, ..Inbound::default() };
            interval.inbound.insert((service.clone(), name.into()), inbound);
            let from = at.checked_sub(1).map(|above| CHAIN[above].to_owned());
            interval.calls.insert(Call { from, to: service }, hop.requests + hop.given_up + hop.cut_off);
        }
        interval.entered.insert(name.into(), side.hops[0].requests);
    }
    interval
}

fn told(lane: Side, stable: Side) -> Verdict {
    let (plan, mut evidence) = (plan(), Evidence::default());
    (0..20).for_each(|at| evidence.observe(&plan, &second(at, lane, stable)));
    evidence.verdict(&plan, 20_000)
}

/// Who is named for failures of the lane, and how it failed.
fn named(lane: Side, stable: Side) -> (String, FaultKind) {
    let verdict = told(lane, stable);
    let fault = verdict.fault.unwrap_or_else(|| panic!("nobody is named: {}", verdict.reason));
    (fault.service, fault.kind)
}

/// The caller answers a failure when it has waited long enough; everybody above hands it on.
fn hanging() -> Side {
    let handed_on = Hop { requests: 10, downstream: 2, ..FINE };
    Side { hops: [handed_on, handed_on, Hop { requests: 8, given_up: 2, ..FINE }], ..QUIET }
}

#[test]
fn a_version_that_hangs_is_named_and_not_its_caller() {
    assert_eq!(named(hanging(), QUIET), ("orders".into(), FaultKind::Hanging));
    let fault = told(hanging(), QUIET).fault.unwrap();
    assert_eq!((fault.n, fault.failures, fault.first_bad_ms), (200, 40, 0), "given up, of all that were called");
}

#[test]
fn a_version_that_answers_nothing_at_all_is_named_too() {
    let handed_on = Hop { requests: 10, downstream: 10, ..FINE };
    let lane = Side { hops: [handed_on, handed_on, Hop { requests: 0, given_up: 10, ..FINE }], ..QUIET };
    assert_eq!(named(lane, QUIET), ("orders".into(), FaultKind::Hanging));
}

#[test]
fn a_caller_that_answers_before_its_call_has_ended_seems_to_fail_by_itself_and_is_not_named() {
    let mut lane = leaving(hanging().hops, 9, true);
    lane.hops[1] = Hop { own: 2, downstream: 0, ..lane.hops[1] };
    lane.hops[2].given_up = 2;
    assert_eq!(named(lane, leaving([FINE; 3], 9, true)), ("orders".into(), FaultKind::Hanging));
}

#[test]
fn without_traces_the_caller_seems_to_fail_by_itself_and_is_not_named() {
    let mut lane = hanging();
    lane.hops[1] = Hop { requests: 10, own: 2, ..FINE };
    assert_eq!(named(lane, QUIET), ("orders".into(), FaultKind::Hanging));
}

#[test]
fn of_those_who_wait_for_one_another_the_last_is_named() {
    // The first service gives up; its call ends that of the second one.
    let front = Hop { requests: 10, downstream: 2, ..FINE };
    let waiting = Hop { requests: 8, given_up: 2, ..FINE };
    let cut_off = Hop { requests: 8, cut_off: 2, ..FINE };
    assert_eq!(named(Side { hops: [front, waiting, cut_off], ..QUIET }, QUIET), ("orders".into(), FaultKind::Hanging));
    let cart_alone = Side { hops: [front, waiting, Hop { requests: 8, ..FINE }], ..QUIET };
    assert_eq!(named(cart_alone, QUIET), ("cart".into(), FaultKind::Hanging));
}

/// Users leave while the last service works, and calls end with or without a trace that says so.
fn leaving(hops: [Hop; 3], left: u64, is_traced: bool) -> Side {
    let gone = |hop: Hop| if is_traced { Hop { cut_off: left, ..hop } } else { Hop { given_up: left, ..hop } };
    Side { hops: [hops[0], gone(hops[1]), gone(hops[2])], left }
}

#[test]
fn users_who_leave_blame_nobody() {
    let failing = [Hop { downstream: 2, ..FINE }, Hop { own: 2, ..FINE }, FINE];
    for (of_lane, of_stable) in [(3, 3), (9, 0), (0, 9), (9, 3)] {
        for is_traced in [true, false] {
            let found = named(leaving(failing, of_lane, is_traced), leaving([FINE; 3], of_stable, is_traced));
            let case = format!("{of_lane} and {of_stable} of each ten leave, traced: {is_traced}");
            assert_eq!(found, ("cart".into(), FaultKind::Own), "{case}");
        }
    }
}

#[test]
fn users_who_leave_hide_no_version_that_hangs_where_traces_tell_them_apart() {
    let mut lane = leaving(hanging().hops, 5, true);
    lane.hops[2].given_up = 1;
    assert_eq!(named(lane, leaving([FINE; 3], 5, true)), ("orders".into(), FaultKind::Hanging));
}

#[test]
fn calls_that_are_given_up_as_often_in_stable_blame_nobody() {
    // As a service does that asks two others and takes the first answer.
    let racing = |hop: Hop| Hop { given_up: 5, ..hop };
    let failing = Side { hops: [Hop { downstream: 2, ..FINE }, Hop { own: 2, ..FINE }, racing(FINE)], ..QUIET };
    let stable = Side { hops: [FINE, FINE, racing(FINE)], ..QUIET };
    assert_eq!(named(failing, stable), ("cart".into(), FaultKind::Own));
}

#[test]
fn a_version_that_hangs_is_named_where_its_callers_make_up_for_it() {
    let lane = Side { hops: [FINE, FINE, Hop { given_up: 9, ..FINE }], left: 0 };
    assert_eq!(named(lane, QUIET), ("orders".into(), FaultKind::Hanging));
}

/// What the last service's own proxies count comes later than what those above it do.
#[test]
fn a_caller_is_not_named_for_failures_that_came_from_below_while_nobody_below_has_reported() {
    // Also where it has failed once by itself.
    for fails_once in [false, true] {
        let (plan, mut evidence) = (plan(), Evidence::default());
        for at in 0..20 {
            let handed_on = Hop { downstream: 4, own: u64::from(fails_once && at == 5), ..FINE };
            // The page of whoever calls it is older than that of the first one.
            let failed = Hop { own: u64::from(at % 4 == 3), ..FINE };
            let mut interval = second(at, Side { hops: [handed_on, FINE, failed], ..QUIET }, QUIET);
            interval.inbound.remove(&("orders".to_owned(), "canary".to_owned()));
            evidence.observe(&plan, &interval);
        }
        let fault = evidence.verdict(&plan, 20_000).fault.unwrap();
        assert_eq!((fault.service.as_str(), fault.kind), ("orders", FaultKind::Own), "{fails_once}");
    }
}

/// A chain whose front tells of one failure that it knows nothing of, among many from below.
#[test]
fn a_service_with_one_failure_of_its_own_by_chance_is_not_named_for_being_furthest_below() {
    let (plan, mut evidence) = (plan(), Evidence::default());
    for at in 0..20 {
        let handed_on = Hop { downstream: 4, ..FINE };
        let by_chance = Hop { own: u64::from(at == 3), ..FINE };
        let mut interval = second(at, Side { hops: [handed_on, handed_on, by_chance], ..QUIET }, QUIET);
        // Cart's own proxies have not told anything, and the front cannot say of all whence they came.
        interval.inbound.remove(&("cart".to_owned(), "canary".to_owned()));
        interval.inbound.remove(&("orders".to_owned(), "canary".to_owned()));
        let front = interval.inbound.get_mut(&("front".to_owned(), "canary".to_owned())).unwrap();
        if at == 4 {
            (front.downstream, front.unknown) = (front.downstream - 1, 1);
        }
        evidence.observe(&plan, &interval);
    }
    let fault = evidence.verdict(&plan, 20_000).fault.unwrap();
    assert_eq!(fault.service, "cart");
}

/// Ten minutes of what is tolerated are more failures than the seconds of a new fault.
#[test]
fn what_fails_now_is_named_and_not_what_has_failed_a_little_for_long() {
    let (plan, mut evidence) = (plan(), Evidence::default());
    let busy = Hop { requests: 100, ..FINE };
    let good = Side { hops: [busy; 3], ..QUIET };
    let tolerated = |at: u64, downstream| {
        let own = u64::from(at.is_multiple_of(4));
        Side { hops: [Hop { downstream: own + downstream, ..busy }, Hop { own, downstream, ..busy }, busy], ..QUIET }
    };
    (0..600).for_each(|at| evidence.observe(&plan, &second(at, tolerated(at, 0), good)));
    assert_ne!(evidence.verdict(&plan, 600_000).outcome, crate::Outcome::Fail);
    let failed = (600..700).find_map(|at| {
        let mut lane = tolerated(at, 20);
        lane.hops[2].own = 20;
        evidence.observe(&plan, &second(at, lane, good));
        let verdict = evidence.verdict(&plan, (at + 1) * 1000);
        verdict.fault.filter(|_| verdict.outcome == crate::Outcome::Fail)
    });
    let fault = failed.unwrap();
    assert_eq!((fault.service.as_str(), fault.kind), ("orders", FaultKind::Own));
    assert_eq!(fault.first_bad_ms, 600_000);
}

/// Two objectives: everybody breaks the first one, in stable too.
#[test]
fn the_objective_that_failed_says_who_is_slow() {
    let latency = |over_ms: u32, at_least| Objective {
        name: format!("at most {over_ms} ms"),
        kind: ObjectiveKind::Latency { over_ms, at_least },
    };
    let objectives = vec![latency(100, 0.5), latency(2_000, 0.99)];
    let services = CHAIN.map(|name| ServicePlan { service: name.into(), objectives: objectives.clone() });
    let plan = Plan { warm_up_ms: 0, ..Plan::new("canary", services.to_vec()).unwrap() };
    let mut evidence = Evidence::default();
    for at in 0..60 {
        let mut interval = second(at, QUIET, QUIET);
        for (cell, tally) in &mut interval.cells {
            let is_slow = cell.lane == "canary" && cell.service != "orders";
            let very_slow = if is_slow { 4 } else { 0 };
            // The last service is quick, and slower than stable's by a little at the lower cut-off only.
            let slow = if cell.lane == STABLE { 4 } else { 3 };
            tally.slow = [(100, slow.max(very_slow)), (2_000, very_slow)].into();
        }
        evidence.observe(&plan, &interval);
    }
    let verdict = evidence.verdict(&plan, 60_000);
    let fault = verdict.fault.unwrap_or_else(|| panic!("{}", verdict.reason));
    assert_eq!((fault.service.as_str(), fault.objective.as_str()), ("cart", "at most 2000 ms"));
}

/// Nobody in the release is below it: what it calls is none of its members.
#[test]
fn a_service_whose_failures_came_from_outside_of_the_release_is_named_all_the_same() {
    let lane = Side { hops: [FINE, FINE, Hop { downstream: 4, ..FINE }], ..QUIET };
    let above = Side { hops: [Hop { downstream: 4, ..FINE }, Hop { downstream: 4, ..FINE }, lane.hops[2]], ..QUIET };
    assert_eq!(named(above, QUIET), ("orders".into(), FaultKind::Own));
}
