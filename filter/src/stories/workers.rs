//! Documents arriving, and workers saying that they run them.

use std::rc::Rc;

use serde_json::{Value, json};

use super::{Proxy, document, stat};
use crate::fake::{FakeHost, Shared};
use crate::force::InForce;
use crate::root::configure;

fn of_generation(generation: u64) -> Value {
    let mut document = document("gateway");
    document["generation"] = json!(generation);
    document
}

#[test]
fn a_generation_counts_when_every_worker_has_said_so() {
    let process: Rc<Shared> = Rc::default();
    let gauges = |proxy: &Proxy| {
        let generation = proxy.metric(&stat("graylane_config_generation{role=gateway}"));
        (generation, proxy.metric(&stat("graylane_config_workers{role=gateway}")))
    };
    let first = Proxy::on(Rc::clone(&process), &of_generation(7), &[]);
    let second = Proxy::on(Rc::clone(&process), &of_generation(7), &[]);
    assert_eq!(gauges(&first), (0, 0), "configuring says nothing: canary VMs configure too");
    first.active.tick(1);
    assert_eq!(gauges(&first), (7, 1));
    second.active.tick(2);
    assert_eq!(gauges(&first), (7, 2));
    first.active.tick(1);
    assert_eq!(gauges(&first), (7, 2), "a further tick is no further worker");

    let renewed = Proxy::on(process, &of_generation(8), &[]);
    renewed.host.now_ns.set(first.host.now_ns.get() + 1_000_000_000);
    renewed.active.tick(1);
    assert_eq!(gauges(&first), (8, 1));
}

#[test]
fn a_bad_document_is_refused_with_its_reason_and_counted() {
    let host = Rc::new(FakeHost::default());
    let mut bad = of_generation(8);
    bad["groups"][0]["name"] = json!("Not A Label");
    *host.configuration.borrow_mut() = bad.to_string().into_bytes();
    assert!(configure(&host).is_err());
    let logs = host.logs.borrow();
    assert!(logs.len() == 1 && logs[0].contains("groups[0].name") && logs[0].contains("last good one"), "{logs:?}");
    assert_eq!(host.shared.metric(&stat("graylane_config_errors_total{reason=semantic}")), Some(1));
}

#[test]
fn a_document_that_comes_back_counts_as_the_newest() {
    let process: Rc<Shared> = Rc::default();
    let first = Proxy::on(Rc::clone(&process), &of_generation(7), &[]);
    first.active.tick(1);
    let second = Proxy::on(process, &of_generation(8), &[]);
    second.host.now_ns.set(first.host.now_ns.get() + 1_000_000_000);
    second.active.tick(1);
    first.active.retire();
    first.host.now_ns.set(second.host.now_ns.get() + 1_000_000_000);
    first.active.resume();
    assert_ne!(first.host.tick_ms.get(), 0);
    first.active.tick(1);
    assert_eq!(first.metric(&stat("graylane_config_generation{role=gateway}")), 7);
}

/// A document, the one that replaced it on its VM a minute later, and who speaks there: roots 1 and 2.
fn replaced() -> (Proxy, Proxy, InForce<FakeHost>) {
    let old = Proxy::new(&of_generation(7));
    let new = Proxy::on(Rc::clone(&old.host.shared), &of_generation(8), &[]);
    new.host.now_ns.set(old.host.now_ns.get() + 60_000_000_000);
    let mut in_force = InForce::new();
    in_force.configured(1, &old.active);
    in_force.configured(2, &new.active);
    (old, new, in_force)
}

#[test]
fn a_request_that_still_meets_the_document_before_brings_it_back_no_more() {
    let (old, new, mut in_force) = replaced();
    old.active.retire();
    old.host.now_ns.set(new.host.now_ns.get() + 1_000_000);
    in_force.begins(1, &old.active);
    assert!(in_force.has(2, &new.active) && !in_force.has(1, &old.active), "no request may ever come to the new one");
    assert_ne!(old.host.tick_ms.get(), 0, "should that request's lane be gone, somebody has to look");
}

#[test]
fn a_document_pushed_again_is_in_force_with_its_first_new_stream() {
    let (old, new, mut in_force) = replaced();
    old.active.retire();
    old.host.now_ns.set(new.host.now_ns.get() + 3_000_000_000);
    in_force.begins(1, &old.active);
    assert!(in_force.has(1, &old.active));
    assert_ne!(old.host.tick_ms.get(), 0, "it speaks again");
}

#[test]
fn roles_of_one_vm_leave_each_other_their_places() {
    let (inbound, outbound) = (Proxy::new(&document("inbound")), Proxy::new(&document("outbound")));
    let mut in_force = InForce::new();
    in_force.configured(1, &inbound.active);
    in_force.configured(2, &outbound.active);
    assert!(in_force.has(1, &inbound.active) && in_force.has(2, &outbound.active));
    drop(outbound.active);
    in_force.begins(3, &inbound.active);
    assert!(in_force.has(1, &inbound.active));
}

#[test]
fn where_the_last_document_is_gone_another_one_is_in_force_at_once() {
    let (old, new, mut in_force) = replaced();
    old.host.now_ns.set(new.host.now_ns.get());
    drop(new.active);
    in_force.begins(1, &old.active);
    assert!(in_force.has(1, &old.active));
}

#[test]
fn a_root_that_ends_stops_its_ticks() {
    let proxy = Proxy::new(&of_generation(7));
    assert_ne!(proxy.host.tick_ms.get(), 0);
    proxy.active.retire();
    assert_eq!(proxy.host.tick_ms.get(), 0);
}

#[test]
fn a_stream_ends_on_the_document_it_began_with() {
    let process: Rc<Shared> = Rc::default();
    let old = Proxy::on(Rc::clone(&process), &document("outbound"), &[]);
    let stream = old.begin(&[(":authority", "orders"), ("x-release-stage", "canary")]);
    let mut renamed = document("outbound");
    renamed["groups"][0]["rollout"] = json!("shop/winter");
    let _new = Proxy::on(process, &renamed, &[]);
    old.end(stream, 200, 1);
    let names = old.host.shared.metric_names();
    assert!(names.iter().all(|name| !name.contains("winter")), "{names:?}");
}
