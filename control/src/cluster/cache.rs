//! Caches of the cluster's objects, kept by watches that start again by themselves.
//!
//! An answer to a write of ours is noted beside the watch, so that a question right after a write never
//! gets the object as it was before.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::reflector::store::{Store, Writer};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::Wake;
use super::call::WATCH_SECONDS;

/// Bounds of the wait before a broken watch is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// The objects of one kind in one or several namespaces.
pub struct Cache<K: Resource + 'static>
where
    K::DynamicType: Hash + Eq,
{
    stores: Vec<Store<K>>,
    /// Answers to our writes, until the watch has them too; by `namespace/name`.
    written: Mutex<HashMap<String, Arc<K>>>,
    state: Mutex<Vec<State>>,
    /// Grows with everything that may change an answer.
    version: AtomicU64,
    /// Kind, as people call it.
    pub kind: String,
}

/// How the watch of one namespace stands.
#[derive(Clone, Debug, Default)]
struct State {
    ready: bool,
    trouble: Option<Trouble>,
}

/// Why a cache cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The API server does not know the kind.
    Absent,
    /// We may not look.
    Forbidden(String),
    /// The API server does not answer as it should.
    Away(String),
}

/// What a watch says, for whoever wants to hear it besides the cache.
pub trait Listener<K>: Send + 'static {
    /// An event that the cache has already taken up.
    fn hear(&mut self, event: &Event<K>);
}

/// Nobody listens.
#[derive(Debug)]
pub struct Silence;

// === impl Cache ===

impl<K> Cache<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone + Send + Sync + Unpin + Debug,
{
    /// Starts to watch. `apis` are the namespaces, or one for all; `fields` is a selector of fields, for
    /// less than everything; `trim` makes objects smaller before they are kept.
    pub fn start(
        kind: &K::DynamicType,
        apis: Vec<Api<K>>,
        fields: Option<&str>,
        wake: &Wake,
        trim: fn(&mut K),
        listener: impl Fn(usize) -> Box<dyn Listener<K>>,
    ) -> Arc<Self> {
        let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
        if let Some(fields) = fields {
            config = config.fields(fields);
        }
        let writers: Vec<Writer<K>> = apis.iter().map(|_| Writer::new(kind.clone())).collect();
        let cache = Arc::new(Self {
            stores: writers.iter().map(Writer::as_reader).collect(),
            written: Mutex::default(),
            state: Mutex::new(vec![State::default(); apis.len()]),
            version: AtomicU64::new(0),
            kind: K::kind(kind).into_owned(),
        });
        for (at, (api, writer)) in apis.into_iter().zip(writers).enumerate() {
            let watch = Watch { cache: Arc::clone(&cache), at, wake: wake.clone(), trim, listener: listener(at) };
            tokio::spawn(watch.run(api, config.clone(), writer));
        }
        cache
    }
}

impl<K: Resource + 'static> std::fmt::Debug for Cache<K>
where
    K::DynamicType: Hash + Eq,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<K> Cache<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    /// While this number stays the same, so do the objects: what was made of them need not be made again.
    /// Read it before the objects.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Every object, in no order.
    pub fn all(&self) -> Vec<Arc<K>> {
        let mut all: Vec<Arc<K>> = self.stores.iter().flat_map(Store::state).collect();
        let mut written = lock(&self.written);
        if !written.is_empty() {
            // A note about an object that the watch no longer has is about one that is gone.
            let mut kept = HashMap::new();
            for object in &mut all {
                let key = key(&**object);
                if let Some(ours) = written.remove(&key).filter(|ours| is_newer(&**ours, &**object)) {
                    kept.insert(key, Arc::clone(&ours));
                    *object = ours;
                }
            }
            // One that the watch does not have yet was made a moment ago: it stays until it is seen.
            for (key, ours) in written.drain().filter(|(_, ours)| is_young(&**ours)) {
                all.push(Arc::clone(&ours));
                kept.insert(key, ours);
            }
            *written = kept;
        }
        all
    }

    /// The objects that fulfil a condition.
    pub fn filter(&self, condition: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.all().into_iter().filter(|object| condition(object)).collect()
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let is_it = |object: &K| object.meta().name.as_deref() == Some(name) && namespace_of(object) == namespace;
        let seen = self.stores.iter().find_map(|store| store.find(is_it));
        let ours = lock(&self.written).get(&format!("{namespace}/{name}")).cloned();
        match (seen, ours) {
            (Some(seen), Some(ours)) if is_newer(&*ours, &*seen) => Some(ours),
            (Some(seen), _) => Some(seen),
            (None, ours) => ours.filter(|ours| is_young(&**ours)),
        }
    }

    /// Notes the answer to a write.
    pub fn note(&self, object: K) -> Arc<K> {
        let object = Arc::new(object);
        let mut written = lock(&self.written);
        let known = written.get(&key(&*object));
        if known.is_none_or(|known| is_newer(&*object, &**known)) {
            written.insert(key(&*object), Arc::clone(&object));
        }
        drop(written);
        self.version.fetch_add(1, Ordering::SeqCst);
        object
    }

    /// Forgets what we wrote about an object, after we have deleted it.
    pub fn forget(&self, namespace: &str, name: &str) {
        lock(&self.written).remove(&format!("{namespace}/{name}"));
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether every watch has listed its objects once.
    pub fn is_ready(&self) -> bool {
        lock(&self.state).iter().all(|state| state.ready)
    }

    /// Why it cannot be believed now, if so.
    pub fn trouble(&self) -> Option<Trouble> {
        lock(&self.state).iter().find_map(|state| state.trouble.clone())
    }
}

/// One watch.
struct Watch<K: Resource + 'static>
where
    K::DynamicType: Hash + Eq,
{
    cache: Arc<Cache<K>>,
    at: usize,
    wake: Wake,
    trim: fn(&mut K),
    listener: Box<dyn Listener<K>>,
}

// === impl Watch ===

impl<K> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    async fn run(mut self, api: Api<K>, config: watcher::Config, mut writer: Writer<K>) {
        let trim = self.trim;
        let stream = watcher(api, config);
        futures::pin_mut!(stream);
        let mut patience = Patience::default();
        while let Some(event) = stream.next().await {
            match event {
                // Said before the list is asked for: no success, as which kube's own backoff takes it.
                Ok(event @ Event::Init) => writer.apply_watcher_event(&event),
                Ok(event) => {
                    patience = Patience::default();
                    let event = event.modify(trim);
                    writer.apply_watcher_event(&event);
                    self.heard(&event);
                    self.listener.hear(&event);
                    if !matches!(event, Event::InitApply(_)) {
                        self.wake.up();
                    }
                }
                Err(error) => {
                    self.failed(&error);
                    tokio::time::sleep(patience.next()).await;
                }
            }
        }
    }

    fn heard(&self, event: &Event<K>) {
        let mut state = lock(&self.cache.state);
        if let Some(state) = state.get_mut(self.at) {
            state.trouble = None;
            state.ready |= matches!(event, Event::InitDone);
        }
        drop(state);
        if let Event::Delete(object) = event {
            lock(&self.cache.written).remove(&key(object));
        }
        self.cache.version.fetch_add(1, Ordering::SeqCst);
    }

    fn failed(&self, error: &watcher::Error) {
        let trouble = trouble(error);
        let mut state = lock(&self.cache.state);
        let Some(state) = state.get_mut(self.at) else { return };
        if state.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(kind = self.cache.kind, ?trouble, "a watch is interrupted and will be tried again");
            state.trouble = Some(trouble);
            // A kind that is not installed is asked for again and again, and each time nothing is new.
            self.wake.up();
        }
    }
}

fn trouble(error: &watcher::Error) -> Trouble {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    };
    match status.map(|status| status.code) {
        Some(404) => Trouble::Absent,
        Some(401 | 403) => Trouble::Forbidden(status.map(|status| status.message.clone()).unwrap_or_default()),
        _ => Trouble::Away(error.to_string()),
    }
}

/// Whether `one` is a later state than `other`. Versions are numbers that grow over the whole server
/// (KEP-5504); two objects of one name are told apart by their identity.
fn is_newer<K: Resource>(one: &K, other: &K) -> bool {
    let version = |object: &K| object.meta().resource_version.as_ref().and_then(|text| text.parse::<u64>().ok());
    one.meta().uid == other.meta().uid && version(one) > version(other)
}

/// Whether an object was made so recently that a watch need not have it yet.
fn is_young<K: Resource>(object: &K) -> bool {
    let made = object.meta().creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let now = k8s_openapi::jiff::Timestamp::now().as_second();
    object.meta().deletion_timestamp.is_none() && now - made <= 10
}

fn namespace_of<K: Resource>(object: &K) -> &str {
    object.meta().namespace.as_deref().unwrap_or_default()
}

fn key<K: Resource>(object: &K) -> String {
    format!("{}/{}", namespace_of(object), object.meta().name.as_deref().unwrap_or_default())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is only ever replaced as a whole, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Listener ===

impl<K> Listener<K> for Silence {
    fn hear(&mut self, _: &Event<K>) {}
}

/// Drops what nobody here reads.
pub fn trim_fields<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// Waits that grow, and begin again after success.
struct Patience {
    next: Duration,
}

// === impl Patience ===

impl Default for Patience {
    fn default() -> Self {
        Self { next: BACKOFF.0 }
    }
}

impl Patience {
    fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(BACKOFF.1);
        wait
    }
}

/// `namespace/name` of an object.
pub fn id<K: Resource>(object: &K) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}
