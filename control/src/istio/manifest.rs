//! Objects of Kubernetes as text: read as people and `kubectl get -o yaml` write them, and written so
//! that kubectl reads the same.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Metadata that the API server keeps, and kubectl's own note: of no use in a file.
const KEPT_BY_SERVER: [&str; 6] =
    ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Why objects cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no YAML.
    #[error("it is no YAML")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// A document is no object.
    #[error("document {number} is no object of Kubernetes; it needs `apiVersion` and `kind`")]
    NoObject {
        /// Which one, from 1.
        number: usize,
    },
    /// There is nothing in it.
    #[error("it holds no object")]
    Empty,
}

/// The objects of a YAML or JSON text; lists are taken apart, and what only the API server knows is left
/// out.
///
/// # Errors
/// When the text is no YAML, holds nothing, or a document is no object.
pub fn objects(text: &str) -> Result<Vec<Value>, ManifestError> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| ManifestError::Yaml(Box::new(error)))?;
    let mut objects = Vec::new();
    for (at, document) in documents.into_iter().enumerate().filter(|(_, document)| !document.is_null()) {
        let is_object = ["apiVersion", "kind"].iter().all(|name| document.get(name).is_some_and(Value::is_string));
        match document.get("items") {
            _ if !is_object => return Err(ManifestError::NoObject { number: at + 1 }),
            Some(Value::Array(items)) => objects.extend(items.iter().cloned()),
            _ => objects.push(document),
        }
    }
    if objects.is_empty() {
        return Err(ManifestError::Empty);
    }
    objects.iter_mut().for_each(clean);
    Ok(objects)
}

/// Objects as YAML, one document each. Texts that a reader might take for something else are quoted.
pub fn yaml<T: Serialize>(objects: &[T]) -> String {
    let text = |object| {
        // A long address folded over two lines is right, and hard to search for.
        let options = serde_saphyr::ser_options! { folded_wrap_chars: 1_000_000 };
        // Numbers, strings, lists and objects with string keys always serialise.
        serde_saphyr::to_string_with_options(object, options).unwrap_or_default()
    };
    objects.iter().map(text).collect::<Vec<_>>().join("---\n")
}

/// Objects as JSON: the only one as it is, several as a list, as kubectl does.
pub fn json<T: Serialize>(objects: &[T]) -> String {
    let value = match objects {
        [only] => json!(only),
        several => json!({"apiVersion": "v1", "kind": "List", "items": several}),
    };
    format!("{value:#}\n")
}

fn clean(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    object.remove("status");
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for name in KEPT_BY_SERVER {
        metadata.remove(name);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    if metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty) {
        metadata.remove("annotations");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_prints_is_read_as_what_a_person_would_keep() {
        let text = r#"
apiVersion: v1
kind: List
items:
- apiVersion: networking.istio.io/v1
  kind: VirtualService
  metadata:
    name: orders
    uid: "1"
    resourceVersion: "2"
    generation: 3
    managedFields: []
    annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}
  spec: {hosts: [orders]}
  status: {observedGeneration: "3"}
---
---
{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "annotations": {"a": "b"}}}
"#;
        let read = objects(text).unwrap();
        assert_eq!(
            read,
            [
                json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                    "metadata": {"name": "orders"}, "spec": {"hosts": ["orders"]}}),
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "annotations": {"a": "b"}}}),
            ]
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for (text, says) in [
            ("a: [", "no YAML"),
            ("# nothing\n", "no object"),
            ("- 1\n", "document 1 is no object"),
            ("kind: A\napiVersion: b\n---\nkind: A\n", "document 2 is no object"),
        ] {
            let error = objects(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn words_that_yaml_may_take_for_something_else_are_quoted() {
        let words = ["on", "y", "no", "1_000", "1:30", "2024-01-01", "0777", "null", "~", "1e3", "yes ", "a: b", "#c"];
        let text = yaml(&[json!({"words": words, "long": "x ".repeat(200)})]);
        for word in words {
            assert!(text.contains(&format!("\"{word}\"")) || text.contains(&format!("'{word}'")), "{word}: {text}");
        }
        assert_eq!(text.lines().count(), words.len() + 2);
        let read: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(read[0]["words"], json!(words));
    }
}
