//! Whose requests a lane has, as an entry tells it.

use graylane_policy::hash::slot_of;
use serde_json::{Value, json};

use super::{Proxy, document, entry, stat};
use crate::units::BUCKETS;

/// An entry that sends half of the users to the lane, with a brake as every judged release has one.
fn judged(mut document: Value) -> Value {
    document["groups"][0]["brake"] = json!({"evidence": 20_000, "attempt": "s"});
    document
}

/// Users with a slot in the lane, or in stable.
fn users(in_lane: bool) -> impl Iterator<Item = String> {
    (0..100).map(|user: u32| user.to_string()).filter(move |user| (slot_of(user.as_bytes(), "s") < 5_000) == in_lane)
}

fn name(user: &str, what: &str) -> String {
    let bucket = usize::from(slot_of(user.as_bytes(), "s")) % BUCKETS;
    stat(&format!("graylane_unit_{bucket}_{what}_total{{rollout=shop/summer,lane=canary}}"))
}

impl Proxy {
    fn serve(&self, user: &str, host: &str, status: u64) {
        self.end(self.begin(&[(":authority", host), ("x-user-id", user)]), status, 1);
    }

    fn tick_for_a_second(&self) {
        for _ in 0..4 {
            self.host.now_ns.set(self.host.now_ns.get() + 250_000_000);
            self.active.tick(1);
        }
    }

    fn told(&self) -> usize {
        self.host.shared.metric_names().iter().filter(|name| name.starts_with("graylane_unit_")).count()
    }
}

#[test]
fn an_entry_tells_failures_at_once_and_requests_within_a_second() {
    let gateway = Proxy::new(&judged(entry("gateway")));
    gateway.tick_for_a_second();
    let user = users(true).next().expect("someone");
    [500, 200, 503].into_iter().for_each(|status| gateway.serve(&user, "orders", status));
    let [requests, failures] = ["requests", "failures"].map(|what| name(&user, what));
    assert_eq!((gateway.metric(&requests), gateway.metric(&failures)), (0, 2));
    gateway.tick_for_a_second();
    assert_eq!((gateway.metric(&requests), gateway.metric(&failures)), (3, 2));
    gateway.tick_for_a_second();
    assert_eq!(gateway.metric(&requests), 3, "told once");
}

#[test]
fn a_failure_costs_one_host_call_and_nothing_else_does() {
    let calls = |document: &Value, user: &str, status: u64| {
        let gateway = Proxy::new(document);
        gateway.serve(user, "orders", status);
        gateway.serve(user, "orders", status);
        gateway.host.calls.borrow().values().sum::<u32>()
    };
    let extra = |in_lane: bool, status: u64| {
        let user = users(in_lane).next().expect("someone");
        calls(&judged(entry("gateway")), &user, status) - calls(&entry("gateway"), &user, status)
    };
    assert_eq!([extra(true, 200), extra(false, 200), extra(false, 500), extra(true, 500)], [0, 0, 0, 1]);
}

#[test]
fn every_user_of_the_lane_counts_in_the_bucket_of_its_slot() {
    let gateway = Proxy::new(&judged(entry("gateway")));
    users(true).for_each(|user| gateway.serve(&user, "orders", 200));
    gateway.tick_for_a_second();
    let sum: i64 = (0..BUCKETS)
        .map(|at| {
            gateway.metric(&stat(&format!("graylane_unit_{at}_requests_total{{rollout=shop/summer,lane=canary}}")))
        })
        .sum();
    assert_eq!(sum, users(true).count() as i64);
    assert!(gateway.told() > BUCKETS / 2, "they are spread");
}

#[test]
fn stable_testers_strangers_and_other_hosts_are_not_told_of() {
    let gateway = Proxy::new(&judged(entry("gateway")));
    users(false).for_each(|user| gateway.serve(&user, "orders", 500));
    gateway.end(gateway.begin(&[(":authority", "orders"), ("x-tester", "1")]), 500, 1);
    users(true).for_each(|user| gateway.serve(&user, "elsewhere", 500));
    gateway.tick_for_a_second();
    assert_eq!(gateway.told(), 0);
    let carrier = Proxy::new(&judged(document("outbound")));
    carrier.end(carrier.begin(&[(":authority", "orders"), ("x-release-stage", "canary")]), 500, 1);
    carrier.tick_for_a_second();
    assert_eq!(carrier.told(), 0, "no entry, no unit");
}

#[test]
fn what_is_left_when_another_document_comes_is_told_and_nothing_after_it_gets_lost() {
    let gateway = Proxy::new(&judged(entry("gateway")));
    let user = users(true).next().expect("someone");
    gateway.serve(&user, "orders", 200);
    let open = gateway.begin(&[(":authority", "orders"), ("x-user-id", &user)]);
    gateway.active.retire();
    assert_eq!(gateway.metric(&name(&user, "requests")), 1);
    gateway.end(open, 200, 1);
    assert_eq!(gateway.metric(&name(&user, "requests")), 2);
}
