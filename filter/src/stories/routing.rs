//! Where requests go, and what is written on the way.

use std::rc::Rc;

use serde_json::json;

use super::{Proxy, document, entry};
use crate::fake::Shared;

const TRACEPARENT: (&str, &str) = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");

#[test]
fn a_tester_is_marked_once_and_kept_on_the_next_hop() {
    let gateway = Proxy::new(&entry("gateway"));
    gateway.begin(&[(":authority", "orders"), ("x-tester", "1")]);
    assert_eq!(gateway.host.header("x-release-stage").as_deref(), Some("canary"));
    assert_eq!(gateway.host.header("x-graylane-route").as_deref(), Some("canary"));

    let sidecar = Proxy::new(&document("outbound"));
    sidecar.begin(&[(":authority", "orders"), ("x-release-stage", "canary"), ("x-graylane-cohort", "shop=rule")]);
    assert_eq!(sidecar.host.header("x-graylane-route").as_deref(), Some("canary"));
    assert_eq!(sidecar.host.called("set_request_header"), 1);
}

#[test]
fn a_stable_request_costs_one_read_and_no_write() {
    for role in ["gateway", "inbound", "outbound"] {
        let proxy = Proxy::new(&document(role));
        proxy.end(proxy.begin(&[(":authority", "orders")]), 200, 1);
        let stream = proxy.begin(&[(":authority", "orders")]);
        let host = &proxy.host;
        assert_eq!((host.called("request_headers"), host.called("set_request_header")), (1, 0), "{role}");
        assert_eq!((host.called("shared"), host.called("property"), host.called("random")), (0, 0, 0), "{role}");
        proxy.end(stream, 200, 1);
        assert_eq!((host.called("property"), host.called("metric")), (1, 0), "{role}: the status, and every id known");
    }
}

#[test]
fn an_inert_document_costs_nothing() {
    let proxy = Proxy::new(&json!({"version": 1, "generation": 9, "role": "gateway", "groups": []}));
    proxy.end(proxy.begin(&[(":authority", "orders"), ("x-release-stage", "canary")]), 200, 1);
    assert!(proxy.host.calls.borrow().is_empty(), "{:?}", proxy.host.calls.borrow());
}

#[test]
fn a_new_user_gets_a_cookie_with_the_response() {
    let gateway = Proxy::new(&entry("gateway"));
    gateway.host.random.set([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
    let mut stream = gateway.begin(&[(":authority", "orders")]);
    stream.on_response_headers();
    let response = gateway.host.response.borrow();
    let lines: Vec<&str> = response.iter().map(|(_, value)| std::str::from_utf8(value).unwrap()).collect();
    let expected = "graylane-unit=0123456789abcdeffedcba9876543210; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax";
    assert_eq!(lines, [expected]);
}

#[test]
fn a_known_user_gets_none() {
    let gateway = Proxy::new(&entry("gateway"));
    let mut stream = gateway.begin(&[(":authority", "orders"), ("x-user-id", "u1")]);
    stream.on_response_headers();
    assert!(gateway.host.response.borrow().is_empty());
}

#[test]
fn the_outbound_side_finds_the_lane_that_the_inbound_side_noted() {
    let traced = |role| {
        let mut document = document(role);
        document["groups"][0]["lanes"]["trace"] = json!({"workloads": ["cart"]});
        document
    };
    let process: Rc<Shared> = Rc::default();
    let node = [("WORKLOAD_NAME", "cart")];
    let inbound = Proxy::on(Rc::clone(&process), &traced("inbound"), &node);
    inbound.begin(&[
        (":authority", "cart"),
        ("x-release-stage", "canary"),
        ("x-graylane-cohort", "shop=slot"),
        TRACEPARENT,
    ]);
    let outbound = Proxy::on(Rc::clone(&process), &traced("outbound"), &node);
    outbound.begin(&[(":authority", "orders"), TRACEPARENT]);
    assert_eq!(outbound.host.header("x-release-stage").as_deref(), Some("canary"));
    assert_eq!(outbound.host.header("x-graylane-cohort").as_deref(), Some("shop=slot"));
    let other = ("traceparent", "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01");
    outbound.begin(&[(":authority", "orders"), other]);
    assert_eq!(outbound.host.header("x-release-stage"), None);

    let elsewhere = Proxy::on(process, &traced("outbound"), &[("WORKLOAD_NAME", "mail")]);
    elsewhere.begin(&[(":authority", "orders"), TRACEPARENT]);
    assert_eq!(elsewhere.host.header("x-release-stage"), None, "mail is not enabled");
    assert_eq!(elsewhere.host.called("shared"), 0);
}

#[test]
fn the_ring_never_grows_beyond_its_slots() {
    let mut document = document("inbound");
    document["groups"][0]["lanes"]["trace"] = json!({"workloads": ["*"]});
    let proxy = Proxy::on(Rc::default(), &document, &[("WORKLOAD_NAME", "cart")]);
    for trace in 1..20_000_u32 {
        let traceparent = format!("00-{trace:032x}-b7ad6b7169203331-01");
        proxy.begin(&[(":authority", "cart"), ("x-release-stage", "canary"), ("traceparent", &traceparent)]);
    }
    assert!(proxy.host.shared.keys() <= graylane_policy::ring::SLOTS as usize, "{}", proxy.host.shared.keys());
}

#[test]
fn a_pod_of_a_lane_calls_in_its_lane() {
    let node = [("LABELS|graylane.io/lane", "canary"), ("WORKLOAD_NAME", "web-canary")];
    let sidecar = Proxy::on(Rc::default(), &document("outbound"), &node);
    sidecar.begin(&[(":authority", "orders")]);
    assert_eq!(sidecar.host.header("x-graylane-route").as_deref(), Some("canary"));
}

#[test]
fn a_claim_is_read_where_envoy_put_it() {
    let mut document = entry("gateway");
    let when = json!({"match": {"field": {"claim": "tenant"}, "is": {"exact": "acme"}}});
    document["groups"][0]["entry"]["rules"][0]["when"] = when;
    let gateway = Proxy::new(&document);
    gateway.host.set_text("metadata|filter_metadata|envoy.filters.http.jwt_authn|payload|tenant", "acme");
    gateway.begin(&[(":authority", "orders"), ("x-user-id", "u")]);
    assert_eq!(gateway.host.header("x-release-stage").as_deref(), Some("canary"));
}
