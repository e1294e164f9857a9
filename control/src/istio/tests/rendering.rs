use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::{documents, image};
use crate::build::Side;
use crate::istio::assign::{Order, assign};
use crate::istio::config::Emitter;
use crate::istio::held::Held;
use crate::istio::manifest::yaml;
use crate::istio::module::Module;
use crate::istio::stanza::{Marks, Wiring, entry_stanza, stanza};
use crate::istio::stop::stop;

/// Compares with a file of `istio`, or writes it.
fn is_as_in<T: Serialize>(file: &str, objects: &[T]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../istio").join(file);
    let text = yaml(objects);
    if std::env::var("GRAYLANE_GOLDEN").is_ok_and(|what| what == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, text, "{} differs; GRAYLANE_GOLDEN=write rewrites it", path.display());
}

fn rendered(emitter: Emitter, module: &Module, sides: &[Side]) -> Vec<DynamicObject> {
    let order = Order { emitter, module, namespace: "shop", floor: 6, renew: &BTreeSet::new() };
    assign(&order, &Held::default(), &documents("shop", sides)).objects
}

fn marks(headers: &[&str], baggage: bool) -> Marks {
    Marks { carried: headers.iter().map(|name| (*name).to_owned()).collect(), baggage }
}

#[test]
fn the_stanza_of_gateways_takes_forged_marks_away_and_waits_for_a_config() {
    let gateway = Some(marks(&["x-release-stage"], false));
    let wiring = Wiring { gateway, sidecars: false, filters: true };
    is_as_in("rendered/stanza-gateway.yaml", &[stanza("istio-ingress", &wiring)]);
}

#[test]
fn several_groups_and_baggage_are_several_moves() {
    let gateway = Some(marks(&["x-release-stage", "x-pay-stage"], true));
    let wiring = Wiring { gateway, sidecars: false, filters: true };
    is_as_in("rendered/stanza-gateway-two-groups.yaml", &[stanza("istio-ingress", &wiring)]);
}

#[test]
fn the_stanza_of_sidecars_removes_the_route_header_on_both_sides() {
    let wiring = Wiring { gateway: None, sidecars: true, filters: true };
    is_as_in("rendered/stanza-sidecars.yaml", &[stanza("shop", &wiring)]);
}

#[test]
fn an_entry_of_a_service_stands_before_its_usual_filters() {
    let pods = BTreeMap::from([("app".to_owned(), "orders".to_owned())]);
    let sides = BTreeSet::from([Side::InboundEntry, Side::OutboundEntry]);
    is_as_in("rendered/stanza-entry.yaml", &[entry_stanza("shop", "orders", &pods, &sides)]);
}

#[test]
fn the_documents_of_a_namespace_are_two_envoy_filters() {
    is_as_in("rendered/config.yaml", &rendered(Emitter::EnvoyFilter, &image(), &Side::ALL));
}

#[test]
fn the_same_documents_as_wasm_plugins() {
    let module = image().with_pull_secret(Some("registry".to_owned()));
    is_as_in("rendered/wasmplugins.yaml", &rendered(Emitter::WasmPlugin, &module, &Side::ALL));
}

#[test]
fn nothing_but_fail_open_is_ever_rendered() {
    fn policies<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if name == "failure_policy" || name == "failStrategy" {
                        found.extend(member.as_str());
                    }
                    policies(member, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| policies(item, found)),
            _ => {}
        }
    }
    for emitter in [Emitter::EnvoyFilter, Emitter::WasmPlugin] {
        for module in [image(), "/filter.wasm".parse().unwrap()] {
            let objects = rendered(emitter, &module, &Side::ALL);
            let mut found = Vec::new();
            objects.iter().for_each(|object| policies(&object.data, &mut found));
            assert_eq!(found, ["FAIL_OPEN"; Side::ALL.len()], "{emitter:?} {module:?}");
        }
    }
}

#[test]
fn the_switch_is_also_two_patches_for_kubectl() {
    let objects = rendered(Emitter::EnvoyFilter, &image(), &Side::ALL);
    for change in stop(&objects, "by hand") {
        is_as_in(&format!("stop/{}.yaml", change.name), &[change.patch]);
    }
}
