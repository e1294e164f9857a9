//! Marking once, carrying on every hop, falling back: whole decisions with their header writes.

mod support;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use graylane_policy::ring::Note;
use graylane_policy::{Cohort, Reason};
use serde_json::{Value, json};
use support::{Request, document, is, plain, policy, rule, writes};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn slots(lane: &str, until: u32) -> Value {
    let runs = if until == 10_000 {
        json!([{"until": 10_000, "lane": lane}])
    } else {
        json!([{"until": until, "lane": lane}, {"until": 10_000, "lane": "stable"}])
    };
    json!({"salt": "summer-1", "runs": runs})
}

fn sticky(until: u32, no_unit: &str) -> Value {
    json!({"slots": slots("canary", until), "stickiness": {"unit": [{"header": "x-user-id"}], "noUnit": no_unit}})
}

fn with_baggage(mut document: Value) -> Value {
    document["groups"][0]["baggage"] = json!(true);
    document
}

fn with_trace(mut document: Value) -> Value {
    document["groups"][0]["lanes"]["trace"] = json!({"workloads": ["cart"], "ttlMs": 1000});
    document
}

#[test]
fn a_stable_request_is_never_written_to() {
    for role in ["gateway", "inbound", "outbound"] {
        let policy = policy(&with_baggage(document(role, sticky(1, "stable"))));
        let request = Request::to("orders").with("baggage", "k=v").with("traceparent", TRACEPARENT);
        let request = if role == "gateway" { Request::to("orders") } else { request };
        assert_eq!(writes(&request.decide(&policy)), Vec::<String>::new(), "{role}");
    }
}

#[test]
fn the_entry_marks_the_request_and_routes_the_first_hop() {
    let policy = policy(&with_baggage(document("gateway", rule(is(json!({"header": "x-tester"}), json!("present"))))));
    let decision = Request::to("Orders.Shop:8080").with("x-tester", "1").decide(&policy);
    assert_eq!(
        writes(&decision),
        [
            "x-release-stage=canary",
            "x-graylane-cohort=shop=rule",
            "baggage=graylane.shop=canary;cohort=rule",
            "x-graylane-route=canary"
        ]
    );
    assert_eq!((decision.destination, decision.cohort), (Some(0), Cohort::Rule));
}

#[test]
fn what_already_stands_is_not_written_again() {
    let policy = policy(&with_baggage(plain("outbound")));
    let request = Request::to("orders")
        .with("x-release-stage", "canary")
        .with("x-graylane-cohort", "shop=slot")
        .with("baggage", "a=1,graylane.shop=canary;cohort=slot");
    assert_eq!(writes(&request.decide(&policy)), ["x-graylane-route=canary"]);
}

#[test]
fn lane_sources_are_asked_in_their_order() {
    let policy = policy(&with_trace(with_baggage(plain("outbound"))));
    let pod = policy.pod_lane(None, "v2");
    let note = Note::decode(&noted(&policy, "canary")).unwrap();
    let call = Request::to("orders").with("traceparent", TRACEPARENT);
    let reason = |request: &Request| {
        let choice = request.decide(&policy).choices[0];
        (policy.groups()[0].lane_name(choice.lane).to_owned(), choice.reason)
    };
    let stable = call.clone();
    assert_eq!(reason(&stable), ("stable".into(), Reason::None));
    let traced = Request { note: Some(note), now_unix_ms: 1_500, ..call };
    assert_eq!(reason(&traced), ("canary".into(), Reason::Trace));
    let pod = Request { pod, ..traced };
    assert_eq!(reason(&pod), ("v2".into(), Reason::Pod));
    let baggage = pod.with("baggage", "graylane.shop=canary");
    assert_eq!(reason(&baggage), ("canary".into(), Reason::Baggage));
    let header = baggage.with("x-release-stage", "v2");
    assert_eq!(reason(&header), ("v2".into(), Reason::Header));
}

/// The note that the inbound side leaves for a request in a lane.
fn noted(outbound: &graylane_policy::Policy, lane: &str) -> Vec<u8> {
    assert!(outbound.wants_note(&Request::to("orders").inputs(&Request::to("orders").capture(outbound))));
    let inbound = policy(&with_trace(plain("inbound")));
    let request = Request { now_unix_ms: 1_000, ..Request::to("cart") };
    let request =
        request.with("x-release-stage", lane).with("x-graylane-cohort", "shop=slot").with("traceparent", TRACEPARENT);
    let captured = request.capture(&inbound);
    let inputs = request.inputs(&captured);
    inbound.note_of(&inbound.decide(&inputs), &inputs).expect("a lane request leaves a note").encode()
}

#[test]
fn a_stale_note_and_a_note_from_the_future_are_not_believed() {
    let policy = policy(&with_trace(plain("outbound")));
    let note = Note::decode(&noted(&policy, "canary")).unwrap();
    let at = |ms| Request {
        note: Some(note.clone()),
        now_unix_ms: ms,
        ..Request::to("orders").with("traceparent", TRACEPARENT)
    };
    assert_eq!([at(999), at(2_000), at(2_001)].map(|request| request.lane(&policy)), ["stable", "canary", "stable"]);
}

#[test]
fn a_lane_that_is_not_ready_falls_back_and_goes_on() {
    let mut document = plain("outbound");
    document["groups"][0]["lanes"]["destinations"][0]["ready"] = json!(["v2"]);
    let policy = policy(&document);
    let decision =
        Request::to("orders").with("x-release-stage", "canary").with("x-graylane-cohort", "shop=slot").decide(&policy);
    assert!(decision.served.is_stable() && decision.cohort == Cohort::Fallback);
    assert_eq!(writes(&decision), Vec::<String>::new(), "no route header, and the lane stays on for further hops");
}

#[test]
fn a_service_that_is_no_member_gets_the_lane_and_no_route() {
    let policy = policy(&plain("outbound"));
    let pod = policy.pod_lane(None, "canary");
    let decision = Request { pod, ..Request::to("mail.example.com") }.decide(&policy);
    assert_eq!(writes(&decision), ["x-release-stage=canary"]);
    assert_eq!(decision.destination, None);
}

#[test]
fn route_by_carried_writes_no_route_header() {
    let mut document = plain("outbound");
    document["groups"][0]["lanes"]["destinations"][0]["routeBy"] = json!("carried");
    document["groups"][0]["lanes"]["destinations"][0]["ready"] = json!([]);
    let policy = policy(&document);
    let decision =
        Request::to("orders").with("x-release-stage", "canary").with("x-graylane-cohort", "shop=slot").decide(&policy);
    assert_eq!(writes(&decision), Vec::<String>::new());
    assert!(!decision.served.is_stable(), "the user's own route sends it to the lane");
}

#[test]
fn a_unit_decides_by_its_slot_alone() {
    let policy = policy(&document("gateway", sticky(2_500, "stable")));
    for user in 0..200 {
        let unit = format!("user-{user}");
        let decision = Request::to("orders").with("x-user-id", &unit).decide(&policy);
        let slot = graylane_policy::hash::slot_of(unit.as_bytes(), "summer-1");
        assert_eq!(decision.choices[0].slot, Some(slot));
        assert_eq!(!decision.choices[0].lane.is_stable(), slot < 2_500);
        assert_eq!(decision.choices[0].cohort, Cohort::Slot);
    }
}

#[test]
fn the_first_request_already_uses_the_unit_of_its_cookie() {
    let policy = policy(&document("gateway", sticky(5_000, "cookie")));
    for seed in 0..50_u64 {
        let first = Request { random: [seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), seed], ..Request::to("orders") };
        let decision = first.decide(&policy);
        let unit = decision.issued_unit.expect("a unit is issued");
        assert!(decision.choices[0].issued);
        let again = Request::to("orders").with("cookie", format!("graylane-unit={}", String::from_utf8_lossy(&unit)));
        let second = again.decide(&policy);
        assert_eq!((second.choices[0].lane, second.issued_unit), (decision.choices[0].lane, None));
    }
}

#[test]
fn no_cookie_is_issued_while_nothing_is_weighted() {
    let policy =
        policy(&document("gateway", json!({"slots": slots("stable", 10_000), "stickiness": {"noUnit": "cookie"}})));
    assert_eq!(Request::to("orders").decide(&policy).issued_unit, None);
}

#[test]
fn without_a_unit_the_policy_decides() {
    let stable = policy(&document("gateway", sticky(10_000, "stable")));
    let choice = Request { random: [0, 0], ..Request::to("orders") }.decide(&stable).choices[0];
    assert!(choice.lane.is_stable() && choice.cohort == Cohort::Random);
    let random = policy(&document("gateway", sticky(5_000, "random")));
    let draw = |bits: u64| Request { random: [bits, 0], ..Request::to("orders") }.decide(&random).choices[0];
    let in_lane = (0..1_000).filter(|&bits| !draw(bits).lane.is_stable()).count();
    assert!((430..=570).contains(&in_lane) && draw(0).cohort == Cohort::Random, "about half: {in_lane}");
}

#[test]
fn random_draws_of_two_groups_are_independent() {
    let draws = |salt: &str| {
        let mut entry = sticky(1_000, "random");
        entry["slots"]["salt"] = json!(salt);
        document("gateway", entry)
    };
    let mut both = draws("shop/summer#1");
    let mut pay = draws("pay/winter#1")["groups"][0].take();
    pay["name"] = json!("pay");
    pay["carriedHeader"] = json!("x-pay-stage");
    pay["lanes"]["destinations"] = json!([]);
    both["groups"].as_array_mut().unwrap().push(pay);
    let policy = policy(&both);
    let (mut first, mut in_both) = (0_u32, 0_u32);
    for bits in 0..20_000 {
        let decision = Request { random: [bits, bits], ..Request::to("orders") }.decide(&policy);
        let [shop, pay] = [0, 1].map(|group: usize| !decision.choices[group].lane.is_stable());
        first += u32::from(shop);
        in_both += u32::from(shop && pay);
    }
    let overlap = f64::from(in_both) / f64::from(first);
    assert!((0.07..=0.13).contains(&overlap), "overlap of two 10% draws: {overlap}");
}

#[test]
fn lapsed_weights_pick_nobody_and_testers_keep_access() {
    let mut entry = sticky(10_000, "stable");
    entry["slots"]["expiresUnix"] = json!(100);
    entry["rules"] =
        json!([{"name": "testers", "lane": "v2", "when": is(json!({"header": "x-tester"}), json!("present"))}]);
    let policy = policy(&document("gateway", entry));
    let user = |ms| Request { now_unix_ms: ms, ..Request::to("orders").with("x-user-id", "u") };
    assert_eq!(user(99_999).lane(&policy), "canary");
    assert_eq!(user(100_000).lane(&policy), "stable");
    assert_eq!(user(100_000).decide(&policy).choices[0].reason, Reason::Expired);
    assert_eq!(user(100_000).with("x-tester", "").lane(&policy), "v2");
}

#[test]
fn groups_on_one_gateway_choose_independently() {
    let mut both = document("gateway", rule(is(json!({"header": "x-tester"}), json!("present"))));
    let mut pay = both["groups"][0].clone();
    pay["name"] = json!("pay");
    pay["rollout"] = json!("pay/winter");
    pay["carriedHeader"] = json!("x-pay-stage");
    pay["lanes"]["destinations"][0] = json!({"service": "pay.pay", "hosts": ["pay"], "ready": ["canary"]});
    pay["entry"] = rule(is(json!({"header": "x-payer"}), json!("present")));
    both["groups"].as_array_mut().unwrap().push(pay);
    let policy = policy(&both);
    let decision = Request::to("pay").with("x-tester", "").with("x-payer", "").decide(&policy);
    assert_eq!(
        writes(&decision),
        [
            "x-release-stage=canary",
            "x-pay-stage=canary",
            "x-graylane-cohort=shop=rule,pay=rule",
            "x-graylane-route=canary"
        ]
    );
    let one = Request::to("orders").with("x-payer", "").decide(&policy);
    assert_eq!(writes(&one), ["x-pay-stage=canary", "x-graylane-cohort=pay=rule"], "orders is of the other group");
}

#[test]
fn cohorts_of_groups_unknown_here_are_kept_on_the_way() {
    let policy = policy(&plain("outbound"));
    let request =
        Request::to("orders").with("x-release-stage", "canary").with("x-graylane-cohort", "pay=slot,shop=rule");
    assert_eq!(writes(&request.decide(&policy)), ["x-graylane-route=canary"]);
    let pod = policy.pod_lane(None, "canary");
    let lost = Request { pod, ..Request::to("orders").with("x-graylane-cohort", "pay=slot") };
    assert_eq!(writes(&lost.decide(&policy)), ["x-release-stage=canary", "x-graylane-route=canary"]);
}

#[test]
fn a_pods_lane_is_its_own_groups() {
    let mut two = plain("outbound");
    let mut pay = two["groups"][0].clone();
    pay["name"] = json!("pay");
    pay["carriedHeader"] = json!("x-pay-stage");
    pay["lanes"]["destinations"] = json!([]);
    two["groups"].as_array_mut().unwrap().push(pay);
    let policy = policy(&two);
    assert_eq!(policy.pod_lane(None, "canary"), None, "two groups have a canary: no guess");
    assert_eq!(policy.pod_lane(Some("pay"), "canary").map(|pod| pod.group), Some(1));
    assert_eq!(policy.pod_lane(Some("pay"), "nonsense"), None);
}

#[test]
fn an_inbound_request_counts_for_the_pod_that_serves_it() {
    let policy = policy(&plain("inbound"));
    let canary_pod = policy.pod_lane(None, "canary");
    let wanted = Request::to("orders").with("x-release-stage", "canary").with("x-graylane-cohort", "shop=slot");
    let served = |request: Request| {
        let decision = request.decide(&policy);
        (policy.groups()[0].lane_name(decision.served).to_owned(), decision.cohort)
    };
    assert_eq!(served(wanted.clone()), ("stable".into(), Cohort::Fallback));
    assert_eq!(served(Request { pod: canary_pod, ..wanted }), ("canary".into(), Cohort::Slot));
    assert_eq!(served(Request { pod: canary_pod, ..Request::to("orders") }), ("canary".into(), Cohort::Unknown));
}

#[test]
fn an_entry_filter_of_a_sidecar_chooses_and_leaves_routing_alone() {
    let mut entry = document("inbound", rule(is(json!({"header": "x-tester"}), json!("present"))));
    entry["entryOnly"] = json!(true);
    let policy = policy(&entry);
    assert_eq!(policy.role_label(), "entry");
    let decision = Request::to("orders").with("x-tester", "").with("x-graylane-route", "v2").decide(&policy);
    assert_eq!(writes(&decision), ["x-release-stage=canary", "x-graylane-cohort=shop=rule"]);
}

#[test]
fn an_inert_document_does_nothing() {
    let policy = policy(&json!({"version": 1, "generation": 3, "role": "gateway", "groups": []}));
    assert!(policy.is_inert());
    let request = Request::to("orders").with("x-release-stage", "canary");
    assert!(writes(&request.decide(&policy)).is_empty());
}
