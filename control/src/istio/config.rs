//! The part of the wiring that changes during a release: the EnvoyFilters `graylane-entry` and
//! `graylane-lanes` of a namespace, whose `EXTENSION_CONFIG` patches give each filter its config.
//!
//! Two objects must never give one proxy the same filter name, or Envoy refuses everything that comes
//! with it, a rollback included; so each side is in exactly one object.

use std::collections::BTreeMap;

use graylane_policy::raw::RawConfig;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::held::HeldSide;
use super::module::Module;
use super::object::{envoy_filter, opted_in, spec, wasm_plugin};
use super::stanza::{RBAC_TYPE, WASM_TYPE, context};
use super::wasmplugin;
use crate::build::Side;

/// Object with the documents of sides that choose lanes; it changes at every step of a release.
pub const ENTRY: &str = "graylane-entry";
/// Object with the documents of all other sides; it changes only when readiness does.
pub const LANES: &str = "graylane-lanes";

/// After every stanza.
const PRIORITY: i32 = 20;
/// Inbound and outbound of a pod share a memory by this id; nobody else's filters do.
const VM_ID: &str = "graylane";

/// What a side runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// A document for the filter, and where its module is fetched from.
    Document(RawConfig, Value),
    /// An RBAC filter without rules, which lets everything pass: everything goes to stable.
    Inert,
}

/// The kind of object by which documents travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emitter {
    /// Two EnvoyFilters for a namespace.
    #[default]
    EnvoyFilter,
    /// A WasmPlugin for each side.
    WasmPlugin,
}

// === impl Emitter ===

impl Emitter {
    /// The kind in the API.
    pub fn kind(self) -> ApiResource {
        match self {
            Self::EnvoyFilter => envoy_filter(),
            Self::WasmPlugin => wasm_plugin(),
        }
    }

    /// Name of the object that holds a side's document.
    pub fn object_name(self, side: Side) -> &'static str {
        match self {
            Self::WasmPlugin => wasmplugin::object_name(side),
            Self::EnvoyFilter if side.chooses() => ENTRY,
            Self::EnvoyFilter => LANES,
        }
    }

    /// Whether an object of this kind and name is one of these.
    pub fn owns(self, name: &str) -> bool {
        Side::ALL.iter().any(|side| self.object_name(*side) == name)
    }

    /// The spec of one object: the sides that are given are all in it.
    pub(super) fn spec(self, sides: &BTreeMap<Side, Content>) -> Value {
        match self {
            Self::EnvoyFilter => {
                let patches: Vec<Value> = sides.iter().map(|(side, content)| patch(*side, content)).collect();
                json!({"priority": PRIORITY, "workloadSelector": opted_in(), "configPatches": patches})
            }
            Self::WasmPlugin => sides.iter().next().map_or(Value::Null, |(side, content)| match content {
                Content::Document(document, source) => wasmplugin::spec(*side, document, source),
                // A WasmPlugin is inert by a document without groups.
                Content::Inert => Value::Null,
            }),
        }
    }

    /// What an object gives to proxies.
    pub(super) fn read(self, object: &DynamicObject) -> BTreeMap<Side, HeldSide> {
        match self {
            Self::EnvoyFilter => {
                let patches = spec(object).get("configPatches").and_then(Value::as_array);
                patches.into_iter().flatten().filter_map(read_patch).collect()
            }
            Self::WasmPlugin => wasmplugin::read(object).into_iter().collect(),
        }
    }

    /// Where a module is fetched from, as it stands in an object.
    pub(super) fn source(self, module: &Module) -> Value {
        match self {
            Self::EnvoyFilter => module.code(),
            Self::WasmPlugin => wasmplugin::source(module),
        }
    }
}

fn patch(side: Side, content: &Content) -> Value {
    let typed_config = match content {
        Content::Document(document, source) => wasm(side, document, source),
        Content::Inert => json!({"@type": RBAC_TYPE}),
    };
    json!({
        "applyTo": "EXTENSION_CONFIG",
        "match": {"context": context(side)},
        "patch": {"operation": "ADD", "value": {"name": side.filter_name(), "typed_config": typed_config}},
    })
}

/// `FAIL_OPEN` is not a choice: with anything else a module that cannot be fetched makes Istio's agent
/// deny all traffic, and a crash refuses requests instead of sending them to stable.
fn wasm(side: Side, document: &RawConfig, code: &Value) -> Value {
    // Numbers, strings, lists and objects with string keys always serialise.
    let text = serde_json::to_string(document).unwrap_or_default();
    json!({
        "@type": WASM_TYPE,
        "config": {
            "name": side.filter_name(),
            "root_id": side.filter_name(),
            "failure_policy": "FAIL_OPEN",
            "vm_config": {"vm_id": VM_ID, "runtime": "envoy.wasm.runtime.v8", "code": code},
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text},
        },
    })
}

fn read_patch(patch: &Value) -> Option<(Side, HeldSide)> {
    let value = patch.pointer("/patch/value")?;
    let name = value.get("name")?.as_str()?;
    let side = Side::ALL.into_iter().find(|side| side.filter_name() == name)?;
    let typed = value.get("typed_config")?;
    let held = match typed.get("@type").and_then(Value::as_str) {
        Some(RBAC_TYPE) => HeldSide::Inert,
        _ => read_wasm(typed).unwrap_or(HeldSide::Unreadable),
    };
    Some((side, held))
}

fn read_wasm(typed: &Value) -> Option<HeldSide> {
    let text = typed.pointer("/config/configuration/value")?.as_str()?;
    let document = serde_json::from_str(text).ok()?;
    let source = typed.pointer("/config/vm_config/code")?.clone();
    Some(HeldSide::Document { document: Box::new(document), source })
}
