//! The CustomResourceDefinition of `GrayRelease`: the types of [`crate::release`] and
//! [`crate::engine::status`] as an API server takes them.

mod docs;
mod rules;
mod schema;

use serde_json::{Map, Value, json};

pub use self::docs::reference;
pub use self::rules::{At, CHECKS, Check};
use self::schema::{Place, structural};
use crate::engine::status::Status;
use crate::release::Spec;
use crate::release::limits::LIMITS;

/// API group of the kind.
pub const GROUP: &str = "graylane.io";
/// Version of the kind.
pub const VERSION: &str = "v1alpha1";
/// The kind.
pub const KIND: &str = "GrayRelease";
/// The kind as a resource.
pub const PLURAL: &str = "grayreleases";
/// Name of the definition.
pub const NAME: &str = "grayreleases.graylane.io";

/// What `kubectl get` shows, with the type and the path; those of the second list only with `-o wide`.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("Phase", "string", ".status.phase"),
    ("Step", "integer", ".status.step"),
    ("Weight", "string", ".status.weight"),
    ("Message", "string", ".status.message"),
    ("Age", "date", ".metadata.creationTimestamp"),
];
const WIDE_COLUMNS: &[(&str, &str, &str)] = &[
    ("Steps", "integer", ".status.steps"),
    ("Acknowledged", "integer", ".status.proxies.acknowledged"),
    ("Expected", "integer", ".status.proxies.expected"),
    ("Group", "string", ".spec.group"),
    ("Promotion", "string", ".spec.promotion.strategy"),
    ("Attempt", "integer", ".status.attempt"),
];

/// The definition, as it is applied.
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/name": "graylane"}},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": "GrayReleaseList",
                "plural": PLURAL,
                "singular": "grayrelease",
                "shortNames": ["gr"],
                "categories": ["graylane"],
            },
            "scope": "Namespaced",
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(),
                "schema": {"openAPIV3Schema": object_schema()},
            }],
        },
    })
}

/// The definition as YAML.
///
/// # Errors
/// None that is known: the definition holds nothing that YAML cannot.
pub fn manifest() -> Result<String, serde_saphyr::ser::Error> {
    // Long texts stay on their lines: rules and their words are easier to find that way.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&definition(), options)
}

fn columns() -> Vec<Value> {
    let column = |(name, kind, path): &(&str, &str, &str)| json!({"name": name, "type": kind, "jsonPath": path});
    let wide = WIDE_COLUMNS.iter().map(column).map(|mut column| {
        column["priority"] = 1.into();
        column
    });
    COLUMNS.iter().map(column).chain(wide).collect()
}

fn object_schema() -> Value {
    let spec = structural(&schemars::schema_for!(Spec), "spec", &finish_spec);
    let status = structural(&schemars::schema_for!(Status), "status", &finish_status);
    let mut object = json!({
        "description": "One gray release: lanes, members, rules and weights of a group of services.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
            "spec": spec,
            "status": status,
        },
    });
    if let Some(object) = object.as_object_mut() {
        rules::add(&Place { path: "", named: None }, object);
    }
    object
}

/// Adds sizes and rules to a value of the spec.
fn finish_spec(place: &Place<'_>, schema: &mut Map<String, Value>) {
    schema.remove("x-choices");
    for (_, limit) in LIMITS.iter().filter(|(path, _)| *path == place.path) {
        let (keyword, most) = limit.keyword();
        schema.insert(keyword.into(), most.into());
    }
    rules::add(place, schema);
}

/// Takes the defaults away: only the controller writes the status. Conditions are one to a type.
fn finish_status(place: &Place<'_>, schema: &mut Map<String, Value>) {
    schema.remove("x-choices");
    schema.remove("default");
    if place.path == "status.conditions" {
        schema.insert("x-kubernetes-list-type".into(), "map".into());
        schema.insert("x-kubernetes-list-map-keys".into(), json!(["type"]));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

    use super::*;

    /// What the API server does not know it would drop without a word.
    #[test]
    fn the_definition_holds_only_what_an_api_server_knows() {
        let typed: CustomResourceDefinition = serde_json::from_value(definition()).unwrap();
        let typed = serde_json::to_value(typed).unwrap();
        for path in paths(&definition(), "") {
            assert!(typed.pointer(&path).is_some(), "{path} is dropped");
        }
    }

    /// JSON pointers to everything in a value.
    fn paths(value: &Value, at: &str) -> Vec<String> {
        let inner: Vec<(String, &Value)> = match value {
            Value::Object(members) => members.iter().map(|(key, value)| (key.replace('/', "~1"), value)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect(),
            _ => return vec![at.to_owned()],
        };
        inner.into_iter().flat_map(|(key, value)| paths(value, &format!("{at}/{key}"))).collect()
    }

    #[test]
    fn the_definition_is_the_same_read_from_yaml() {
        let read: Value = serde_saphyr::from_str(&manifest().unwrap()).unwrap();
        assert!(read == definition());
    }

    /// Every rule and every size stands somewhere: a path with a typing error would stand nowhere.
    #[test]
    fn every_rule_and_size_has_its_place_in_the_schema() {
        let schema = object_schema();
        let at = |path: &str| {
            let mut at = &schema;
            for step in path.replace("[]", ".[]").split('.').filter(|step| !step.is_empty()) {
                let next = if step == "[]" { at.get("items") } else { at["properties"].get(step) };
                at = next.unwrap_or_else(|| panic!("{path} is not in the schema"));
            }
            at
        };
        for (path, limit) in LIMITS {
            let (keyword, most) = limit.keyword();
            assert_eq!(at(path)[keyword], most, "{path}");
        }
        let count = |rule: &str| schema.to_string().matches(&json!(rule).to_string()).count();
        for check in CHECKS {
            for place in check.at {
                if let At::Path(path) = place {
                    let rules = at(path)["x-kubernetes-validations"].as_array().unwrap();
                    assert!(rules.iter().any(|rule| rule["rule"] == check.holds), "{path}: {}", check.holds);
                }
            }
            assert!(count(check.holds) >= check.at.len(), "{}", check.holds);
        }
    }
}
