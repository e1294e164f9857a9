//! Marks under way: whom they are believed, what becomes of forged and repeated ones, and how the
//! cohort travels with them.

mod support;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use graylane_policy::ring::NotedLane;
use graylane_policy::{Cohort, Inputs, Reason};
use serde_json::{Value, json};
use support::{Request, document, is, plain, policy, rule, writes};

fn with_baggage(mut document: Value) -> Value {
    document["groups"][0]["baggage"] = json!(true);
    document
}

#[test]
fn the_cohort_travels_with_the_lane() {
    let policy = policy(&with_baggage(plain("outbound")));
    let cohort = |request: Request| request.decide(&policy).choices[0].cohort;
    let lane = |request: Request| request.with("x-release-stage", "canary");
    assert_eq!(cohort(lane(Request::to("orders").with("x-graylane-cohort", "pay=rule, shop=slot"))), Cohort::Slot);
    assert_eq!(cohort(lane(Request::to("orders"))), Cohort::Unknown);
    assert_eq!(cohort(Request::to("orders").with("baggage", "graylane.shop=canary;cohort=random")), Cohort::Random);
    assert_eq!(cohort(Request::to("orders")), Cohort::Slot, "stable is the baseline");
}

#[test]
fn a_cohort_survives_where_either_of_its_places_does() {
    let policy = policy(&with_baggage(plain("outbound")));
    let lost_list = Request::to("orders")
        .with("x-release-stage", "canary")
        .with("baggage", "a=1,graylane.shop=canary;cohort=slot")
        .decide(&policy);
    assert_eq!(lost_list.cohort, Cohort::Slot);
    assert_eq!(writes(&lost_list), ["x-graylane-cohort=shop=slot", "x-graylane-route=canary"], "baggage stays");
    let bare_member =
        Request::to("orders").with("baggage", "graylane.shop=canary").with("x-graylane-cohort", "shop=slot");
    assert_eq!(bare_member.decide(&policy).cohort, Cohort::Slot);
    let of_another_lane =
        Request::to("orders").with("x-release-stage", "v2").with("baggage", "graylane.shop=canary;cohort=slot");
    assert_eq!(of_another_lane.decide(&policy).cohort, Cohort::Unknown);
}

#[test]
fn a_fallback_is_of_one_hop() {
    let policy = policy(&plain("outbound"));
    let request = Request::to("orders").with("x-release-stage", "canary").with("x-graylane-cohort", "shop=fallback");
    assert_eq!(request.decide(&policy).cohort, Cohort::Unknown);
}

#[test]
fn cohorts_on_several_lines_are_one_list() {
    let policy = policy(&plain("outbound"));
    let request = Request::to("orders").with("x-release-stage", "canary").with("x-graylane-cohort", "pay=rule");
    assert_eq!(request.with("x-graylane-cohort", "shop=slot").decide(&policy).cohort, Cohort::Slot);
}

#[test]
fn marks_on_several_lines_become_one() {
    // A route compares the lines joined: `canary,canary` is no lane.
    let policy = policy(&plain("outbound"));
    let twice = Request::to("orders")
        .with("x-release-stage", "canary")
        .with("x-release-stage", "canary")
        .with("x-graylane-cohort", "shop=slot")
        .with("x-graylane-route", "canary")
        .with("x-graylane-route", "v2");
    assert_eq!(writes(&twice.decide(&policy)), ["x-release-stage=canary", "x-graylane-route=canary"]);
}

#[test]
fn what_a_gateway_moved_away_does_not_travel_on() {
    let moved = Request::to("orders").with("x-graylane-untrusted-x-release-stage", "canary");
    assert_eq!(writes(&moved.decide(&policy(&plain("gateway")))), ["x-graylane-untrusted-x-release-stage-"]);
    assert_eq!(writes(&moved.decide(&policy(&plain("outbound")))), Vec::<String>::new());
}

#[test]
fn a_client_whose_mark_is_accepted_does_not_choose_its_cohort() {
    let mut document = with_baggage(plain("gateway"));
    document["groups"][0]["clientMarks"] = json!("accept");
    let decision =
        Request::to("orders").with("baggage", "graylane.shop=canary;cohort=slot").decide(&policy(&document)).cohort;
    assert_eq!(decision, Cohort::Rule);
}

#[test]
fn a_member_named_like_a_mirror_is_none() {
    let mut document = plain("outbound");
    document["groups"][0]["lanes"]["destinations"][0]["hosts"] = json!(["orders-shadow"]);
    let policy = policy(&document);
    let is_mirror = |authority: &str| policy.is_mirror(&Request::to(authority).capture(&policy));
    assert!(!is_mirror("orders-shadow") && is_mirror("orders-shadow-shadow") && is_mirror("mail-shadow:80"));
}

#[test]
fn a_route_header_from_outside_never_survives() {
    for role in ["gateway", "inbound", "outbound"] {
        let policy = policy(&plain(role));
        let decision = Request::to("orders").with("x-graylane-route", "canary").decide(&policy);
        assert_eq!(writes(&decision), ["x-graylane-route-"], "{role}");
    }
}

#[test]
fn a_gateway_drops_what_clients_claim() {
    let policy = policy(&with_baggage(plain("gateway")));
    let forged = Request::to("orders")
        .with("x-release-stage", "canary")
        .with("x-graylane-cohort", "shop=slot")
        .with("baggage", "a=1, graylane.shop=canary;cohort=slot ,b=2");
    let decision = forged.decide(&policy);
    assert!(decision.choices[0].lane.is_stable());
    assert_eq!(writes(&decision), ["x-release-stage-", "x-graylane-cohort-", "baggage=a=1,b=2"]);
}

#[test]
fn a_gateway_puts_back_the_baggage_that_was_moved_away() {
    let policy = policy(&with_baggage(plain("gateway")));
    let moved = Request::to("orders").with("x-graylane-untrusted-baggage", "a=1,graylane.shop=canary");
    assert_eq!(writes(&moved.decide(&policy)), ["x-graylane-untrusted-baggage-", "baggage=a=1"]);
}

#[test]
fn a_rule_may_believe_a_clients_mark() {
    let policy =
        policy(&document("gateway", rule(is(json!({"header": "x-release-stage"}), json!({"exact": "canary"})))));
    let moved = Request::to("orders").with("x-graylane-untrusted-x-release-stage", "canary");
    assert_eq!(moved.lane(&policy), "canary");
}

#[test]
fn accepted_marks_are_an_explicit_wish() {
    let mut document = plain("gateway");
    document["groups"][0]["clientMarks"] = json!("accept");
    let policy = policy(&document);
    let decision = Request::to("orders").with("x-graylane-untrusted-x-release-stage", "canary").decide(&policy);
    assert_eq!((decision.choices[0].reason, decision.cohort), (Reason::Header, Cohort::Rule));
    assert_eq!(Request::to("orders").with("x-release-stage", "nonsense").lane(&policy), "stable");
}

#[test]
fn marks_of_peers_count_only_with_an_identity() {
    let mut document = plain("inbound");
    document["groups"][0]["clientMarks"] = json!("peers");
    let policy = policy(&document);
    let marked = Request::to("orders").with("x-release-stage", "canary");
    assert_eq!(marked.lane(&policy), "stable");
    assert_eq!(writes(&marked.decide(&policy)), ["x-release-stage-"]);
    let known = Request { peer: Some("spiffe://cluster.local/ns/shop/sa/web".into()), ..marked };
    assert_eq!(known.lane(&policy), "canary");
}

#[test]
fn a_verified_tag_comes_before_everything_else() {
    let mut document = document("gateway", rule(is(json!("path"), json!("present"))));
    document["groups"][0]["clientMarks"] = json!("accept");
    let policy = policy(&document);
    let request = Request::to("orders").with("x-release-stage", "canary");
    let captured = request.capture(&policy);
    let decide = |group: &str, lane: &str| {
        let tags = [NotedLane { group: group.into(), lane: lane.into(), cohort: Cohort::Slot }];
        let choice = policy.decide(&Inputs { tags: &tags, ..request.inputs(&captured) }).choices[0];
        (policy.groups()[0].lane_name(choice.lane), choice.reason, choice.cohort)
    };
    assert_eq!(decide("shop", "v2"), ("v2", Reason::Tag, Cohort::Rule));
    assert_eq!(decide("pay", "v2").1, Reason::Header, "a tag of another group");
    assert_eq!(decide("shop", "gone").1, Reason::Header, "a lane that is no more");
}

#[test]
fn an_entry_on_the_inbound_side_believes_clients_as_little_as_a_gateway() {
    let rules = || rule(is(json!({"header": "x-tester"}), json!("present")));
    let forged = Request::to("orders").with("x-release-stage", "canary");
    for entry_only in [false, true] {
        let mut document = document("inbound", rules());
        document["entryOnly"] = json!(entry_only);
        let entry = policy(&document);
        assert_eq!(forged.lane(&entry), "stable");
        assert_eq!(writes(&forged.decide(&entry)), ["x-release-stage-"]);
        document["groups"][0]["clientMarks"] = json!("accept");
        assert_eq!(forged.lane(&policy(&document)), "canary", "unless it is told to");
    }
    assert_eq!(forged.lane(&policy(&plain("inbound"))), "canary", "behind the entry, marks are the mesh's own");
    assert_eq!(forged.lane(&policy(&document("outbound", rules()))), "canary", "so are those of the local app");
}
