//! From an object of the API server to what the engine knows of a release. Pure, and it cannot fail:
//! whatever is wrong with the object is part of the answer, so that one bad object harms no other.

use kube::core::DynamicObject;
use serde_json::{Map, Value};

use super::FINALIZER;
use crate::engine::request::{ANNOTATION, Request};
use crate::engine::seams::Object;
use crate::engine::status::Status;
use crate::release::Release;
use crate::release::cluster::check_object;
use crate::release::finding::Findings;

/// A release as read, with what had to be passed over.
#[derive(Clone, Debug)]
pub struct Read {
    /// The release.
    pub object: Object,
    /// Things that were passed over, in words.
    pub ignored: Vec<String>,
}

/// Reads a release.
pub fn read(object: &DynamicObject) -> Read {
    let metadata = &object.metadata;
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let name = metadata.name.clone().unwrap_or_default();
    let mut ignored = Vec::new();
    let request = request(metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION)), &mut ignored);
    let status = status(object.data.get("status"), &mut ignored);
    let created = metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_millisecond());
    let read = Object {
        id: format!("{namespace}/{name}"),
        uid: metadata.uid.clone().unwrap_or_default(),
        fence: metadata.resource_version.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or(0),
        created_ms: u64::try_from(created).unwrap_or(0),
        deleting: metadata.deletion_timestamp.is_some(),
        held: metadata.finalizers.iter().flatten().any(|one| one == FINALIZER),
        spec: release(object),
        paused: object.data.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or(false),
        request,
        status,
    };
    Read { object: read, ignored }
}

fn release(object: &DynamicObject) -> Result<Release, Findings> {
    // Metadata and JSON values always serialise.
    let value = serde_json::to_value(object).unwrap_or_default();
    check_object(&value).map(|checked| checked.release)
}

/// The request of a person, if it can be read.
fn request(text: Option<&String>, ignored: &mut Vec<String>) -> Option<Request> {
    let text = text?;
    match serde_json::from_str(text) {
        Ok(request) => Some(request),
        Err(error) => {
            ignored.push(format!(
                "the annotation {ANNOTATION} is not a request ({error}); ask with the commands of graylane"
            ));
            None
        }
    }
}

/// The status. A field that somebody damaged is left out, and the others still count: a release must
/// not begin anew because of one.
fn status(value: Option<&Value>, ignored: &mut Vec<String>) -> Status {
    let Some(value) = value else { return Status::default() };
    if let Ok(status) = serde_json::from_value(value.clone()) {
        return status;
    }
    let fields = value.as_object().cloned().unwrap_or_default();
    let (good, bad): (Map<_, _>, Map<_, _>) = fields.into_iter().partition(|(name, value)| {
        serde_json::from_value::<Status>(Value::Object(Map::from_iter([(name.clone(), value.clone())]))).is_ok()
    });
    for name in bad.keys() {
        ignored.push(format!("status.{name} is not what graylane writes there, and was passed over"));
    }
    serde_json::from_value(Value::Object(good)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::request::Verb;
    use crate::engine::status::Phase;
    use serde_json::json;

    fn object(spec: Value, status: Value, annotations: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "graylane.io/v1alpha1", "kind": "GrayRelease",
            "metadata": {"namespace": "shop", "name": "summer", "uid": "u", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-11-23T04:00:00Z", "annotations": annotations,
                "finalizers": ["graylane.io/lanes"]},
            "spec": spec, "status": status,
        }))
        .unwrap()
    }

    fn spec() -> Value {
        json!({"lanes": [{"name": "canary"}], "members": [{"service": "orders"}], "steps": [{"weight": "5%"}],
            "entry": {"gateways": [{"namespace": "edge"}]}})
    }

    #[test]
    fn a_release_is_read_with_its_fence_and_its_hold() {
        let read = read(&object(spec(), json!({"phase": "Progressing", "step": 2}), json!({})));
        assert_eq!(read.ignored, Vec::<String>::new());
        let object = read.object;
        assert_eq!((object.id.as_str(), object.fence.as_str(), object.generation), ("shop/summer", "7", 3));
        assert!(object.held && !object.deleting);
        assert_eq!(object.created_ms, 1_795_406_400_000);
        assert_eq!(object.spec.unwrap().group, "summer");
        assert_eq!((object.status.phase, object.status.step), (Phase::Progressing, 2));
    }

    #[test]
    fn a_garbled_spec_is_told_with_its_path() {
        let findings = read(&object(json!({"lanes": "canary"}), Value::Null, json!({}))).object.spec.unwrap_err();
        assert!(findings.to_string().contains("spec.lanes"), "{findings}");
        let none = read(&serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": "x"}})).unwrap());
        assert!(none.object.spec.is_err());
    }

    #[test]
    fn a_garbled_request_is_named_and_passed_over() {
        let read = read(&object(spec(), Value::Null, json!({ANNOTATION: "promote!"})));
        assert_eq!(read.object.request, None);
        assert!(read.ignored[0].contains(ANNOTATION), "{:?}", read.ignored);
    }

    #[test]
    fn a_request_is_read() {
        let text = r#"{"id": "1", "verb": "promoteFull"}"#;
        let read = read(&object(spec(), Value::Null, json!({ANNOTATION: text})));
        assert_eq!(read.object.request.unwrap().verb, Verb::PromoteFull);
    }

    #[test]
    fn one_damaged_field_of_the_status_does_not_lose_the_others() {
        let damaged = json!({"phase": "Progressing", "step": 2, "attempt": "many", "salt": "s"});
        let read = read(&object(spec(), damaged, json!({})));
        assert_eq!((read.object.status.step, read.object.status.salt.as_str()), (2, "s"));
        assert_eq!(read.ignored.len(), 1);
        assert!(read.ignored[0].contains("status.attempt"));
    }
}
