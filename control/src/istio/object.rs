//! Objects of Istio as graylane writes them: rendered by values, marked with their digest.

use std::collections::BTreeMap;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{GENERATION, OPT_IN, SHA256};

/// The kind EnvoyFilter. It has only ever had this version.
pub fn envoy_filter() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("networking.istio.io", "v1alpha3", "EnvoyFilter"),
        "envoyfilters",
    )
}

/// The kind WasmPlugin.
pub fn wasm_plugin() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("extensions.istio.io", "v1alpha1", "WasmPlugin"),
        "wasmplugins",
    )
}

/// An object of graylane with this spec and the digest of it. `generation` is the highest that the
/// namespace has had, where that is to be remembered.
pub fn managed(kind: &ApiResource, namespace: &str, name: &str, spec: Value, generation: Option<u64>) -> DynamicObject {
    let mut annotations = BTreeMap::from([(SHA256.to_owned(), digest(&spec))]);
    if let Some(generation) = generation {
        annotations.insert(GENERATION.to_owned(), generation.to_string());
    }
    let mut object = DynamicObject::new(name, kind).within(namespace);
    object.metadata = ObjectMeta {
        labels: Some(BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), "graylane".to_owned())])),
        annotations: Some(annotations),
        ..object.metadata
    };
    object.data = json!({"spec": spec});
    object
}

/// The spec of an object; null if it has none.
pub fn spec(object: &DynamicObject) -> &Value {
    object.data.get("spec").unwrap_or(&Value::Null)
}

/// An annotation of an object.
pub fn annotation<'o>(object: &'o DynamicObject, name: &str) -> Option<&'o str> {
    object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// Whether the spec is the one that graylane wrote: its digest is the one that stands beside it.
pub fn is_as_written(object: &DynamicObject) -> bool {
    annotation(object, SHA256) == Some(digest(spec(object)).as_str())
}

/// SHA-256 of a value in hexadecimal; the order of members does not matter, that of lists does.
pub fn digest(value: &Value) -> String {
    let mut hash = Sha256::new();
    feed(&mut hash, value);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The labels that select the pods which asked for the filter.
pub(super) fn opted_in() -> Value {
    json!({"labels": {OPT_IN: "true"}})
}

/// Members in the order of their names, whichever way the map keeps them.
fn feed(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            hash.update(b"{");
            for (name, member) in sorted {
                hash.update(Value::from(name.as_str()).to_string());
                hash.update(b":");
                feed(hash, member);
                hash.update(b",");
            }
            hash.update(b"}");
        }
        Value::Array(items) => {
            hash.update(b"[");
            for item in items {
                feed(hash, item);
                hash.update(b",");
            }
            hash.update(b"]");
        }
        scalar => hash.update(scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_what_is_said_and_not_of_the_order_of_members() {
        let one: Value = serde_json::from_str(r#"{"a": 1, "b": [1, {"c": "x", "d": null}]}"#).unwrap();
        let same: Value = serde_json::from_str(r#"{"b": [1, {"d": null, "c": "x"}], "a": 1}"#).unwrap();
        assert_eq!(digest(&one), digest(&same));
        for other in [r#"{"a": 1, "b": [{"c": "x", "d": null}, 1]}"#, r#"{"a": "1", "b": [1, {"c": "x"}]}"#, "{}"] {
            assert_ne!(digest(&one), digest(&serde_json::from_str(other).unwrap()));
        }
    }

    #[test]
    fn a_changed_spec_is_told_from_the_written_one() {
        let mut object = managed(&envoy_filter(), "shop", "graylane", json!({"priority": 10}), None);
        assert!(is_as_written(&object));
        object.data = json!({"spec": {"priority": 11}});
        assert!(!is_as_written(&object));
    }
}
