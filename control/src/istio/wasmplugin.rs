//! The same documents as WasmPlugins, one for each side: for meshes where EnvoyFilters of others are
//! not wanted, or where the registry asks for a pull secret.
//!
//! What is given up: Istio adds the filter to the listener itself, and without a default config, so a
//! proxy that starts waits for its document as long as it takes; connections drain when such an object
//! is made or deleted; and the switch of last resort needs the module, because a WasmPlugin can be
//! nothing but Wasm. Istio fetches with its own time-out of 30 s.

use graylane_policy::raw::RawConfig;
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use super::held::HeldSide;
use super::module::Module;
use super::object::spec as spec_of;
use super::{ENTRY_INBOUND, ENTRY_OUTBOUND, OPT_IN};
use crate::build::Side;

/// Name of the object that holds a side's document.
pub(super) fn object_name(side: Side) -> &'static str {
    match side {
        Side::Gateway => "graylane-gateway",
        Side::Inbound => "graylane-inbound",
        Side::Outbound => "graylane-outbound",
        Side::InboundEntry => "graylane-entry-inbound",
        Side::OutboundEntry => "graylane-entry-outbound",
    }
}

/// The spec of a side.
///
/// No phase is named: so the filter stands behind authentication, whose claims it may read, and before
/// fault, CORS and the router. Istio hands the config to the filter as a JSON text.
pub(super) fn spec(side: Side, document: &RawConfig, source: &Value) -> Value {
    let mut spec = Map::from_iter([
        ("selector".to_owned(), selector(side)),
        ("pluginName".to_owned(), side.filter_name().into()),
        // Numbers, strings, lists and objects with string keys always serialise.
        ("pluginConfig".to_owned(), serde_json::to_value(document).unwrap_or_default()),
        ("priority".to_owned(), priority(side).into()),
        // Anything else makes a module that cannot be fetched a reason to deny all traffic.
        ("failStrategy".to_owned(), "FAIL_OPEN".into()),
        ("match".to_owned(), json!([{"mode": mode(side)}])),
    ]);
    if let Value::Object(source) = source {
        spec.extend(source.clone());
    }
    Value::Object(spec)
}

/// The members that say where the module is fetched from.
pub(super) fn source(module: &Module) -> Value {
    match module {
        Module::File { .. } => json!({"url": module.address()}),
        Module::Https { url, sha256 } => json!({"url": url, "sha256": sha256}),
        Module::Oci { sha256, pull_secret: None, .. } => {
            json!({"url": module.address(), "sha256": sha256, "imagePullPolicy": "IfNotPresent"})
        }
        Module::Oci { sha256, pull_secret: Some(secret), .. } => json!({
            "url": module.address(), "sha256": sha256, "imagePullPolicy": "IfNotPresent", "imagePullSecret": secret,
        }),
    }
}

/// What an object gives to proxies.
pub(super) fn read(object: &DynamicObject) -> Option<(Side, HeldSide)> {
    let name = object.metadata.name.as_deref()?;
    let side = Side::ALL.into_iter().find(|side| object_name(*side) == name)?;
    let spec = spec_of(object);
    let config = spec.get("pluginConfig").cloned().unwrap_or_default();
    let held = serde_json::from_value::<RawConfig>(config).map_or(HeldSide::Unreadable, |document| {
        HeldSide::Document { document: Box::new(document), source: source_of(spec) }
    });
    Some((side, held))
}

fn source_of(spec: &Value) -> Value {
    let members = ["url", "sha256", "imagePullPolicy", "imagePullSecret"];
    let given = members.into_iter().filter_map(|name| Some((name.to_owned(), spec.get(name)?.clone())));
    Value::Object(given.collect())
}

fn selector(side: Side) -> Value {
    let mut labels = Map::from_iter([(OPT_IN.to_owned(), "true".into())]);
    let entry = match side {
        Side::InboundEntry => Some(ENTRY_INBOUND),
        Side::OutboundEntry => Some(ENTRY_OUTBOUND),
        Side::Gateway | Side::Inbound | Side::Outbound => None,
    };
    labels.extend(entry.map(|label| (label.to_owned(), "true".into())));
    json!({"matchLabels": labels})
}

/// Of two plugins in one phase the one with the higher number comes first: lanes are chosen before they
/// are kept.
fn priority(side: Side) -> i32 {
    if side.chooses() { 20 } else { 10 }
}

/// To Istio a gateway is a client.
fn mode(side: Side) -> &'static str {
    match side {
        Side::Inbound | Side::InboundEntry => "SERVER",
        Side::Gateway | Side::Outbound | Side::OutboundEntry => "CLIENT",
    }
}
