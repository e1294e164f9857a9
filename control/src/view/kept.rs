//! A release as it is kept, whether an API server or a folder keeps it.

use serde::Deserialize;
use serde_json::Value;

use crate::engine::Millis;
use crate::engine::refusal::Standing;
use crate::engine::request::{self, Request, Verb};
use crate::engine::status::Status;
use crate::release::{STABLE, Spec};

/// A release as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The whole object, to be printed as it is.
    pub object: Value,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it was made; unknown in a folder.
    pub created_ms: Option<Millis>,
    /// Generation of its spec; unknown in a folder.
    pub generation: Option<i64>,
    /// True when it is to disappear once its lanes have left the proxies.
    pub deleting: bool,
    /// What it says; nothing when this `graylane` cannot read it.
    pub spec: Option<Spec>,
    /// What it has come to.
    pub status: Status,
    /// What a person asked of it last.
    pub asked: Option<Request>,
}

/// Why an object cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// Not an object of Kubernetes.
    #[error("an object without a name was kept")]
    NoName,
    /// Its status was written by something newer, or by hand.
    #[error("the status of `{name}` cannot be read; use the `graylane` that wrote it")]
    Status {
        /// Name of the release.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Head {
    name: String,
    namespace: String,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
    generation: Option<i64>,
    annotations: std::collections::BTreeMap<String, String>,
}

// === impl Kept ===

impl Kept {
    /// Reads an object in the JSON of Kubernetes.
    ///
    /// A spec that cannot be read is left out, so that what is wrong with it can still be shown.
    ///
    /// # Errors
    /// When it has no name, or a status of another shape.
    pub fn of(object: Value) -> Result<Self, KeptError> {
        let part = |name: &str| object.get(name).cloned().unwrap_or(Value::Null);
        let head: Head = serde_json::from_value(part("metadata")).unwrap_or_default();
        if head.name.is_empty() {
            return Err(KeptError::NoName);
        }
        let status: Option<Status> = serde_json::from_value(part("status"))
            .map_err(|source| KeptError::Status { name: head.name.clone(), source })?;
        let asked = head.annotations.get(request::ANNOTATION).and_then(|text| serde_json::from_str(text).ok());
        Ok(Self {
            created_ms: head.creation_timestamp.as_deref().and_then(millis),
            generation: head.generation,
            deleting: head.deletion_timestamp.is_some(),
            spec: serde_json::from_value(part("spec")).ok(),
            status: status.unwrap_or_default(),
            asked,
            namespace: head.namespace,
            name: head.name,
            object,
        })
    }

    /// Its group, which is its own name where the spec names none.
    pub fn group(&self) -> &str {
        self.spec.as_ref().and_then(|spec| spec.group.as_deref()).unwrap_or(&self.name)
    }

    /// Every lane, stable last; without a readable spec those that have weight.
    pub fn lanes(&self) -> Vec<String> {
        let mut lanes: Vec<String> = match &self.spec {
            Some(spec) => spec.lanes.iter().map(|lane| lane.name.clone()).collect(),
            None => self.status.weights.keys().cloned().collect(),
        };
        lanes.push(STABLE.into());
        lanes
    }

    /// Why a request makes no sense now, and what would; nothing if it may be made. The engine decides in the
    /// end, by what it sees when the request reaches it.
    pub fn refusal(&self, verb: Verb) -> Option<String> {
        if self.deleting {
            return Some("it is being deleted; what it has in lanes returns to stable".into());
        }
        let spec = self.spec.as_ref();
        let leader = spec.and_then(|spec| spec.argo.as_ref()).map(|argo| argo.rollout.as_str());
        let paused = spec.is_some_and(|spec| spec.paused);
        Standing { status: &self.status, paused, leader }.refusal(verb)
    }

    /// Whether the status is about the spec and the request as they are now: before, it says nothing
    /// about what was asked last.
    pub fn is_current(&self) -> bool {
        let spec = self.generation.is_none_or(|generation| self.status.observed_generation >= generation);
        let request = self.asked.as_ref().is_none_or(|asked| asked.id == self.status.handled_request);
        spec && request
    }
}

fn millis(time: &str) -> Option<Millis> {
    let time: jiff::Timestamp = time.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        json!({
            "metadata": {"name": "summer", "namespace": "shop", "generation": 2,
                "creationTimestamp": "1970-01-01T00:00:05Z",
                "annotations": {"graylane.io/request": r#"{"id": "a", "verb": "abort"}"#}},
            "spec": {"lanes": [{"name": "canary"}], "members": [{"service": "orders"}]},
            "status": {"phase": "Paused", "observedGeneration": 2, "handledRequest": "a"},
        })
    }

    #[test]
    fn an_object_is_read_with_its_request() {
        let kept = Kept::of(object()).unwrap();
        assert_eq!((kept.name.as_str(), kept.group(), kept.created_ms), ("summer", "summer", Some(5_000)));
        assert_eq!(kept.lanes(), ["canary", "stable"]);
        assert!(kept.is_current());
    }

    #[test]
    fn a_status_of_an_older_spec_or_before_a_request_is_not_current() {
        let mut older = object();
        older["metadata"]["generation"] = json!(3);
        assert!(!Kept::of(older).unwrap().is_current());
        let mut unheard = object();
        unheard["status"]["handledRequest"] = json!("");
        assert!(!Kept::of(unheard).unwrap().is_current());
    }

    #[test]
    fn a_spec_that_cannot_be_read_does_not_hide_the_status() {
        let mut garbage = object();
        garbage["spec"] = json!({"lanes": 7});
        garbage["status"]["weights"] = json!({"canary": 500});
        let kept = Kept::of(garbage).unwrap();
        assert_eq!((kept.spec.is_none(), kept.lanes()), (true, vec!["canary".to_owned(), "stable".to_owned()]));
    }

    #[test]
    fn a_status_of_another_shape_is_an_error_that_names_the_release() {
        let mut newer = object();
        newer["status"]["phase"] = json!("Dancing");
        assert!(Kept::of(newer).unwrap_err().to_string().contains("`summer`"));
    }
}
