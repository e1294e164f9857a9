use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde_json::json;

use super::{Change, Facts, Installation, Labels, PodFacts, ReleaseFacts, Wish, plan};
use crate::istio::config::Emitter;
use crate::istio::object::{envoy_filter, managed, spec};
use crate::istio::stanza;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn pod(name: &str, pairs: &[(&str, &str)]) -> PodFacts {
    PodFacts { name: name.into(), labels: labels(pairs), has_proxy: true }
}

fn facts() -> Facts {
    Facts {
        root_namespace: "istio-system".into(),
        pods: vec![
            pod("orders-1", &[("app", "orders"), ("graylane.io/enabled", "true")]),
            pod("stock-1", &[("app", "stock")]),
        ],
        services: [("orders", "orders"), ("stock", "stock")]
            .map(|(name, app)| (name.to_owned(), labels(&[("app", app)])))
            .into(),
        ..Facts::default()
    }
}

fn sidecars() -> Wish {
    Wish { namespace: "shop".into(), sidecars: true, ..Wish::default() }
}

fn gateway() -> Wish {
    Wish { namespace: "istio-ingress".into(), gateway: true, ..Wish::default() }
}

fn release(id: &str, group: &str, header: &str) -> ReleaseFacts {
    let namespace = id.split('/').next().unwrap_or_default().to_owned();
    let gateways = vec!["istio-ingress".to_owned()];
    ReleaseFacts {
        id: id.into(),
        namespace,
        group: group.into(),
        header: header.into(),
        gateways,
        ..ReleaseFacts::default()
    }
}

fn refusal(wish: &Wish, facts: &Facts) -> String {
    plan(wish, facts).unwrap_err().to_string()
}

fn summary(installation: &Installation) -> Vec<(String, Change)> {
    let one = |planned: &super::Planned| (planned.object.metadata.name.clone().unwrap(), planned.change);
    installation.objects.iter().map(one).collect()
}

/// The objects as they stand afterwards.
fn stored(installation: &Installation) -> Vec<DynamicObject> {
    installation.objects.iter().map(|planned| planned.object.clone()).collect()
}

#[test]
fn a_first_installation_names_its_objects_and_its_pods() {
    let made = plan(&sidecars(), &facts()).unwrap();
    assert_eq!(summary(&made), [("graylane".to_owned(), Change::Added), ("graylane-lanes".to_owned(), Change::Added)]);
    assert_eq!((made.taken, made.left_out), (vec!["shop/orders-1".to_owned()], vec!["shop/stock-1".to_owned()]));
    assert!(made.notes[0].contains("drained once") && made.notes[1].contains("50 MB"), "{:?}", made.notes);
}

#[test]
fn installing_again_changes_nothing_and_drains_nobody() {
    let wish = Wish { inbound: ["orders".to_owned()].into(), gateway: true, ..sidecars() };
    let first = plan(&wish, &facts()).unwrap();
    assert_eq!(first.objects.len(), 4, "{:?}", summary(&first));
    let again = plan(&wish, &Facts { filters: stored(&first), ..facts() }).unwrap();
    assert!(summary(&again).iter().all(|(_, change)| *change == Change::Same), "{:?}", summary(&again));
    assert!(again.taken.is_empty() && !again.notes.iter().any(|note| note.contains("drained")));
}

#[test]
fn nothing_that_is_installed_goes_by_installing_something_else() {
    let first = plan(&Wish { gateway: true, ..Wish::default() }, &facts()).unwrap();
    let installed = Facts { filters: stored(&first), ..facts() };
    assert_eq!(plan(&Wish::default(), &installed).unwrap().objects[0].change, Change::Same);
    let both = plan(&Wish { sidecars: true, ..Wish::default() }, &installed).unwrap();
    let wiring = stanza::wiring(&both.objects[0].object);
    assert!(wiring.gateway.is_some() && wiring.sidecars && wiring.filters);
    assert!(stanza::wiring(&plan(&Wish::default(), &facts()).unwrap().objects[0].object).sidecars);
}

#[test]
fn documents_of_a_running_release_are_not_replaced() {
    let first = plan(&sidecars(), &facts()).unwrap();
    let mut filters = stored(&first);
    filters[1].data["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["config"] = json!({"running": true});
    let again = plan(&Wish { inbound: ["orders".to_owned()].into(), ..sidecars() }, &Facts { filters, ..facts() });
    let names: Vec<String> = summary(&again.unwrap()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["graylane", "graylane-entrypoint-orders", "graylane-entry"]);
}

#[test]
fn headers_of_releases_and_of_earlier_installations_are_taken_away_too() {
    let earlier = plan(&Wish { headers: ["X-Pay".to_owned()].into(), ..gateway() }, &facts()).unwrap();
    let releases = vec![ReleaseFacts { baggage: true, ..release("shop/summer", "shop", "x-release-stage") }];
    let made = plan(&gateway(), &Facts { filters: stored(&earlier), releases, ..facts() }).unwrap();
    let marks = stanza::wiring(&made.objects[0].object).gateway.unwrap();
    assert_eq!(marks.carried.into_iter().collect::<Vec<_>>(), ["x-pay", "x-release-stage"]);
    assert!(marks.baggage);
    assert_eq!(made.objects[0].change, Change::Changed);
}

#[test]
fn groups_that_meet_with_one_header_are_refused_by_name() {
    let releases = vec![
        release("shop/summer", "shop", "x-release-stage"),
        release("shop/winter", "shop", "x-release-stage"),
        release("pay/cards", "pay", "X-Release-Stage"),
    ];
    let said = refusal(&gateway(), &Facts { releases: releases.clone(), ..facts() });
    assert!(said.contains("groups shop (shop/summer) and pay (pay/cards) meet here"), "{said}");
    let apart = vec![releases[0].clone(), release("pay/cards", "pay", "x-pay")];
    assert!(plan(&gateway(), &Facts { releases: apart, ..facts() }).is_ok());
    assert!(plan(&Wish { namespace: "stock".into(), ..sidecars() }, &Facts { releases, ..facts() }).is_ok());
}

#[test]
fn a_header_that_means_something_else_cannot_carry_a_lane() {
    for header in ["host", "x-graylane-route", "bad header", ""] {
        let said = refusal(&Wish { headers: [header.to_owned()].into(), ..gateway() }, &facts());
        assert!(said.starts_with("--carried-header"), "{said}");
    }
}

#[test]
fn places_that_are_not_served_are_refused_with_the_reason() {
    let with = |pairs: &[(&str, &str)]| Facts { labels: labels(pairs), ..facts() };
    for (wish, facts, says) in [
        (Wish { namespace: "istio-system".into(), ..gateway() }, facts(), "is the root namespace"),
        (sidecars(), with(&[("istio.io/dataplane-mode", "ambient")]), "is in ambient mode"),
        (sidecars(), with(&[("istio.io/use-waypoint", "shop")]), "through the waypoint shop"),
        (
            sidecars(),
            behind_waypoints(Some("shop-waypoint"), None),
            "has service stock behind the waypoint shop-waypoint",
        ),
        (sidecars(), behind_waypoints(None, Some("own")), "has pod stock-1 behind the waypoint own"),
        (sidecars(), Facts { remote_clusters: true, ..facts() }, "several clusters"),
        (Wish { inbound: ["web".to_owned()].into(), ..sidecars() }, facts(), "has no service web"),
        (Wish { outbound: ["orders".to_owned()].into(), ..gateway() }, facts(), "has no sidecars"),
        (Wish { emitter: Emitter::WasmPlugin, ..sidecars() }, facts(), "cannot be without a module"),
        (Wish { module: "/a.wasm".parse().ok(), ..sidecars() }, facts(), "with the first release"),
    ] {
        let said = refusal(&wish, &facts);
        assert!(said.contains(says) && said.contains("; "), "{said}");
    }
    assert!(plan(&Wish { namespace: "istio-system".into(), root: true, ..gateway() }, &facts()).is_ok());
    assert!(plan(&sidecars(), &with(&[("istio.io/use-waypoint", "none")])).is_ok());
    assert!(plan(&sidecars(), &behind_waypoints(Some("none"), Some("none"))).is_ok());
}

/// The label of one of the services, and of one of the pods.
fn behind_waypoints(service: Option<&str>, pod: Option<&str>) -> Facts {
    let label = |name: &str| ("istio.io/use-waypoint".to_owned(), name.to_owned());
    let mut facts = facts();
    facts.service_labels = [("orders", None), ("stock", service)]
        .map(|(name, waypoint)| (name.to_owned(), waypoint.map(label).into_iter().collect()))
        .into();
    facts.pods[1].labels.extend(pod.map(label));
    facts
}

#[test]
fn two_entries_never_share_a_pod() {
    let mut facts = facts();
    facts.services.insert("orders-v2".into(), labels(&[("app", "orders")]));
    let both = BTreeSet::from(["orders".to_owned(), "orders-v2".to_owned()]);
    let said = refusal(&Wish { inbound: both, ..sidecars() }, &facts);
    assert!(said.contains("services orders and orders-v2 have pod orders-1 in common"), "{said}");
}

#[test]
fn the_two_emitters_do_not_mix() {
    let plugin = managed(&Emitter::WasmPlugin.kind(), "shop", "graylane-inbound", json!({}), None);
    let said = refusal(&sidecars(), &Facts { filters: vec![plugin], ..facts() });
    assert!(said.contains("has the WasmPlugin graylane-inbound"), "{said}");
    let filter = managed(&envoy_filter(), "shop", "graylane-lanes", json!({}), None);
    let module = format!("oci://a/b@sha256:{}", "0".repeat(64)).parse().ok();
    let wish = Wish { emitter: Emitter::WasmPlugin, module, ..sidecars() };
    assert!(refusal(&wish, &Facts { filters: vec![filter], ..facts() }).contains("has the EnvoyFilter"));
    let made = plan(&wish, &facts()).unwrap();
    let names: Vec<String> = summary(&made).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["graylane", "graylane-inbound", "graylane-outbound"]);
    assert!(!spec(&made.objects[0].object).to_string().contains("graylane.inbound"));
}

#[test]
fn a_pod_is_read_with_and_without_a_proxy() {
    let read = |pod| PodFacts::read(&pod);
    let native = json!({"metadata": {"name": "a", "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "app"}], "initContainers": [{"name": "istio-proxy"}]}});
    assert_eq!(read(native), pod("a", &[("app", "a")]));
    let injected = json!({"metadata": {"name": "b", "annotations": {"sidecar.istio.io/status": "{}"}}});
    assert!(read(injected).has_proxy);
    assert!(!read(json!({"metadata": {"name": "c"}, "spec": {"containers": [{"name": "app"}]}})).has_proxy);
}

#[test]
fn a_release_is_finished_once_nothing_of_it_is_in_any_proxy() {
    let read = |status| {
        let object = json!({"apiVersion": "graylane.io/v1alpha1", "kind": "GrayRelease",
            "metadata": {"namespace": "shop", "name": "summer"},
            "spec": {"entry": {"gateways": [{"namespace": "istio-ingress"}]}}, "status": status});
        ReleaseFacts::read(&serde_json::from_value(object).unwrap())
    };
    let expected = ReleaseFacts { group: "summer".into(), ..release("shop/summer", "", "x-release-stage") };
    assert_eq!(read(json!({"phase": "Progressing", "exposure": "Full"})), expected);
    for (phase, exposure, finished) in [
        ("Succeeded", "Absent", true),
        ("Succeeded", "Draining", false),
        ("Paused", "Absent", false),
        ("RolledBack", "Absent", true),
    ] {
        assert_eq!(read(json!({"phase": phase, "exposure": exposure})).is_finished, finished, "{phase} {exposure}");
    }
    assert!(!read(json!({})).is_finished);
    assert!(expected.meets_at("shop") && expected.meets_at("istio-ingress") && !expected.meets_at("pay"));
}
