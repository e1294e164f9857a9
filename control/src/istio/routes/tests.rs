use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Canary, Plan, TlsMode, Version, adopt_rule, adopt_service, destination_rule, virtual_service};
use crate::istio::manifest;
use crate::istio::types::{DestinationRule, VirtualService};

/// A VirtualService with much of what Istio lets a route say.
const EXISTING: &str = r#"
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: orders, namespace: shop, labels: {team: "on"}}
spec:
  hosts: [orders, shop.example.com]
  gateways: [istio-ingress/shop, mesh]
  http:
  - name: api
    match:
    - {uri: {prefix: /api}, headers: {x-tenant: {exact: a}}}
    - {uri: {prefix: /v2}, withoutHeaders: {x-old: {}}, gateways: [mesh]}
    route:
    - {destination: {host: orders, subset: v1, port: {number: 80}}, weight: 90, headers: {response: {add: {x-v: "1"}}}}
    - {destination: {host: orders, subset: v2, port: {number: 80}}, weight: 10}
    timeout: 5s
    retries: {attempts: 3, retryOn: 5xx}
    fault: {delay: {fixedDelay: 1s, percentage: {value: 0.1}}}
    mirror: {host: audit}
    corsPolicy: {allowOrigins: [{exact: https://example.com}]}
    headers: {request: {set: {x-a: "1"}, remove: [x-b]}, response: {remove: [server]}}
  - match: [{uri: {exact: /old}}]
    redirect: {uri: /new}
  - match: [{uri: {prefix: /both}}]
    route:
    - {destination: {host: orders.shop.svc.cluster.local}, weight: 50}
    - {destination: {host: legacy}, weight: 50}
  - match: [{uri: {prefix: /other}}]
    route: [{destination: {host: legacy}}]
  - route: [{destination: {host: orders}}]
"#;

fn existing() -> VirtualService {
    serde_saphyr::from_str(EXISTING).unwrap()
}

fn adopted(lanes: &[&str]) -> VirtualService {
    let lanes: Vec<String> = lanes.iter().map(|lane| (*lane).to_owned()).collect();
    let mut object = existing();
    adopt_service(&mut object, "default", "orders", &lanes);
    object
}

fn route(object: &VirtualService, name: &str) -> Value {
    serde_json::to_value(object.spec.http.iter().find(|route| route.name == name).unwrap()).unwrap()
}

#[test]
fn every_route_to_the_service_gets_a_twin_for_each_lane_right_before_it() {
    let names: Vec<String> = adopted(&["canary", "v2"]).spec.http.into_iter().map(|route| route.name).collect();
    assert_eq!(
        names,
        [
            "graylane-canary-api",
            "graylane-v2-api",
            "api",
            "",
            "graylane-canary-3",
            "graylane-v2-3",
            "",
            "",
            "graylane-canary-5",
            "graylane-v2-5",
            "",
        ]
    );
}

#[test]
fn a_twin_is_its_route_with_the_header_asked_for_and_the_lane_in_place_of_the_versions() {
    let lane = json!({"exact": "canary"});
    assert_eq!(
        route(&adopted(&["canary"]), "graylane-canary-api"),
        json!({
            "name": "graylane-canary-api",
            "match": [
                {"uri": {"prefix": "/api"}, "headers": {"x-tenant": {"exact": "a"}, "x-graylane-route": lane}},
                {"uri": {"prefix": "/v2"}, "withoutHeaders": {"x-old": {}}, "gateways": ["mesh"],
                    "headers": {"x-graylane-route": lane}},
            ],
            "route": [{"destination": {"host": "orders", "subset": "canary", "port": {"number": 80}},
                "headers": {"response": {"add": {"x-v": "1"}}}}],
            "timeout": "5s",
            "retries": {"attempts": 3, "retryOn": "5xx"},
            "fault": {"delay": {"fixedDelay": "1s", "percentage": {"value": 0.1}}},
            "mirror": {"host": "audit"},
            "corsPolicy": {"allowOrigins": [{"exact": "https://example.com"}]},
            "headers": {"request": {"set": {"x-a": "1"}, "remove": ["x-b", "x-graylane-route"]},
                "response": {"remove": ["server"]}},
        })
    );
}

#[test]
fn destinations_of_other_services_keep_their_share_in_a_twin() {
    assert_eq!(
        route(&adopted(&["canary"]), "graylane-canary-3")["route"],
        json!([
            {"destination": {"host": "orders.shop.svc.cluster.local", "subset": "canary"}, "weight": 50},
            {"destination": {"host": "legacy"}, "weight": 50},
        ])
    );
}

#[test]
fn a_route_that_matches_everything_has_a_twin_that_matches_the_header_alone() {
    let twin = route(&adopted(&["canary"]), "graylane-canary-5");
    assert_eq!(twin["match"], json!([{"headers": {"x-graylane-route": {"exact": "canary"}}}]));
}

#[test]
fn native_routes_keep_everything_go_to_stable_and_take_the_route_header_away() {
    let object = adopted(&["canary"]);
    let removed = json!({"request": {"remove": ["x-graylane-route"]}});
    let natives: Vec<Value> = object.spec.http.iter().map(|route| serde_json::to_value(route).unwrap()).collect();
    let mut api = serde_json::to_value(&existing().spec.http[0]).unwrap();
    api["headers"]["request"]["remove"] = json!(["x-b", "x-graylane-route"]);
    assert_eq!(natives[1], api);
    assert_eq!(natives[2], json!({"match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/new"}}));
    assert_eq!(
        natives[4]["route"],
        json!([
            {"destination": {"host": "orders.shop.svc.cluster.local", "subset": "stable"}, "weight": 50},
            {"destination": {"host": "legacy"}, "weight": 50},
        ])
    );
    assert_eq!(
        natives[5],
        json!({"match": [{"uri": {"prefix": "/other"}}], "route": [{"destination": {"host": "legacy"}}],
            "headers": removed})
    );
    assert_eq!(
        natives[7],
        json!({"route": [{"destination": {"host": "orders", "subset": "stable"}}], "headers": removed})
    );
}

#[test]
fn adopting_twice_changes_nothing() {
    for lanes in [vec![], vec!["canary"], vec!["canary", "v2"]] {
        let once = adopted(&lanes);
        let mut twice = once.clone();
        let lanes: Vec<String> = lanes.into_iter().map(str::to_owned).collect();
        adopt_service(&mut twice, "default", "orders", &lanes);
        assert_eq!(twice, once, "{lanes:?}");
    }
}

#[test]
fn adopting_again_follows_edits_and_other_lanes() {
    let mut object = adopted(&["canary", "v2"]);
    let api = object.spec.http.iter_mut().find(|route| route.name == "api").unwrap();
    api.rest.insert("timeout".into(), json!("9s"));
    adopt_service(&mut object, "default", "orders", &["canary".to_owned()]);
    assert_eq!(route(&object, "graylane-canary-api")["timeout"], "9s");
    assert!(!object.spec.http.iter().any(|route| route.name.contains("v2")), "{object:?}");
}

#[test]
fn a_lane_route_that_a_person_wrote_stays_as_it_is() {
    let own = json!({
        "name": "mine",
        "match": [{"headers": {"x-graylane-route": {"exact": "canary"}}}],
        "route": [{"destination": {"host": "orders", "subset": "canary"}}],
        "headers": {"request": {"remove": ["x-graylane-route"]}},
    });
    let mut object = existing();
    object.spec.http.insert(0, serde_json::from_value(own.clone()).unwrap());
    let notes = adopt_service(&mut object, "default", "orders", &["canary".to_owned()]).unwrap();
    assert_eq!(serde_json::to_value(&object.spec.http[0]).unwrap(), own);
    assert!(object.spec.http[1].name.starts_with("graylane-"));
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn routes_of_another_service_are_left_alone() {
    let mut object = existing();
    for (namespace, service) in [("default", "stock"), ("default", "orders.shop"), ("default", "audit")] {
        assert_eq!(adopt_service(&mut object, namespace, service, &["canary".to_owned()]), None);
        assert_eq!(object, existing());
    }
}

#[test]
fn what_adoption_cannot_settle_is_said() {
    let mut object = existing();
    let delegated = json!({"match": [{"uri": {"prefix": "/d"}}], "delegate": {"name": "details"}});
    object.spec.http.push(serde_json::from_value(delegated).unwrap());
    let notes = adopt_service(&mut object, "default", "orders", &["canary".to_owned()]).unwrap();
    assert!(notes[0].contains("route api still divides requests by weight"), "{notes:?}");
    assert!(notes[1].contains("route 6 is delegated to \"details\""), "{notes:?}");
    assert_eq!(notes.len(), 2);
}

#[test]
fn a_rule_gets_the_subsets_it_lacks_and_keeps_those_it_has() {
    let rule = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "orders"},
        "spec": {"host": "orders", "trafficPolicy": {"loadBalancer": {"simple": "LEAST_REQUEST"}},
            "subsets": [{"name": "stable", "labels": {"version": "v1"}}]},
    });
    let mut object: DestinationRule = serde_json::from_value(rule.clone()).unwrap();
    let versions = [Version::named("stable"), Version::named("canary")];
    assert!(!adopt_rule(&mut object.clone(), "pay", "orders.shop", &versions));
    assert!(adopt_rule(&mut object, "shop", "orders", &versions));
    let mut wanted = rule;
    wanted["spec"]["subsets"] =
        json!([{"name": "stable", "labels": {"version": "v1"}}, {"name": "canary", "labels": {"version": "canary"}}]);
    assert_eq!(serde_json::to_value(&object).unwrap(), wanted);
    let once = object.clone();
    assert!(adopt_rule(&mut object, "shop", "orders", &versions));
    assert_eq!(object, once);
}

#[test]
fn the_handbooks_options_are_all_written() {
    let plan = Plan {
        service: "orders".into(),
        namespace: "shop".into(),
        env: Some("prod".into()),
        versions: vec![Version::named("stable"), Version::named("canary")],
        weights: vec![80, 20],
        tls: Some(TlsMode::IstioMutual),
        ..Plan::default()
    };
    let service = serde_json::to_value(virtual_service(&plan)).unwrap();
    assert_eq!(service["metadata"]["labels"], json!({"env": "prod"}));
    let to = |subset: &str| json!({"host": "orders.shop.svc.cluster.local", "subset": subset});
    assert_eq!(
        service["spec"],
        json!({"hosts": ["orders.shop.svc.cluster.local"], "http": [{"name": "stable", "route": [
            {"destination": to("stable"), "weight": 80}, {"destination": to("canary"), "weight": 20},
        ]}]})
    );
    let rule = serde_json::to_value(destination_rule(&plan)).unwrap();
    let labels = |version: &str| json!({"version": version, "env": "prod"});
    assert_eq!(
        rule["spec"],
        json!({"host": "orders.shop.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}},
            "subsets": [{"name": "stable", "labels": labels("stable")}, {"name": "canary", "labels": labels("canary")}]})
    );
}

#[test]
fn what_is_generated_for_lanes_is_already_adopted() {
    let mut object = virtual_service(&Plan {
        service: "orders".into(),
        namespace: "shop".into(),
        versions: vec![Version::named("stable"), Version::named("canary"), Version::named("v2")],
        canary: Canary::Lanes,
        hosts: vec!["shop.example.com".into()],
        gateways: vec!["istio-ingress/shop".into()],
        ..Plan::default()
    });
    let generated = object.clone();
    assert_eq!(generated.spec.gateways, ["istio-ingress/shop", "mesh"]);
    assert_eq!(generated.spec.http.len(), 3);
    let notes = adopt_service(&mut object, "", "orders", &["canary".to_owned(), "v2".to_owned()]);
    assert_eq!((object, notes), (generated, Some(vec![])));
}

#[test]
fn versions_can_be_told_apart_by_other_labels() {
    let labels = BTreeMap::from([("track".to_owned(), "on".to_owned())]);
    let versions = vec![Version::named("stable"), Version::labelled("canary", labels)];
    let plan = Plan { service: "orders".into(), namespace: "shop".into(), versions, ..Plan::default() };
    let text = manifest::yaml(&[destination_rule(&plan)]);
    assert!(text.contains("track: \"on\""), "{text}");
}
