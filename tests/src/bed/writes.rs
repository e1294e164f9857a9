//! Who wrote what: the audit log of the API server.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Bed;

/// What is noted: everything that changes something, without bodies.
pub(super) const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, verbs: [get, list, watch]}
- {level: Metadata}
";

/// The file that it is noted in.
pub(super) const LOG: &str = "audit.jsonl";

/// A request that changed something, or would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// `create`, `update`, `patch`, `delete`; server-side apply is `patch`.
    pub verb: String,
    /// Such as `envoyfilters` or `grayreleases/status`.
    pub resource: String,
    /// `namespace/name`; of objects without a namespace the name.
    pub object: String,
    /// Name of the user.
    pub user: String,
    /// What the client called itself.
    pub agent: String,
    /// The status of the answer; 409 for a lost race.
    pub code: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<Object>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    resource: String,
    subresource: Option<String>,
    namespace: Option<String>,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

// === impl Bed ===

impl Bed {
    /// Every write that the API server has answered, in its order; what it refused is among them.
    ///
    /// # Errors
    /// When its audit log cannot be read.
    pub fn writes(&self) -> Result<Vec<Write>> {
        let path = self.folder.path(LOG);
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        // The last line may still be in the making.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let event = |line| serde_json::from_str::<Event>(line).map(Write::from).context("read the audit log");
        whole.lines().map(event).collect()
    }
}

impl From<Event> for Write {
    fn from(event: Event) -> Self {
        let Object { resource, subresource, namespace, name } = event.object_ref.unwrap_or_default();
        Self {
            verb: event.verb,
            resource: subresource.map_or(resource.clone(), |part| format!("{resource}/{part}")),
            object: namespace.map_or(name.clone(), |namespace| format!("{namespace}/{name}")),
            user: event.user.username,
            agent: event.user_agent,
            code: event.response_status.map_or(0, |status| status.code),
        }
    }
}
