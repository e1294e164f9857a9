//! Releases kept by the API server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, Resource};
use serde_json::{Value, json};

use super::cache::{Cache, lock};
use super::call::answer;
use super::events::Events;
use super::metrics::Metrics;
use super::{FINALIZER, MANAGER, Wake, conditions, gray_release, object};
use crate::engine::seams::{Object, SeamError, Store};
use crate::engine::status::Status;

/// Releases on an API server.
#[derive(Clone)]
pub struct Releases(Arc<Kept>);

struct Kept {
    client: Client,
    kind: ApiResource,
    cache: Arc<Cache<DynamicObject>>,
    read: Mutex<Read>,
    /// What was reported as passed over, by id, so that it is said once.
    reported: Mutex<HashMap<String, Vec<String>>>,
    events: Events,
    metrics: Arc<Metrics>,
}

/// What was read: reading checks the whole spec, and a pass asks for all of them.
#[derive(Default)]
struct Read {
    /// The version of the cache that `all` was made of.
    version: Option<u64>,
    /// Oldest first.
    all: Vec<Arc<Object>>,
    /// By id, with the version of the object.
    by_id: HashMap<String, (String, Arc<Object>)>,
}

// === impl Releases ===

impl Releases {
    /// Starts to watch the releases of these namespaces; of all, if none is named.
    pub fn start(
        (calls, watches): (&Client, &Client),
        namespaces: &[String],
        events: Events,
        wake: &Wake,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let kind = gray_release();
        let cache = super::watch_kind(watches, &kind, namespaces, wake);
        let (read, reported) = Default::default();
        let metrics = Arc::clone(metrics);
        Self(Arc::new(Kept { client: calls.clone(), kind, cache, read, reported, events, metrics }))
    }

    /// The cache, for whoever asks whether it is ready.
    pub fn cache(&self) -> &Cache<DynamicObject> {
        &self.0.cache
    }

    /// Tells an event about a release.
    pub fn tell(&self, id: &str, reason: &str, note: &str) {
        let (namespace, name) = id.split_once('/').unwrap_or_default();
        if let Some(object) = self.0.cache.get(namespace, name) {
            self.0.events.tell(self.0.reference(&object), reason, note);
        }
    }
}

impl Store for Releases {
    /// The same list while the cache stays the same, and always the same object of a release that does.
    fn releases(&self) -> Vec<Arc<Object>> {
        let version = self.0.cache.version();
        let mut read = lock(&self.0.read);
        if read.version != Some(version) {
            *read = self.0.read_all(std::mem::take(&mut read.by_id), version);
        }
        read.all.clone()
    }

    async fn save(&self, object: &Object, status: &Status) -> Result<Object, SeamError> {
        let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut written = status.clone();
        written.conditions = conditions::merged(&object.status.conditions, &status.conditions, &now);
        let what = format!("release {}", object.id);
        let body = self.0.body(object, json!({"status": written}), &what)?;
        let api = self.0.api(object);
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let name = body.metadata.name.clone().unwrap_or_default();
        let answered = answer(&what, api.replace_subresource("status", &name, &params, &body)).await?;
        self.0.metrics.wrote("GrayRelease");
        let reference = self.0.reference(&answered);
        let known = &object.status.history;
        for entry in status.history.iter().filter(|entry| !known.contains(entry)) {
            self.0.events.tell(reference.clone(), &entry.reason, &entry.message);
        }
        Ok(self.0.noted(answered))
    }

    async fn hold(&self, object: &Object) -> Result<Object, SeamError> {
        self.0
            .finalize(object, |finalizers| {
                if !finalizers.iter().any(|one| one == FINALIZER) {
                    finalizers.push(FINALIZER.into());
                }
            })
            .await
    }

    async fn let_go(&self, object: &Object) -> Result<(), SeamError> {
        let gone = self.0.finalize(object, |finalizers| finalizers.retain(|one| one != FINALIZER)).await;
        match gone {
            Ok(_) | Err(SeamError::Gone { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

// === impl Kept ===

impl Kept {
    fn read_all(&self, mut before: HashMap<String, (String, Arc<Object>)>, version: u64) -> Read {
        let all = self.cache.all();
        let mut by_id = HashMap::with_capacity(all.len());
        for dynamic in all {
            let id = super::cache::id(&*dynamic);
            let version = dynamic.metadata.resource_version.clone().unwrap_or_default();
            let known = before
                .remove(&id)
                .filter(|(seen, object)| *seen == version && Some(&object.uid) == dynamic.metadata.uid.as_ref());
            let entry = known.unwrap_or_else(|| (version, Arc::new(self.read_object(&dynamic))));
            by_id.insert(id, entry);
        }
        let mut all: Vec<Arc<Object>> = by_id.values().map(|(_, object)| Arc::clone(object)).collect();
        all.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        Read { version: Some(version), all, by_id }
    }

    fn read_object(&self, dynamic: &DynamicObject) -> Object {
        let read = object::read(dynamic);
        let mut reported = lock(&self.reported);
        if read.ignored.is_empty() {
            reported.remove(&read.object.id);
        } else if reported.get(&read.object.id) != Some(&read.ignored) {
            for ignored in &read.ignored {
                tracing::warn!(release = read.object.id, ignored, "something in the release is passed over");
                self.events.tell(self.reference(dynamic), "Ignored", ignored);
            }
            reported.insert(read.object.id.clone(), read.ignored);
        }
        read.object
    }

    /// A body for a change of an object, with its fence. Only what changes is in it; on the status
    /// subresource the server keeps all the rest.
    fn body(&self, object: &Object, data: Value, what: &str) -> Result<DynamicObject, SeamError> {
        let (namespace, name) = object.id.split_once('/').unwrap_or_default();
        let mut body = DynamicObject::new(name, &self.kind).within(namespace).data(data);
        body.metadata.resource_version = Some(object.fence.clone());
        body.metadata.uid = Some(object.uid.clone());
        if object.fence.is_empty() {
            // Without a fence the server would take it whatever had happened.
            return Err(SeamError::Conflict { what: what.into() });
        }
        Ok(body)
    }

    fn api(&self, object: &Object) -> Api<DynamicObject> {
        let namespace = object.id.split('/').next().unwrap_or_default();
        Api::namespaced_with(self.client.clone(), namespace, &self.kind)
    }

    /// A merge patch with the version in it is refused with 409 like a replacement, and leaves alone
    /// what it does not name.
    async fn finalize(&self, object: &Object, change: impl FnOnce(&mut Vec<String>)) -> Result<Object, SeamError> {
        let what = format!("release {}", object.id);
        let (namespace, name) = object.id.split_once('/').unwrap_or_default();
        let known = self.cache.get(namespace, name).ok_or_else(|| SeamError::Gone { what: what.clone() })?;
        let mut finalizers = known.metadata.finalizers.clone().unwrap_or_default();
        change(&mut finalizers);
        let metadata = json!({"resourceVersion": object.fence, "uid": object.uid, "finalizers": finalizers});
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let answered = answer(&what, self.api(object).patch(name, &params, &patch)).await?;
        self.metrics.wrote("GrayRelease");
        Ok(self.noted(answered))
    }

    fn noted(&self, mut answered: DynamicObject) -> Object {
        super::cache::trim_fields(&mut answered);
        let is_last = answered.metadata.deletion_timestamp.is_some()
            && answered.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
        let read = object::read(&answered).object;
        if !is_last {
            self.cache.note(answered);
        }
        read
    }

    fn reference(&self, object: &DynamicObject) -> ObjectReference {
        object.object_ref(&self.kind)
    }
}
