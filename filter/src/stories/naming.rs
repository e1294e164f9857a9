//! Requests in trouble that are named, for the verdict.

use std::rc::Rc;

use graylane_policy::specimen::{PARTS, Specimen};
use serde_json::json;

use super::{Proxy, document, entry, stat};

const LANE: [(&str, &str); 3] =
    [(":authority", "orders"), ("x-release-stage", "canary"), ("x-graylane-cohort", "shop=slot")];

/// What a pod of the lane says of itself.
const CANARY: (&str, &str) = ("LABELS|graylane.io/lane", "canary");

fn trace(at: u32) -> String {
    format!("{:032x}", u128::from(at) << 96 | 0xabcd)
}

fn parent(at: u32) -> String {
    format!("00-{}-b7ad6b7169203331-01", trace(at))
}

impl Proxy {
    /// A request in the lane, with a trace of this number.
    fn in_lane(&self, at: u32, status: u64) {
        self.in_lane_for(at, status, 1);
    }

    /// The same, and how long it takes.
    fn in_lane_for(&self, at: u32, status: u64, millis: u64) {
        let parent = parent(at);
        let headers = [&LANE[..], &[("traceparent", parent.as_str())]].concat();
        self.end(self.begin(&headers), status, millis);
    }

    /// The failed request that the gauges name, as a reader makes it out.
    fn named(&self, direction: &str) -> Option<String> {
        self.named_by("failed", direction, "")
    }

    /// The slow one that they name for an objective.
    fn named_slow(&self, over_ms: u32) -> Option<String> {
        self.named_by("slow", "outbound", &format!(",over_ms={over_ms}"))
    }

    fn named_by(&self, trouble: &str, direction: &str, more: &str) -> Option<String> {
        let labels = format!("service=orders.shop,rollout=shop/summer,lane=canary,direction={direction}{more}");
        let mut parts = [0; PARTS];
        for (value, part) in parts.iter_mut().zip(["0", "1", "2", "3", "check"]) {
            let stat = stat(&format!("graylane_{trouble}_trace_{part}{{{labels}}}"));
            *value = u32::try_from(self.host.shared.metric(&stat)?).expect("a gauge of 32 bits");
        }
        Specimen::from_parts(&parts).map(|id| id.to_string())
    }

    fn named_at_all(&self) -> bool {
        self.host.shared.metric_names().iter().any(|name| name.contains("_trace_"))
    }
}

#[test]
fn a_request_that_fails_in_a_lane_is_named_by_its_trace() {
    let sidecar = Proxy::new(&document("outbound"));
    sidecar.in_lane(1, 200);
    assert_eq!(sidecar.named("outbound"), None);
    sidecar.in_lane(2, 503);
    assert_eq!(sidecar.named("outbound"), Some(trace(2)));
}

#[test]
fn a_thousand_failures_in_a_second_name_one_of_them_and_a_later_one_takes_its_place() {
    let sidecar = Proxy::new(&document("outbound"));
    sidecar.in_lane(1, 503);
    let names = sidecar.host.shared.metric_names().len();
    for at in 2..900 {
        sidecar.in_lane(at, 503);
        assert_eq!(sidecar.host.called("request_headers"), 1, "as many looks as any request");
        assert_eq!(sidecar.host.called("record"), 1, "the latency, and no gauge");
    }
    assert_eq!(sidecar.named("outbound"), Some(trace(1)));
    sidecar.host.now_ns.set(sidecar.host.now_ns.get() + 1_000_000_000);
    sidecar.in_lane(900, 503);
    assert_eq!(sidecar.named("outbound"), Some(trace(900)));
    assert_eq!(sidecar.host.called("request_headers"), 2);
    assert_eq!(sidecar.host.shared.metric_names().len(), names, "no series for a request");
}

#[test]
fn a_request_that_is_slow_in_a_lane_is_named_for_the_objective_that_allows_most() {
    let mut objectives = document("outbound");
    objectives["groups"][0]["lanes"]["destinations"][0]["slowOverMs"] = json!([500, 100]);
    let sidecar = Proxy::new(&objectives);
    sidecar.in_lane_for(1, 200, 100);
    assert!(!sidecar.named_at_all());
    sidecar.in_lane_for(2, 200, 501);
    assert_eq!((sidecar.named_slow(500), sidecar.named_slow(100)), (Some(trace(2)), None));
    // Another objective, and another second.
    sidecar.in_lane_for(3, 200, 101);
    assert_eq!((sidecar.named_slow(500), sidecar.named_slow(100)), (Some(trace(2)), Some(trace(3))));
    sidecar.in_lane_for(4, 200, 101);
    assert_eq!((sidecar.named_slow(100), sidecar.host.called("request_headers")), (Some(trace(3)), 1));
    sidecar.in_lane_for(5, 200, 900);
    assert_eq!((sidecar.named_slow(500), sidecar.named("outbound")), (Some(trace(5)), None));
}

#[test]
fn a_request_that_is_slow_and_fails_has_failed_and_one_of_stable_is_nobodys() {
    let sidecar = Proxy::new(&document("outbound"));
    sidecar.end(sidecar.begin(&[(":authority", "orders"), ("traceparent", &parent(1))]), 200, 300);
    assert!(!sidecar.named_at_all());
    sidecar.in_lane_for(2, 504, 300);
    assert_eq!((sidecar.named("outbound"), sidecar.named_slow(100)), (Some(trace(2)), None));
}

#[test]
fn a_clock_that_was_set_back_stops_nothing() {
    let sidecar = Proxy::new(&document("outbound"));
    sidecar.in_lane(1, 503);
    sidecar.host.now_ns.set(1_000_000_000);
    sidecar.in_lane(2, 503);
    assert_eq!(sidecar.named("outbound"), Some(trace(2)));
}

#[test]
fn nobody_names_what_stable_fails_or_what_failed_further_below() {
    let sidecar = Proxy::new(&document("outbound"));
    let parent = parent(1);
    sidecar.end(sidecar.begin(&[(":authority", "orders"), ("traceparent", &parent)]), 503, 1);
    sidecar.end(sidecar.begin(&[(":authority", "elsewhere"), LANE[1], ("traceparent", &parent)]), 503, 1);
    assert!(!sidecar.named_at_all());

    // The same trace failed on the way out of this pod, which is told there.
    let inbound = Proxy::on(Rc::clone(&sidecar.host.shared), &document("inbound"), &[CANARY]);
    let outer = inbound.begin(&[&LANE[..], &[("traceparent", parent.as_str())]].concat());
    sidecar.in_lane(1, 503);
    inbound.end(outer, 503, 1);
    assert_eq!((sidecar.named("outbound"), inbound.named("inbound")), (Some(trace(1)), None));
    // What fails by itself is named there.
    inbound.host.now_ns.set(inbound.host.now_ns.get() + 2_000_000_000);
    inbound.in_lane(2, 500);
    assert_eq!(inbound.named("inbound"), Some(trace(2)));
}

#[test]
fn a_gateway_names_the_trace_that_a_tracer_began_behind_it() {
    let gateway = Proxy::new(&entry("gateway"));
    let stream = gateway.begin(&[
        (":authority", "orders"),
        ("x-tester", "1"),
        ("x-request-id", "8f3c1d2e-5b6a-4c7d-8e9f-0a1b2c3d4e5f"),
    ]);
    gateway.host.request.borrow_mut().push(("traceparent".into(), parent(7).into_bytes()));
    gateway.end(stream, 504, 1);
    assert_eq!(gateway.named("gateway"), Some(trace(7)));
}

#[test]
fn without_a_trace_the_id_of_the_request_has_to_do() {
    let gateway = Proxy::new(&entry("gateway"));
    let id = "8f3c1d2e-5b6a-4c7d-8e9f-0a1b2c3d4e5f";
    gateway.end(gateway.begin(&[(":authority", "orders"), ("x-tester", "1"), ("x-request-id", id)]), 500, 1);
    assert_eq!(gateway.named("gateway").as_deref(), Some(id));
    let nameless = Proxy::new(&entry("gateway"));
    nameless.end(nameless.begin(&[(":authority", "orders"), ("x-tester", "1")]), 500, 1);
    assert!(!nameless.named_at_all());
}

#[test]
fn an_entry_that_only_chooses_names_nothing() {
    let mut only = entry("outbound");
    only["entryOnly"] = json!(true);
    let proxy = Proxy::new(&only);
    proxy.end(proxy.begin(&[(":authority", "orders"), ("x-tester", "1"), ("traceparent", &parent(1))]), 500, 1);
    assert!(!proxy.named_at_all());
}
