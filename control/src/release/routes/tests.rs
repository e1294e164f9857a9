//! Each thing that can be wrong with routes and subsets, and that adoption mends it.

use serde_json::{Value, json};

use super::*;
use crate::istio::routes::{Version, adopt_rule, adopt_service};
use crate::istio::types::DestinationRule;
use crate::release::cluster::check_object;

fn release(member: Value) -> Release {
    let object = json!({
        "metadata": {"name": "summer", "namespace": "shop"},
        "spec": {
            "lanes": [{"name": "canary"}],
            "members": [member],
            "entry": {"gateways": [{"namespace": "edge"}]},
            "steps": [{"weight": "5%"}],
        },
    });
    check_object(&object).unwrap().release
}

fn service(http: Value) -> VirtualService {
    let object = json!({
        "metadata": {"name": "orders-routes", "namespace": "shop"},
        "spec": {"hosts": ["orders", "shop.example.com"], "http": http},
    });
    serde_json::from_value(object).unwrap()
}

fn rule(subsets: &[&str]) -> DestinationRule {
    let subsets: Vec<Value> = subsets.iter().map(|name| json!({"name": name, "labels": {"version": name}})).collect();
    let object = json!({
        "metadata": {"name": "orders-rule", "namespace": "shop"},
        "spec": {"host": "orders.shop.svc.cluster.local", "subsets": subsets},
    });
    serde_json::from_value(object).unwrap()
}

fn lane_route() -> Value {
    json!({
        "name": "graylane-canary",
        "match": [{"headers": {"x-graylane-route": {"exact": "canary"}}}],
        "headers": {"request": {"remove": ["x-graylane-route"]}},
        "route": [{"destination": {"host": "orders.shop.svc.cluster.local", "subset": "canary"}}],
    })
}

fn stable_route() -> Value {
    json!({"name": "stable", "route": [{"destination": {"host": "orders", "subset": "stable"}}]})
}

fn found(routes: Vec<VirtualService>, rules: Vec<DestinationRule>) -> Vec<Finding> {
    problems(&release(json!({"service": "orders"})), &Network::new(routes, rules))
}

/// The messages about one VirtualService, beside a good DestinationRule.
fn said(http: Value) -> Vec<String> {
    let found = found(vec![service(http)], vec![rule(&["stable", "canary"])]);
    found.into_iter().map(|finding| finding.message).collect()
}

#[test]
fn good_routes_are_fine() {
    assert_eq!(said(json!([lane_route(), stable_route()])), Vec::<String>::new());
}

#[test]
fn a_member_without_lanes_needs_no_routes() {
    let release = release(json!({"service": "orders", "lanes": []}));
    assert_eq!(problems(&release, &Network::default()), []);
}

#[test]
fn without_routes_and_subsets_it_is_said_what_makes_them() {
    let found = found(vec![], vec![]);
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "grayrelease/shop/summer: spec.members[0].service: no VirtualService has the host \
             `orders.shop.svc.cluster.local`; apply what `graylane generate virtualservice orders -n shop --subset \
             stable,canary --canary` prints",
            "grayrelease/shop/summer: spec.members[0].service: no DestinationRule of namespace shop has the host \
             `orders.shop.svc.cluster.local`; apply what `graylane generate destinationrule orders -n shop --subset \
             stable,canary` prints",
        ]
    );
}

#[test]
fn a_missing_lane_route_is_said_with_the_command_that_adds_it() {
    let found = found(vec![service(json!([stable_route()]))], vec![rule(&["stable", "canary"])]);
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["grayrelease/shop/summer: spec.members[0].service: VirtualService `orders-routes` has no route for lane \
          `canary`; apply what `kubectl get virtualservice orders-routes -n shop -o yaml | graylane generate \
          virtualservice orders -n shop --subset stable,canary --adopt -f -` prints"]
    );
}

#[test]
fn a_lane_route_to_elsewhere_is_said() {
    let mut wrong = lane_route();
    wrong["route"][0]["destination"]["subset"] = "stable".into();
    let expected =
        "route `graylane-canary` of VirtualService `orders-routes` does not lead to subset `canary` of the service";
    assert_eq!(said(json!([wrong, stable_route()])), [expected]);
}

#[test]
fn a_lane_route_that_leaves_the_route_header_is_said() {
    let mut wrong = lane_route();
    wrong["headers"]["request"]["remove"] = json!([]);
    let expected = "route `graylane-canary` of VirtualService `orders-routes` leaves x-graylane-route on the request";
    assert_eq!(said(json!([wrong, stable_route()])), [expected]);
}

#[test]
fn every_route_has_a_twin_before_it() {
    let api = json!({"match": [{"uri": {"prefix": "/api"}}], "route": stable_route()["route"]});
    let one = "route 1 of VirtualService `orders-routes` has no twin for lane `canary` before it";
    assert_eq!(said(json!([api, lane_route(), stable_route()])), [one]);
    let both = "routes 1, `stable` of VirtualService `orders-routes` have no twin for lane `canary` before them";
    assert_eq!(said(json!([api, stable_route(), lane_route()])), [both]);
}

#[test]
fn a_redirect_and_a_route_to_another_service_need_no_twin() {
    let redirect = json!({"match": [{"uri": {"exact": "/"}}], "redirect": {"uri": "/home"}});
    let other = json!({"match": [{"uri": {"prefix": "/pay"}}], "route": [{"destination": {"host": "payment"}}]});
    assert_eq!(said(json!([redirect, other, lane_route(), stable_route()])), Vec::<String>::new());
}

#[test]
fn a_last_route_that_is_not_stable_is_said() {
    let mut every = stable_route();
    every["route"][0]["destination"].as_object_mut().unwrap().remove("subset");
    let expected = "route `stable` of VirtualService `orders-routes` sends requests to every version of the service, \
                    those of lanes too";
    assert_eq!(said(json!([lane_route(), every])), [expected]);
    let mut split = stable_route();
    split["route"] = json!([
        {"destination": {"host": "orders", "subset": "stable"}, "weight": 90},
        {"destination": {"host": "orders", "subset": "canary"}, "weight": 10},
    ]);
    let expected = "route `stable` of VirtualService `orders-routes` sends requests to lane `canary` that did not ask \
                    for it";
    assert_eq!(said(json!([lane_route(), split])), [expected]);
    let expected = "VirtualService `orders-routes` has no route to the service";
    assert_eq!(said(json!([lane_route()])), [expected]);
}

#[test]
fn a_missing_subset_is_said_with_the_command_that_adds_it() {
    let found = found(vec![service(json!([lane_route(), stable_route()]))], vec![rule(&["canary"])]);
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "grayrelease/shop/summer: spec.members[0].service: DestinationRule `orders-rule` has no subset `stable`; apply \
          what `kubectl get destinationrule orders-rule -n shop -o yaml | graylane generate destinationrule orders -n \
          shop --subset stable,canary --adopt -f -` prints"
        ]
    );
}

#[test]
fn routes_by_the_carried_header_are_the_users_own() {
    let release = release(json!({"service": "orders", "routeBy": "carried"}));
    let by = |header: &str| {
        json!({
            "match": [{"headers": {header: {"exact": "canary"}}}],
            "route": [{"destination": {"host": "orders", "subset": "canary"}}],
        })
    };
    let said = |header| {
        let network =
            Network::new(vec![service(json!([by(header), stable_route()]))], vec![rule(&["stable", "canary"])]);
        problems(&release, &network).into_iter().map(|finding| finding.message).collect::<Vec<_>>()
    };
    assert_eq!(said("x-release-stage"), Vec::<String>::new());
    assert!(said("x-other")[0].contains("sends requests to lane `canary` that did not ask for it"));
}

#[test]
fn an_outside_host_with_routes_of_its_own_needs_twins_too() {
    let release = release(json!({"service": "orders", "hosts": ["www.example.com"]}));
    let object = json!({
        "metadata": {"name": "www", "namespace": "edge"},
        "spec": {
            "hosts": ["www.example.com"],
            "http": [{"route": [{"destination": {"host": "orders.shop.svc.cluster.local", "subset": "stable"}}]}],
        },
    });
    let outside = serde_json::from_value(object).unwrap();
    let own = service(json!([lane_route(), stable_route()]));
    let network = Network::new(vec![own, outside], vec![rule(&["stable", "canary"])]);
    let found = problems(&release, &network);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].message, "VirtualService `www` has no route for lane `canary`");
    assert!(found[0].mend.contains("kubectl get virtualservice www -n edge"), "{}", found[0].mend);
}

#[test]
fn delegated_routes_are_looked_at_where_they_are() {
    let root = service(json!([{"match": [{"uri": {"prefix": "/"}}], "delegate": {"name": "inner"}}]));
    let inner = |http: Value| {
        let object = json!({"metadata": {"name": "inner", "namespace": "shop"}, "spec": {"http": http}});
        serde_json::from_value::<VirtualService>(object).unwrap()
    };
    let rules = || vec![rule(&["stable", "canary"])];
    assert_eq!(found(vec![root.clone(), inner(json!([lane_route(), stable_route()]))], rules()), []);
    let found = found(vec![root, inner(json!([stable_route()]))], rules());
    assert_eq!(found[0].message, "VirtualService `inner` has no route for lane `canary`");
}

/// What is refused is mended by the command that the refusal names.
#[test]
fn adoption_mends_everything_that_it_is_named_for() {
    let api = json!({
        "name": "api",
        "match": [{"uri": {"prefix": "/api"}, "headers": {"x-a": {"exact": "b"}}}, {"uri": {"prefix": "/v1"}}],
        "rewrite": {"uri": "/"},
        "route": [{"destination": {"host": "orders", "port": {"number": 80}}}],
    });
    let mut object = service(json!([api, {"route": [{"destination": {"host": "orders"}}]}]));
    let mut subsets = rule(&["v1"]);
    assert!(found(vec![object.clone()], vec![subsets.clone()]).len() > 3);
    adopt_service(&mut object, "shop", "orders", &["canary".to_owned()]).unwrap();
    adopt_rule(&mut subsets, "shop", "orders", &[Version::named("stable"), Version::named("canary")]);
    assert_eq!(found(vec![object], vec![subsets]), []);
}
