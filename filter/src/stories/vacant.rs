//! A lane whose last pod has left the endpoints before the document says so.

use graylane_policy::vacant::HOLD_MS;
use serde_json::json;

use super::{Proxy, document, entry, stat};

const LANE: [(&str, &str); 2] = [(":authority", "orders"), ("x-release-stage", "canary")];
const NO_HEALTHY_UPSTREAM: u64 = 0x2;
const UPSTREAM_CONNECTION_FAILURE: u64 = 0x20;
const FALLBACK: &str = "graylane_lane_total{rollout=shop/summer,lane=canary,reason=fallback}";

impl Proxy {
    /// Where a request goes, which then ends with this status and these flags.
    fn goes_to(&self, headers: &[(&str, &str)], status: u64, flags: u64) -> String {
        let stream = self.begin(headers);
        let route = self.host.header("x-graylane-route").unwrap_or_else(|| "stable".into());
        self.host.set_number("response|flags", flags);
        self.end(stream, status, 1);
        route
    }

    fn wait(&self, millis: u64) {
        self.host.now_ns.set(self.host.now_ns.get() + millis * 1_000_000);
    }
}

#[test]
fn one_request_finds_nobody_and_the_next_are_served_by_stable_until_the_lane_is_asked_again() {
    let sidecar = Proxy::new(&document("outbound"));
    assert_eq!(sidecar.goes_to(&LANE, 503, NO_HEALTHY_UPSTREAM), "canary");
    for _ in 0..10 {
        assert_eq!(sidecar.goes_to(&LANE, 200, 0), "stable");
    }
    assert_eq!(sidecar.metric(&stat(FALLBACK)), 10);
    sidecar.wait(HOLD_MS);
    assert_eq!(sidecar.goes_to(&LANE, 503, NO_HEALTHY_UPSTREAM), "canary");
    assert_eq!(sidecar.goes_to(&LANE, 200, 0), "stable");
    sidecar.wait(HOLD_MS);
    assert_eq!(sidecar.goes_to(&LANE, 200, 0), "canary");
    assert_eq!(sidecar.goes_to(&LANE, 200, 0), "canary");
    let failures = "graylane_failures_total{service=orders.shop,rollout=shop/summer,lane=canary,cohort=unknown,\
                    direction=outbound,origin=unknown}";
    assert_eq!(sidecar.metric(&stat(failures)), 2, "what the lane did not answer is its failure");
}

#[test]
fn a_grpc_call_that_finds_nobody_counts_the_same() {
    let sidecar = Proxy::new(&document("outbound"));
    let call = [&LANE[..], &[("content-type", "application/grpc")]].concat();
    sidecar.host.set_number("response|grpc_status", 14);
    assert_eq!(sidecar.goes_to(&call, 200, NO_HEALTHY_UPSTREAM), "canary");
    assert_eq!(sidecar.goes_to(&call, 200, 0), "stable");
}

#[test]
fn failures_of_a_pod_that_is_there_send_nobody_away() {
    let sidecar = Proxy::new(&document("outbound"));
    for flags in [0, UPSTREAM_CONNECTION_FAILURE] {
        assert_eq!(sidecar.goes_to(&LANE, 503, flags), "canary");
    }
    assert_eq!(sidecar.goes_to(&LANE, 200, 0), "canary");
}

#[test]
fn stable_without_an_endpoint_is_asked_again_and_again() {
    let sidecar = Proxy::new(&document("outbound"));
    for _ in 0..3 {
        assert_eq!(sidecar.goes_to(&LANE[..1], 503, NO_HEALTHY_UPSTREAM), "stable");
        assert!(sidecar.active.vacant.borrow().is_empty());
    }
    assert_eq!(sidecar.goes_to(&LANE, 200, 0), "canary");
}

/// The filter that only chooses calls nobody, and an inbound side has one application.
#[test]
fn only_who_calls_a_version_notes_that_it_is_not_there() {
    let mut only = entry("outbound");
    only["entryOnly"] = json!(true);
    // Brakes make such a filter look at outcomes.
    only["groups"][0]["brake"] = json!({"evidence": 1000, "attempt": "1"});
    for document in [only, document("inbound")] {
        let proxy = Proxy::new(&document);
        proxy.goes_to(&[LANE[0], LANE[1], ("x-user-id", "u1")], 503, NO_HEALTHY_UPSTREAM);
        assert!(proxy.active.vacant.borrow().is_empty());
    }
}

#[test]
fn it_costs_no_host_call() {
    let sidecar = Proxy::new(&document("outbound"));
    let calls = |status, flags| {
        sidecar.goes_to(&LANE, status, flags);
        sidecar.host.calls.borrow().clone()
    };
    calls(200, 0);
    let before = calls(200, 0);
    sidecar.active.vacant.borrow_mut().note((0, graylane_policy::LaneId(1)), 0);
    assert_eq!(calls(200, 0), before);
}
