//! The filter in a mesh without a controller: the stanzas as rendered in `istio/`, and documents that
//! `graylane render` prints, put into EnvoyFilters.

use std::fs;

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{Bed, Image};
use graylane_tests::paths;
use serde_json::{Value, json};

/// Testers go to the canary, everybody else to stable.
const RELEASE: &str = "
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: summer, namespace: shop}
spec:
  group: shop
  lanes: [{name: canary}]
  members: [{service: orders, hosts: [shop.example.com]}, {service: stock}]
  rules:
  - {name: testers, lane: canary, when: {match: {field: {header: x-user-group}, is: {exact: beta}}}}
";

/// How proxies get the module: the `code` of a Wasm config.
pub struct Module(Value);

/// Where a document goes: the object, its namespace, the context of its patch, and the role.
const PLACES: [(&str, &str, &str, &str); 3] = [
    ("graylane-entry", "istio-ingress", "GATEWAY", "gateway"),
    ("graylane-lanes", "shop", "SIDECAR_OUTBOUND", "outbound"),
    ("graylane-lanes", "shop", "SIDECAR_INBOUND", "inbound"),
];

// === impl Module ===

impl Module {
    /// The built module, from the disk that all pods of the bed share.
    pub fn file() -> Result<Self> {
        Ok(Self(json!({"local": {"filename": paths::filter()?}})))
    }

    /// From the registry of the bed, by Istio's agent.
    pub fn image(image: &Image) -> Self {
        let uri = json!({"uri": image.uri, "cluster": "unused", "timeout": "10s"});
        Self(json!({"remote": {"http_uri": uri, "sha256": image.sha256}}))
    }
}

/// Puts places for the filters into gateway and sidecars.
pub fn install(bed: &Bed) -> Result<()> {
    for stanza in ["stanza-gateway.yaml", "stanza-sidecars.yaml"] {
        bed.apply(&fs::read_to_string(paths::root().join("istio/rendered").join(stanza))?)?;
    }
    Ok(())
}

/// Gives every filter its document.
pub fn push(bed: &Bed, generation: u64, module: &Module) -> Result<()> {
    for name in ["graylane-entry", "graylane-lanes"] {
        let places: Vec<_> = PLACES.iter().filter(|(object, ..)| *object == name).collect();
        let patches = places.iter().map(|place| patch(bed, generation, module, place)).collect::<Result<Vec<_>>>()?;
        let namespace = places.first().context("an object without documents")?.1;
        bed.apply(&envoy_filter(name, namespace, patches).to_string())?;
    }
    Ok(())
}

fn envoy_filter(name: &str, namespace: &str, patches: Vec<Value>) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "priority": 20,
            "workloadSelector": {"labels": {"graylane.io/enabled": "true"}},
            "configPatches": patches,
        },
    })
}

fn patch(bed: &Bed, generation: u64, module: &Module, place: &(&str, &str, &str, &str)) -> Result<Value> {
    let (_, _, context, role) = place;
    let file = bed.folder().join("release.yaml");
    fs::write(&file, RELEASE)?;
    let file = file.display().to_string();
    let generation = generation.to_string();
    let said = bed.graylane(&["render", "-f", &file, "--role", role, "--generation", &generation, "-o", "ecds"])?;
    ensure!(said.status.success(), "{said:?}");
    let mut resource = serde_json::from_str::<Value>(&said.stdout)?["resources"][0].take();
    resource["typed_config"]["config"]["vm_config"]["code"] = module.0.clone();
    let config = json!({"name": resource["name"], "typed_config": resource["typed_config"]});
    Ok(json!({
        "applyTo": "EXTENSION_CONFIG",
        "match": {"context": context},
        "patch": {"operation": "ADD", "value": config},
    }))
}
