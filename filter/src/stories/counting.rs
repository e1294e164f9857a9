//! What is counted, and what is left out.

use std::rc::Rc;

use super::{Proxy, document, entry, stat};
use crate::fake::{FakeHost, Shared};
use crate::stream::Stream;

const STABLE: &str = "service=orders.shop,rollout=shop/summer,lane=stable,cohort=slot";
const TRACE: (&str, &str) = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");

fn requests(labels: &str, direction: &str, status: u16) -> String {
    stat(&format!("graylane_requests_total{{{labels},direction={direction},status_code={status}}}"))
}

fn failures(direction: &str, origin: &str) -> String {
    stat(&format!("graylane_failures_total{{{STABLE},direction={direction},origin={origin}}}"))
}

#[test]
fn every_request_is_counted_where_it_went_and_how_it_ended() {
    let gateway = Proxy::new(&entry("gateway"));
    let user = ("x-user-id", "u");
    for status in [200, 200, 404] {
        gateway.end(gateway.begin(&[(":authority", "orders"), ("x-tester", ""), user]), status, 5);
    }
    let canary = "service=orders.shop,rollout=shop/summer,lane=canary,cohort=rule";
    assert_eq!(gateway.metric(&requests(canary, "gateway", 200)), 2);
    assert_eq!(gateway.metric(&requests(canary, "gateway", 404)), 1);
    assert_eq!(gateway.metric(&stat("graylane_lane_total{rollout=shop/summer,lane=canary,reason=rule}")), 3);
    let latency = format!("graylane_request_milliseconds{{{canary},direction=gateway}}");
    assert_eq!(gateway.metric(&stat(&latency)), 5, "the fake keeps the last value");
}

#[test]
fn a_host_that_is_no_member_counts_as_other() {
    let sidecar = Proxy::new(&document("outbound"));
    sidecar.end(sidecar.begin(&[(":authority", "mail.example.com")]), 200, 1);
    assert_eq!(sidecar.metric(&requests("service=other,rollout=none,lane=stable,cohort=slot", "outbound", 200)), 1);
}

#[test]
fn slow_requests_count_for_each_objective() {
    let sidecar = Proxy::new(&document("outbound"));
    for millis in [99, 100, 101] {
        sidecar.end(sidecar.begin(&[(":authority", "orders")]), 200, millis);
    }
    let slow = format!("graylane_slow_requests_total{{{STABLE},direction=outbound,over_ms=100}}");
    assert_eq!(sidecar.metric(&stat(&slow)), 1);
}

impl Proxy {
    /// Its client closes the connection before any answer (flag DC).
    fn abandon(&self, stream: Stream<FakeHost>) {
        self.host.set_number("response|flags", 1 << 14);
        self.end(stream, 0, 3);
        self.host.set_number("response|flags", 0);
    }
}

fn abandoned(direction: &str, reason: &str) -> String {
    stat(&format!("graylane_abandoned_total{{{STABLE},direction={direction},reason={reason}}}"))
}

#[test]
fn a_call_that_is_given_up_is_counted_apart_and_not_among_requests() {
    let sidecar = Proxy::new(&document("outbound"));
    sidecar.abandon(sidecar.begin(&[(":authority", "orders")]));
    assert_eq!(sidecar.metric(&abandoned("outbound", "gave_up")), 1);
    assert_eq!(sidecar.metric(&requests(STABLE, "outbound", 0)), 0);
    sidecar.host.set_number("response|flags", 0);
    sidecar.end(sidecar.begin(&[(":authority", "orders")]), 0, 10);
    assert_eq!(sidecar.metric(&requests(STABLE, "outbound", 0)), 1, "no answer and no client abort is a failure");
    assert_eq!(sidecar.metric(&failures("outbound", "unknown")), 1);
}

#[test]
fn an_answer_that_its_reader_cuts_short_is_not_given_up() {
    let sidecar = Proxy::new(&document("outbound"));
    sidecar.host.set_number("response|flags", 1 << 14);
    for status in [200, 503] {
        sidecar.end(sidecar.begin(&[(":authority", "orders")]), status, 10);
    }
    assert_eq!(sidecar.metric(&abandoned("outbound", "gave_up")), 0);
    assert_eq!(sidecar.metric(&requests(STABLE, "outbound", 200)), 1);
    assert_eq!(sidecar.metric(&requests(STABLE, "outbound", 503)), 0);
}

#[test]
fn a_mirrored_request_counts_nowhere() {
    let sidecar = Proxy::new(&document("inbound"));
    for authority in ["orders-shadow", "orders-shadow:8080"] {
        sidecar.end(sidecar.begin(&[(":authority", authority)]), 500, 1);
        sidecar.abandon(sidecar.begin(&[(":authority", authority)]));
    }
    let names = sidecar.host.shared.metric_names();
    let counts =
        |name: &String| ["graylane_requests_total", "graylane_abandoned_total"].iter().any(|of| name.starts_with(of));
    assert!(!names.iter().any(counts), "{names:?}");
}

#[test]
fn grpc_failures_are_told_by_their_status() {
    let sidecar = Proxy::new(&document("outbound"));
    let call = [(":authority", "orders"), ("content-type", "application/grpc")];
    for status in [0, 5, 2, 4, 13, 14, 15] {
        let stream = sidecar.begin(&call);
        sidecar.host.set_number("response|grpc_status", status);
        sidecar.end(stream, 200, 1);
    }
    assert_eq!(sidecar.metric(&requests(STABLE, "outbound", 200)), 7, "status_code stays HTTP");
    assert_eq!(sidecar.metric(&failures("outbound", "unknown")), 5);
}

#[test]
fn grpc_web_is_judged_by_its_http_status() {
    // Its status is in the body. Envoy finds none and makes 2 of HTTP 200.
    let sidecar = Proxy::new(&document("outbound"));
    for status in [200, 503] {
        let stream = sidecar.begin(&[(":authority", "orders"), ("content-type", "application/grpc-web+proto")]);
        sidecar.host.set_number("response|grpc_status", 2);
        sidecar.end(stream, status, 1);
    }
    assert_eq!(sidecar.metric(&failures("outbound", "unknown")), 1);
}

#[test]
fn a_failure_is_own_or_of_a_call_below() {
    let process: Rc<Shared> = Rc::default();
    let inbound = Proxy::on(Rc::clone(&process), &document("inbound"), &[]);
    let outbound = Proxy::on(process, &document("outbound"), &[]);
    inbound.end(inbound.begin(&[(":authority", "orders"), TRACE]), 500, 10);
    assert_eq!(inbound.metric(&failures("inbound", "own")), 1);

    let served = inbound.begin(&[(":authority", "orders"), TRACE]);
    outbound.host.now_ns.set(inbound.host.now_ns.get() + 2_000_000);
    outbound.end(outbound.begin(&[(":authority", "orders"), TRACE]), 503, 3);
    inbound.end(served, 500, 10);
    assert_eq!(inbound.metric(&failures("inbound", "downstream")), 1);

    let other = ("traceparent", "00-11f7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let served = inbound.begin(&[(":authority", "orders"), other]);
    outbound.host.now_ns.set(inbound.host.now_ns.get() + 2_000_000);
    outbound.end(outbound.begin(&[(":authority", "orders"), TRACE]), 503, 3);
    inbound.end(served, 500, 10);
    assert_eq!(inbound.metric(&failures("inbound", "unknown")), 1, "calls failed meanwhile, of another trace");
}

#[test]
fn whoever_gives_up_on_a_call_and_fails_then_fails_because_of_it() {
    let process: Rc<Shared> = Rc::default();
    let inbound = Proxy::on(Rc::clone(&process), &document("inbound"), &[]);
    let outbound = Proxy::on(process, &document("outbound"), &[]);
    let served = inbound.begin(&[(":authority", "orders"), TRACE]);
    outbound.abandon(outbound.begin(&[(":authority", "orders"), TRACE]));
    inbound.end(served, 502, 10);
    assert_eq!(inbound.metric(&failures("inbound", "downstream")), 1);
}

#[test]
fn a_user_who_leaves_is_a_failure_of_nobody_and_clouds_no_other() {
    let process: Rc<Shared> = Rc::default();
    let inbound = Proxy::on(Rc::clone(&process), &document("inbound"), &[]);
    let outbound = Proxy::on(process, &document("outbound"), &[]);
    let other = ("traceparent", "00-11f7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let failing = inbound.begin(&[(":authority", "orders"), other]);
    let left = inbound.begin(&[(":authority", "orders"), TRACE]);
    let call = outbound.begin(&[(":authority", "orders"), TRACE]);
    outbound.host.now_ns.set(inbound.host.now_ns.get() + 2_000_000);
    // From the outside to the inside, as Envoy ends them.
    inbound.abandon(left);
    outbound.abandon(call);
    assert_eq!(outbound.metric(&abandoned("outbound", "left")), 1);
    assert_eq!(outbound.metric(&abandoned("outbound", "gave_up")), 0);
    inbound.end(failing, 500, 10);
    assert_eq!(inbound.metric(&failures("inbound", "own")), 1, "what fails meanwhile does so by itself");
    assert_eq!(inbound.metric(&failures("inbound", "downstream")), 0);
    // Another try of the same trace, whose call nobody has left.
    let again = outbound.begin(&[(":authority", "orders"), TRACE]);
    outbound.host.now_ns.set(outbound.host.now_ns.get() + 10_000_000);
    outbound.abandon(again);
    assert_eq!(outbound.metric(&abandoned("outbound", "gave_up")), 1);
}

#[test]
fn at_a_gateway_it_is_the_user_who_leaves() {
    let gateway = Proxy::new(&entry("gateway"));
    gateway.abandon(gateway.begin(&[(":authority", "orders"), ("x-tester", ""), ("x-user-id", "u"), TRACE]));
    let canary = "service=orders.shop,rollout=shop/summer,lane=canary,cohort=rule";
    let left = format!("graylane_abandoned_total{{{canary},direction=gateway,reason=left}}");
    assert_eq!(gateway.metric(&stat(&left)), 1);
}

#[test]
fn a_retry_that_fails_by_itself_is_not_blamed_on_the_try_before() {
    let process: Rc<Shared> = Rc::default();
    let inbound = Proxy::on(Rc::clone(&process), &document("inbound"), &[]);
    let outbound = Proxy::on(process, &document("outbound"), &[]);
    let first = inbound.begin(&[(":authority", "orders"), TRACE]);
    outbound.end(outbound.begin(&[(":authority", "orders"), TRACE]), 503, 3);
    inbound.end(first, 500, 10);
    assert_eq!(inbound.metric(&failures("inbound", "downstream")), 1);
    inbound.end(inbound.begin(&[(":authority", "orders"), TRACE]), 500, 10);
    assert_eq!(inbound.metric(&failures("inbound", "own")), 1, "nothing failed below the second one");
    assert_eq!(inbound.metric(&failures("inbound", "downstream")), 1);
}

#[test]
fn the_meter_tells_where_each_lane_came_from() {
    let node = [("WORKLOAD_NAME", "cart")];
    let process: Rc<Shared> = Rc::default();
    let inbound = Proxy::on(Rc::clone(&process), &document("inbound"), &node);
    let outbound = Proxy::on(process, &document("outbound"), &node);
    inbound.begin(&[(":authority", "cart"), ("x-release-stage", "canary")]);
    outbound.begin(&[(":authority", "orders")]);
    let context = |direction: &str, lane: &str, source: &str| {
        stat(&format!("graylane_context_total{{workload=cart,direction={direction},lane={lane},source={source}}}"))
    };
    assert_eq!(inbound.metric(&context("inbound", "canary", "header")), 1);
    assert_eq!(outbound.metric(&context("outbound", "stable", "none")), 1, "cart dropped the lane");
}

#[test]
fn a_fallback_is_counted_by_the_caller() {
    let mut unready = document("outbound");
    unready["groups"][0]["lanes"]["destinations"][0]["ready"] = serde_json::json!([]);
    let sidecar = Proxy::new(&unready);
    sidecar.end(sidecar.begin(&[(":authority", "orders"), ("x-release-stage", "canary")]), 200, 1);
    assert_eq!(sidecar.metric(&stat("graylane_lane_total{rollout=shop/summer,lane=canary,reason=fallback}")), 1);
    let served = "service=orders.shop,rollout=shop/summer,lane=stable,cohort=fallback";
    assert_eq!(sidecar.metric(&requests(served, "outbound", 200)), 1);
}

#[test]
fn open_streams_on_a_lane_go_up_and_down() {
    let sidecar = Proxy::new(&document("outbound"));
    let gauge = stat("graylane_open_streams{service=orders.shop,rollout=shop/summer,lane=canary,direction=outbound}");
    let first = sidecar.begin(&[(":authority", "orders"), ("x-release-stage", "canary")]);
    let second = sidecar.begin(&[(":authority", "orders"), ("x-release-stage", "canary")]);
    assert_eq!(sidecar.metric(&gauge), 2);
    sidecar.end(first, 200, 1);
    sidecar.end(second, 200, 1);
    assert_eq!(sidecar.metric(&gauge), 0);
}

#[test]
fn no_client_value_becomes_a_label() {
    let gateway = Proxy::new(&entry("gateway"));
    let mut known = 0;
    for round in 0..3_000 {
        let value = format!("value-{round}");
        let headers =
            [(":authority", "orders"), ("x-user-id", &value), ("x-release-stage", &value), ("x-tester-2", &value)];
        gateway.end(gateway.begin(&headers), 200, 1);
        gateway.end(gateway.begin(&[(":authority", &value), ("x-user-id", &value)]), 200, 1);
        if round == 1_000 {
            known = gateway.host.shared.metric_names().len();
        }
    }
    assert_eq!(gateway.host.shared.metric_names().len(), known);
    assert!(known < 20, "{:?}", gateway.host.shared.metric_names());
}
