//! The local brake: workers that count together, and what a tripped brake changes.

use std::rc::Rc;

use graylane_policy::hash::slot_of;
use serde_json::{Value, json};

use super::{Proxy, document, entry, stat};
use crate::fake::Shared;
use crate::stream::Stream;

/// A document with a brake: half of the users by weight, testers by rule.
fn braked(role: &str) -> Value {
    with_brake(entry(role))
}

fn with_brake(mut document: Value) -> Value {
    document["groups"][0]["brake"] = json!({"evidence": 20_000, "attempt": "s"});
    document
}

/// Two workers of one process.
fn workers(document: &Value) -> [Proxy; 2] {
    let process: Rc<Shared> = Rc::default();
    [Proxy::on(Rc::clone(&process), document, &[]), Proxy::on(process, document, &[])]
}

fn gauge(role: &str) -> String {
    stat(&format!("graylane_brake{{rollout=shop/summer,lane=canary,role={role}}}"))
}

impl Proxy {
    fn pass(&self, millis: u64) {
        self.host.now_ns.set(self.host.now_ns.get() + millis * 1_000_000);
    }

    fn status(&self, stream: Stream<crate::fake::FakeHost>, lane_status: u64) {
        let in_lane = self.host.header("x-release-stage").is_some();
        self.end(stream, if in_lane { lane_status } else { 200 }, 1);
    }

    /// Users come one after the other; those in the lane get this status.
    fn serve_users(&self, users: std::ops::Range<u32>, lane_status: u64) {
        for user in users {
            let stream = self.begin(&[(":authority", "orders"), ("x-user-id", &user.to_string())]);
            self.status(stream, lane_status);
        }
    }

    fn picks_canary(&self) -> bool {
        let user = (0..100).map(|user: u32| user.to_string()).find(|user| slot_of(user.as_bytes(), "s") < 5_000);
        self.begin(&[(":authority", "orders"), ("x-user-id", &user.expect("someone"))]);
        self.host.header("x-release-stage").is_some()
    }
}

/// Serves until every worker has ticked often enough to have closed and shared a window.
fn fail_for_a_second(workers: &[Proxy], lane_status: u64) {
    for round in 0..5 {
        for proxy in workers {
            proxy.serve_users(round * 40..round * 40 + 40, lane_status);
            proxy.pass(250);
            proxy.active.tick(1);
        }
    }
    workers.iter().for_each(|proxy| proxy.active.tick(1));
}

#[test]
fn workers_count_together_and_all_of_them_brake() {
    let both = workers(&braked("gateway"));
    assert!(both[0].picks_canary());
    fail_for_a_second(&both, 500);
    for proxy in &both {
        assert!(!proxy.picks_canary(), "weights pick nobody");
        proxy.begin(&[(":authority", "orders"), ("x-tester", "1")]);
        assert_eq!(proxy.host.header("x-release-stage").as_deref(), Some("canary"), "testers keep access");
    }
    assert_eq!(both[0].metric(&gauge("gateway")), 1);
    let braked = stat("graylane_lane_total{rollout=shop/summer,lane=stable,reason=brake}");
    assert!(both[0].metric(&braked) >= 2);
    let told = both.iter().map(|proxy| proxy.host.logs.borrow().len()).sum::<usize>();
    assert_eq!(told, 1, "one worker tells, once");
}

#[test]
fn what_is_too_little_for_each_worker_is_enough_for_both() {
    let tripped = |served: &[usize]| {
        let both = workers(&braked("gateway"));
        for &at in served {
            both[at].serve_users(0..40, 500);
        }
        for _ in 0..5 {
            for proxy in &both {
                proxy.pass(250);
                proxy.active.tick(1);
            }
        }
        both[0].metric(&gauge("gateway")) == 1
    };
    assert!(!tripped(&[0]) && !tripped(&[1]));
    assert!(tripped(&[0, 1]));
}

#[test]
fn a_sound_lane_does_not_brake() {
    let both = workers(&braked("gateway"));
    for _ in 0..20 {
        fail_for_a_second(&both, 200);
    }
    assert!(both[0].picks_canary() && both[0].metric(&gauge("gateway")) == 0);
}

#[test]
fn a_brake_outlives_documents_of_its_attempt_and_workers_that_crash() {
    let both = workers(&braked("gateway"));
    fail_for_a_second(&both, 500);
    let [crashed, survivor] = both;
    drop(crashed);
    let process = Rc::clone(&survivor.host.shared);
    let mut grown = braked("gateway");
    grown["generation"] = json!(8);
    grown["groups"][0]["entry"]["slots"]["runs"][0]["until"] = json!(9_000);
    let next = Proxy::on(process, &grown, &[]);
    assert!(!next.picks_canary(), "not even before its first tick");
    survivor.active.retire();
    next.host.now_ns.set(survivor.host.now_ns.get());
    next.active.tick(1);
    assert!(!next.picks_canary() && next.metric(&gauge("gateway")) == 1);
}

#[test]
fn evidence_grows_on_through_the_steps_of_an_attempt() {
    let process: Rc<Shared> = Rc::default();
    let mut now = 1_000_000_000_000;
    let mut tripped_at = None;
    for generation in 7..40_u32 {
        let mut step = braked("gateway");
        step["generation"] = json!(generation);
        let proxy = Proxy::on(Rc::clone(&process), &step, &[]);
        proxy.host.now_ns.set(now);
        proxy.active.tick(1);
        for tick in 0..3 {
            proxy.serve_users(generation * 30 + tick * 4..generation * 30 + tick * 4 + 4, 500);
            proxy.pass(300);
            proxy.active.tick(1);
        }
        proxy.active.retire();
        now = proxy.host.now_ns.get();
        if proxy.metric(&gauge("gateway")) == 1 {
            tripped_at = Some(generation);
            break;
        }
    }
    assert!(tripped_at.is_some_and(|at| at > 7), "{tripped_at:?}: many documents together, not one alone");
}

#[test]
fn letting_go_and_a_new_attempt_start_anew() {
    for (field, value) in [("released", json!(1)), ("attempt", json!("second"))] {
        let both = workers(&braked("gateway"));
        fail_for_a_second(&both, 500);
        let mut anew = braked("gateway");
        anew["groups"][0]["brake"][field] = value;
        let next = Proxy::on(Rc::clone(&both[0].host.shared), &anew, &[]);
        next.host.now_ns.set(both[0].host.now_ns.get());
        assert!(next.picks_canary(), "{field}");
        next.active.tick(1);
        assert_eq!(next.metric(&gauge("gateway")), 0, "{field}");
        fail_for_a_second(std::slice::from_ref(&next), 500);
        fail_for_a_second(std::slice::from_ref(&next), 500);
        assert!(!next.picks_canary(), "{field}: it brakes again");
    }
}

#[test]
fn a_document_without_a_brake_takes_the_gauge_back() {
    let inert = json!({"version": 1, "generation": 9, "role": "gateway", "groups": []});
    for next in [inert, entry("gateway")] {
        let both = workers(&braked("gateway"));
        fail_for_a_second(&both, 500);
        assert_eq!(both[0].metric(&gauge("gateway")), 1);
        let next = Proxy::on(Rc::clone(&both[0].host.shared), &next, &[]);
        next.active.tick(1);
        assert_eq!(next.metric(&gauge("gateway")), 0);
    }
}

#[test]
fn a_caller_that_is_no_entry_tells_and_does_nothing_else() {
    let sidecar = Proxy::new(&with_brake(document("outbound")));
    let trace = |at: u32| format!("00-{at:032x}-b7ad6b7169203331-01");
    for at in 1..200 {
        let lane = [("x-release-stage", "canary"), ("x-graylane-cohort", "shop=slot")];
        let traceparent = trace(at);
        let mut headers = vec![(":authority", "orders"), ("traceparent", &traceparent)];
        headers.extend(if at % 2 == 0 { &lane[..] } else { &[] });
        let stream = sidecar.begin(&headers);
        sidecar.status(stream, 503);
        sidecar.pass(10);
        if at % 20 == 0 {
            sidecar.active.tick(1);
        }
    }
    assert_eq!(sidecar.metric(&gauge("outbound")), 1);
    sidecar.begin(&[(":authority", "orders"), ("x-release-stage", "canary"), ("x-graylane-cohort", "shop=slot")]);
    assert_eq!(
        sidecar.host.header("x-graylane-route").as_deref(),
        Some("canary"),
        "a chain is not broken in its middle"
    );
}

#[test]
fn an_entry_that_only_chooses_brakes_as_well() {
    let mut only = braked("outbound");
    only["entryOnly"] = json!(true);
    let both = workers(&only);
    fail_for_a_second(&both, 502);
    assert!(!both[1].picks_canary());
    assert_eq!(both[0].metric(&gauge("entry")), 1);
    let names = both[0].host.shared.metric_names();
    assert!(names.iter().all(|name| !name.starts_with("graylane_requests_total")), "{names:?}");
}

#[test]
fn what_another_worker_won_is_written_at_the_next_tick() {
    let proxy = Proxy::new(&braked("gateway"));
    for round in 0..4 {
        proxy.serve_users(round * 60..round * 60 + 60, 500);
        proxy.host.contended.set(1_000);
        proxy.pass(250);
        proxy.active.tick(1);
    }
    assert_eq!(proxy.metric(&gauge("gateway")), 0);
    proxy.host.contended.set(2);
    proxy.pass(250);
    proxy.active.tick(1);
    assert!(!proxy.picks_canary(), "nothing was lost");
}

#[test]
fn slow_failures_of_an_older_document_still_count() {
    let process: Rc<Shared> = Rc::default();
    let old = Proxy::on(Rc::clone(&process), &braked("gateway"), &[]);
    old.serve_users(0..6, 500);
    for _ in 0..3 {
        old.pass(250);
        old.active.tick(1);
    }
    assert_eq!(old.metric(&gauge("gateway")), 0, "too few yet");
    let user = |user: u32| old.begin(&[(":authority", "orders"), ("x-user-id", &user.to_string())]);
    let slow: Vec<_> = (0..300).map(|at| (slot_of(at.to_string().as_bytes(), "s") < 5_000, user(at))).collect();
    old.active.retire();
    for (in_lane, stream) in slow {
        old.end(stream, if in_lane { 504 } else { 200 }, 20);
    }
    let next = Proxy::on(process, &braked("gateway"), &[]);
    assert!(!next.picks_canary());
}

#[test]
fn garbage_in_shared_data_is_no_evidence() {
    let proxy = Proxy::new(&braked("gateway"));
    for garbage in [&[0xff; 333][..], b"", &[0; 104], &[0; 106]] {
        proxy.host.shared.overwrite("graylane.brake.gateway", garbage);
        proxy.active.tick(1);
        assert!(proxy.picks_canary());
    }
    fail_for_a_second(std::slice::from_ref(&proxy), 500);
    fail_for_a_second(std::slice::from_ref(&proxy), 500);
    assert!(!proxy.picks_canary(), "and it is overwritten");
}

#[test]
fn a_request_costs_no_host_call_for_it() {
    let calls = |document: &Value, lane_status: u64| {
        let proxy = Proxy::new(document);
        proxy.serve_users(0..100, lane_status);
        let mut counts = Vec::new();
        for user in 0..20_u32 {
            let stream = proxy.begin(&[(":authority", "orders"), ("x-user-id", &user.to_string())]);
            proxy.status(stream, lane_status);
            counts.push(proxy.host.calls.borrow().clone());
        }
        counts
    };
    // What a failure at an entry costs is in the story of units.
    assert_eq!(calls(&braked("gateway"), 200), calls(&entry("gateway"), 200));
    for status in [200, 500] {
        assert_eq!(calls(&with_brake(document("outbound")), status), calls(&document("outbound"), status));
    }
}

#[test]
fn shared_data_holds_one_table_whatever_attempts_there_were() {
    let process: Rc<Shared> = Rc::default();
    for attempt in 0..200_u32 {
        let mut document = braked("gateway");
        document["groups"][0]["brake"]["attempt"] = json!(format!("s{attempt}"));
        let proxy = Proxy::on(Rc::clone(&process), &document, &[]);
        proxy.host.now_ns.set(1_000_000_000_000 + u64::from(attempt) * 5_000_000_000);
        fail_for_a_second(std::slice::from_ref(&proxy), 500);
    }
    assert_eq!(process.keys(), 2, "the roster and the brakes");
}
