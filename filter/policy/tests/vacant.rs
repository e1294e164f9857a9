//! A version that Envoy has no endpoint for, although the document calls it ready.

mod support;

use graylane_policy::lane::STABLE;
use graylane_policy::vacant::{HOLD_MS, Vacant, Version};
use graylane_policy::{Cohort, LaneId, Reason};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use support::{Request, plain, policy, writes};

const CANARY: Version = (0, LaneId(1));
const V2: Version = (0, LaneId(2));
const NOON: u64 = 1_800_000_000_000;

fn vacant(version: Version) -> Vacant {
    let mut vacant = Vacant::default();
    vacant.note(version, NOON);
    vacant
}

fn in_lane(lane: &str, vacant: &Vacant, now_unix_ms: u64) -> Request {
    let request = Request::to("orders").with("x-release-stage", lane);
    Request { vacant: vacant.clone(), now_unix_ms, ..request }
}

#[test]
fn a_lane_without_an_endpoint_falls_back_like_one_that_is_not_ready() {
    let ready = policy(&plain("outbound"));
    let mut document = plain("outbound");
    document["groups"][0]["lanes"]["destinations"][0]["ready"] = serde_json::json!([]);
    let unready = policy(&document);
    let known = in_lane("canary", &Vacant::default(), NOON).decide(&unready).clone();
    let met = in_lane("canary", &vacant(CANARY), NOON).decide(&ready).clone();
    assert_eq!((met.served, met.cohort), (STABLE, Cohort::Fallback));
    assert_eq!((known.served, known.cohort, writes(&known)), (met.served, met.cohort, writes(&met)));
    // It stays in its lane for whoever comes next on its way.
    assert_eq!((met.choices[0].lane, met.choices[0].reason), (LaneId(1), Reason::Header));
}

#[test]
fn a_route_header_that_already_stands_is_removed() {
    let outbound = policy(&plain("outbound"));
    let request = in_lane("canary", &vacant(CANARY), NOON).with("x-graylane-route", "canary");
    assert_eq!(writes(&request.decide(&outbound)), ["x-graylane-route-"]);
}

#[test]
fn it_is_asked_again_after_a_while_and_each_such_answer_counts_anew() {
    let outbound = policy(&plain("outbound"));
    let mut met = vacant(CANARY);
    let served = |met: &Vacant, now| in_lane("canary", met, now).decide(&outbound).served;
    assert_eq!(served(&met, NOON + HOLD_MS - 1), STABLE);
    assert_eq!(served(&met, NOON + HOLD_MS), LaneId(1));
    met.note(CANARY, NOON + HOLD_MS);
    assert_eq!(served(&met, NOON + 2 * HOLD_MS - 1), STABLE);
    assert_eq!(served(&met, NOON + 2 * HOLD_MS), LaneId(1));
    // A clock that was set back keeps nobody from the lane for longer.
    assert_eq!(served(&met, NOON - HOLD_MS), LaneId(1));
}

#[test]
fn other_lanes_other_services_and_stable_do_not_notice() {
    let mut document = plain("gateway");
    let carts = serde_json::json!({"service": "cart.shop", "hosts": ["cart"], "ready": ["canary"]});
    document["groups"][0]["lanes"]["destinations"].as_array_mut().unwrap().push(carts);
    document["groups"][0]["clientMarks"] = "accept".into();
    let gateway = policy(&document);
    let met = vacant(CANARY);
    assert_eq!(in_lane("v2", &met, NOON).decide(&gateway).served, V2.1);
    let cart = Request { vacant: met.clone(), now_unix_ms: NOON, ..Request::to("cart") };
    assert_eq!(cart.with("x-release-stage", "canary").decide(&gateway).served, CANARY.1);
    let stable = Request { vacant: met, now_unix_ms: NOON, ..Request::to("orders") }.decide(&gateway);
    assert_eq!((stable.served, stable.cohort, writes(&stable)), (STABLE, Cohort::Slot, Vec::new()));
}

#[test]
fn stable_without_an_endpoint_stays_with_stable() {
    let outbound = policy(&plain("outbound"));
    let met = vacant((0, STABLE));
    assert!(!met.holds((0, STABLE), NOON));
    let stable = Request { vacant: met, now_unix_ms: NOON, ..Request::to("orders") }.decide(&outbound);
    assert_eq!((stable.served, stable.cohort, writes(&stable)), (STABLE, Cohort::Slot, Vec::new()));
}

#[test]
fn where_the_carried_header_routes_the_lane_is_counted_as_what_serves() {
    let mut document = plain("outbound");
    document["groups"][0]["lanes"]["destinations"][0]["routeBy"] = "carried".into();
    let served = in_lane("canary", &vacant(CANARY), NOON).decide(&policy(&document)).served;
    assert_eq!(served, CANARY.1);
}
