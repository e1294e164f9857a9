//! Streams that outlive their lane.

use std::rc::Rc;

use serde_json::{Value, json};

use super::{Proxy, document, stat};
use crate::fake::{FakeHost, Shared};
use crate::stream::Stream;

const AFTER_MS: u64 = 30_000;
/// The root context of the documents that linger.
const ROOT: u32 = 77;

fn draining(role: &str) -> Value {
    let mut document = document(role);
    document["groups"][0]["drainAfterMs"] = json!(AFTER_MS);
    document
}

fn without_groups(role: &str) -> Value {
    json!({"version": 1, "generation": 9, "role": role, "groups": []})
}

/// A VM on which one document follows another.
struct Vm {
    old: Proxy,
    new: Proxy,
}

impl Vm {
    fn new(old: &Value, new: &Value) -> Self {
        let process: Rc<Shared> = Rc::default();
        Self { old: Proxy::on(Rc::clone(&process), old, &[]), new: Proxy::on(process, new, &[]) }
    }

    fn open(&self, lane: Option<&str>) -> Stream<FakeHost> {
        let lane = lane.map(|lane| ("x-release-stage", lane));
        self.old.begin(&[(":authority", "orders")].into_iter().chain(lane).collect::<Vec<_>>())
    }

    /// A tick of the old document; the streams that it has closed with all its ticks so far.
    fn tick(&self, after_ms: u64) -> Vec<u32> {
        let now = &self.old.host.now_ns;
        now.set(now.get() + after_ms * 1_000_000);
        self.old.active.linger(ROOT, Some(&self.new.active.policy));
        self.old.host.closed.borrow().clone()
    }
}

#[test]
fn a_call_whose_lane_is_gone_is_closed_when_its_time_is_over_and_nothing_else_is() {
    let vm = Vm::new(&draining("outbound"), &without_groups("outbound"));
    let _stable = vm.open(None);
    let in_lane = vm.open(Some("canary"));
    let _elsewhere = vm.old.begin(&[(":authority", "mail"), ("x-release-stage", "canary")]);
    assert!(vm.tick(1_000).is_empty());
    assert!(vm.tick(AFTER_MS - 1).is_empty());
    assert_eq!(vm.tick(1), [2], "the second stream of this process");
    assert_eq!(vm.tick(AFTER_MS), [2], "once");
    let closed =
        "graylane_closed_streams_total{service=orders.shop,rollout=shop/summer,lane=canary,direction=outbound}";
    assert_eq!(vm.old.metric(&stat(closed)), 1);
    vm.old.end(in_lane, 0, 1);
    let names = vm.old.host.shared.metric_names();
    assert!(names.iter().all(|name| !name.starts_with("graylane_requests_total")), "it is nobody's failure: {names:?}");
}

#[test]
fn a_call_stays_open_while_its_lane_is_there_whatever_else_changes() {
    let mut later = draining("outbound");
    later["generation"] = json!(8);
    later["groups"][0]["lanes"]["destinations"][0]["ready"] = json!([]);
    let vm = Vm::new(&draining("outbound"), &later);
    let _in_lane = vm.open(Some("canary"));
    for _ in 0..100 {
        assert!(vm.tick(AFTER_MS).is_empty());
    }
}

#[test]
fn a_lane_of_another_release_is_another_lane() {
    let mut winter = draining("outbound");
    winter["groups"][0]["rollout"] = json!("shop/winter");
    let vm = Vm::new(&draining("outbound"), &winter);
    let _in_lane = vm.open(Some("canary"));
    vm.tick(0);
    assert_eq!(vm.tick(AFTER_MS), [1]);
}

#[test]
fn a_lane_that_comes_back_keeps_its_calls() {
    let vm = Vm::new(&draining("outbound"), &without_groups("outbound"));
    let _in_lane = vm.open(Some("canary"));
    vm.tick(AFTER_MS - 1);
    let again = Proxy::on(Rc::clone(&vm.old.host.shared), &draining("outbound"), &[]);
    vm.old.active.linger(ROOT, Some(&again.active.policy));
    assert!(vm.tick(AFTER_MS - 1).is_empty(), "the time begins anew");
    assert_eq!(vm.tick(AFTER_MS), [1]);
}

#[test]
fn without_any_document_in_force_no_lane_is_there() {
    let vm = Vm::new(&draining("outbound"), &without_groups("outbound"));
    let _in_lane = vm.open(Some("canary"));
    vm.old.active.linger(ROOT, None);
    vm.old.host.now_ns.set(vm.old.host.now_ns.get() + AFTER_MS * 1_000_000);
    vm.old.active.linger(ROOT, None);
    assert_eq!(*vm.old.host.closed.borrow(), [1]);
}

#[test]
fn nobody_closes_calls_unasked_or_where_they_are_served() {
    for old in [document("outbound"), draining("inbound")] {
        let vm = Vm::new(&old, &without_groups("outbound"));
        let _in_lane = vm.open(Some("canary"));
        vm.tick(0);
        assert!(vm.tick(AFTER_MS * 100).is_empty());
        assert_eq!(vm.old.host.tick_ms.get(), 0, "and nobody waits for it");
    }
}

#[test]
fn an_old_document_ticks_on_until_its_last_call_in_a_lane_has_ended() {
    let vm = Vm::new(&draining("outbound"), &without_groups("outbound"));
    let in_lane = vm.open(Some("canary"));
    let _stable = vm.open(None);
    vm.tick(0);
    assert_ne!(vm.old.host.tick_ms.get(), 0);
    vm.old.end(in_lane, 200, 1);
    vm.tick(1_000);
    assert_eq!(vm.old.host.tick_ms.get(), 0);
    assert!(vm.tick(AFTER_MS).is_empty());
}

#[test]
fn many_clients_are_not_sent_away_at_once() {
    let vm = Vm::new(&draining("outbound"), &without_groups("outbound"));
    let _open: Vec<_> = (0..250).map(|_| vm.open(Some("canary"))).collect();
    vm.tick(0);
    let counts = [vm.tick(AFTER_MS), vm.tick(1_000), vm.tick(1_000), vm.tick(1_000)].map(|closed| closed.len());
    assert_eq!(counts, [100, 200, 250, 250]);
}

#[test]
fn a_request_costs_no_host_call_for_it() {
    let calls = |document: &Value| {
        let proxy = Proxy::new(document);
        let mut counts = Vec::new();
        for _ in 0..3 {
            let stream = proxy.begin(&[(":authority", "orders"), ("x-release-stage", "canary")]);
            proxy.end(stream, 200, 1);
            counts.push(proxy.host.calls.borrow().clone());
        }
        counts
    };
    assert_eq!(calls(&draining("outbound")), calls(&document("outbound")));
}
