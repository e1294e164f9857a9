//! Config that reaches proxies by objects of Istio's API.
//!
//! What is written, and with which generation, is decided by [`crate::istio::assign`]; here is the
//! writing, with its fence, and the watching for whoever else writes.

mod drift;
mod ear;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use graylane_policy::Policy;
use graylane_policy::raw::RawConfig;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client};

use self::drift::Drift;
use self::ear::{Ear, Report};
use super::cache::{Cache, lock, trim_fields};
use super::call::answer;
use super::events::Events;
use super::lease::Term;
use super::metrics::Metrics;
use super::{MANAGER, Wake};
use crate::build::Side;
use crate::engine::seams::{Delivery, Place, SeamError, Wanted};
use crate::istio::assign::{Order, assign};
use crate::istio::config::Emitter;
use crate::istio::held::Held;
use crate::istio::module::Module;
use crate::istio::object::{digest, spec};
use crate::release::finding::Findings;

/// Delivery by Istio.
#[derive(Clone)]
pub struct Delivered(Arc<Inner>);

struct Inner {
    client: Client,
    emitter: Emitter,
    module: Module,
    cache: Arc<Cache<DynamicObject>>,
    drift: Arc<Mutex<Drift>>,
    report: Report,
    /// What was read, by namespace.
    read: Mutex<HashMap<String, Read>>,
    /// Namespaces whose documents get a new generation whatever they hold.
    renew: Mutex<BTreeSet<String>>,
    term: Term,
    metrics: Arc<Metrics>,
}

/// What was read of a namespace, and what it was read from.
struct Read {
    /// Of the cache: while it is the same, no object is even looked at.
    version: u64,
    objects: Versions,
    held: Arc<Held>,
}

/// Identity and version of each object.
type Versions = Vec<(Option<String>, Option<String>)>;

// === impl Delivered ===

impl Delivered {
    /// Starts to watch the objects of these namespaces; of all, if none is named.
    pub fn start(
        (calls, watches): (&Client, &Client),
        namespaces: &[String],
        (emitter, module): (Emitter, Module),
        (wake, term): (&Wake, Term),
        metrics: &Arc<Metrics>,
        events: &Events,
    ) -> Self {
        let kind = emitter.kind();
        let drift = Arc::new(Mutex::new(Drift::new(emitter)));
        // All of them are watched, not only those with our label: who takes the label away must not hide
        // the object.
        let apis = if namespaces.is_empty() {
            vec![Api::all_with(watches.clone(), &kind)]
        } else {
            namespaces.iter().map(|one| Api::namespaced_with(watches.clone(), one, &kind)).collect()
        };
        let report =
            Report { kind: kind.clone(), wake: wake.clone(), metrics: Arc::clone(metrics), events: events.clone() };
        let ear = |at: usize| -> Box<dyn super::cache::Listener<DynamicObject>> {
            let namespace = namespaces.get(at).cloned();
            Box::new(Ear::new(Arc::clone(&drift), term.clone(), namespace, report.clone()))
        };
        let cache = Cache::start(&kind, apis, None, wake, trim_fields, ear);
        let (read, renew) = Default::default();
        let metrics = Arc::clone(metrics);
        let client = calls.clone();
        Self(Arc::new(Inner { client, emitter, module, cache, drift, report, read, renew, term, metrics }))
    }

    /// Begins to watch over what is there, for whoever begins to lead: another instance has written it.
    pub fn take_over(&self) {
        let mut drift = lock(&self.0.drift);
        // Read under the lock: what the watch hears meanwhile waits until it can be compared.
        let objects = self.0.objects(|_| true);
        let changed = drift.take_over(objects.iter().map(|object| &**object));
        drop(drift);
        // The first pass of a leader looks everywhere, so it is put right without more.
        changed.iter().for_each(|key| self.0.report.tell(key, "changed", Duration::ZERO));
    }

    /// Whether it has taken over, and nobody else can have since.
    pub fn has_taken_over(&self) -> bool {
        lock(&self.0.drift).leads()
    }

    /// Leaves what is there to whoever leads now.
    pub fn step_down(&self) {
        lock(&self.0.drift).step_down();
    }

    /// The cache, for whoever asks whether it is ready.
    pub fn cache(&self) -> &Cache<DynamicObject> {
        &self.0.cache
    }
}

impl Delivery for Delivered {
    async fn deliver(
        &self,
        namespace: &str,
        wanted: &BTreeMap<Place, Wanted>,
        floor: u64,
    ) -> Result<BTreeMap<Place, u64>, SeamError> {
        let inner = &self.0;
        let renews = lock(&inner.renew).contains(namespace);
        let renew: BTreeSet<Side> = if renews { Side::ALL.into() } else { BTreeSet::new() };
        let (emitter, module) = (inner.emitter, &inner.module);
        let order = Order { emitter, module, namespace, floor, renew: &renew };
        let assignment = assign(&order, &inner.held(namespace), wanted);
        for object in &assignment.objects {
            inner.check(object)?;
        }
        for object in assignment.objects {
            inner.write(object).await?;
        }
        lock(&inner.renew).remove(namespace);
        Ok(assignment.generations)
    }

    fn renew(&self, namespace: &str) {
        lock(&self.0.renew).insert(namespace.to_owned());
    }

    fn is_stopped(&self, namespace: &str) -> bool {
        self.0.held(namespace).stopped().is_some()
    }

    fn held(&self, place: &Place) -> Option<RawConfig> {
        self.0.held(&place.namespace).document(place.side).cloned()
    }

    fn places(&self) -> Vec<Place> {
        let inner = &self.0;
        let namespaces: BTreeSet<String> =
            inner.objects(|_| true).iter().filter_map(|one| one.metadata.namespace.clone()).collect();
        let sides = |namespace: String| {
            let held = inner.held(&namespace);
            let has = Side::ALL.into_iter().filter(|side| held.has(*side)).collect::<Vec<_>>();
            has.into_iter().map(move |side| Place { namespace: namespace.clone(), side })
        };
        namespaces.into_iter().flat_map(sides).collect()
    }

    fn disturbed(&self) -> Vec<String> {
        lock(&self.0.drift).due(Instant::now())
    }
}

// === impl Inner ===

impl Inner {
    fn objects(&self, condition: impl Fn(&DynamicObject) -> bool) -> Vec<Arc<DynamicObject>> {
        let owns = |object: &DynamicObject| object.metadata.name.as_deref().is_some_and(|name| self.emitter.owns(name));
        self.cache.filter(|object| owns(object) && condition(object))
    }

    /// What a namespace holds, read again only when an object of it is another one.
    fn held(&self, namespace: &str) -> Arc<Held> {
        let version = self.cache.version();
        let mut read = lock(&self.read);
        if let Some(known) = read.get(namespace).filter(|known| known.version == version) {
            return Arc::clone(&known.held);
        }
        let mut objects = self.objects(|object| object.metadata.namespace.as_deref() == Some(namespace));
        objects.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let of = |one: &Arc<DynamicObject>| (one.metadata.uid.clone(), one.metadata.resource_version.clone());
        let versions: Versions = objects.iter().map(of).collect();
        let held = match read.remove(namespace) {
            Some(known) if known.objects == versions => known.held,
            _ => Arc::new(Held::read(self.emitter, objects.iter().map(|object| &**object))),
        };
        read.insert(namespace.to_owned(), Read { version, objects: versions, held: Arc::clone(&held) });
        held
    }

    /// Every document is checked by the code that runs it before any is written: one that is refused
    /// could hold back its siblings on a proxy.
    fn check(&self, object: &DynamicObject) -> Result<(), SeamError> {
        let held = Held::read(self.emitter, [object]);
        for document in Side::ALL.into_iter().filter_map(|side| held.document(side)) {
            Policy::check(document)
                .map_err(|error| SeamError::Refused { what: name(object), source: Box::new(error) })?;
        }
        Ok(())
    }

    async fn write(&self, object: DynamicObject) -> Result<(), SeamError> {
        let what = name(&object);
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &namespace, &self.emitter.kind());
        let wanted = digest(spec(&object));
        // Its fence may be newer than what it was decided by.
        self.term.check(&what)?;
        lock(&self.drift).intend(&object);
        let answered = self.send(&api, &what, &object).await?;
        let answered = if digest(spec(&answered)) == wanted {
            answered
        } else {
            // Somebody else's fields are still in it: server-side apply leaves alone what we do not name.
            let mut whole = object;
            whole.metadata.resource_version = answered.metadata.resource_version;
            let (name, params) = (whole.metadata.name.clone().unwrap_or_default(), written_by_us());
            answer(&what, api.replace(&name, &params, &whole)).await?
        };
        lock(&self.drift).written(&answered);
        self.cache.note(trimmed(answered));
        self.metrics.wrote(&self.emitter.kind().kind);
        Ok(())
    }

    /// An object that was read replaces only what was read; one that was not there must not be there.
    async fn send(
        &self,
        api: &Api<DynamicObject>,
        what: &str,
        object: &DynamicObject,
    ) -> Result<DynamicObject, SeamError> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        if object.metadata.resource_version.is_some() {
            let params = PatchParams::apply(MANAGER).force();
            answer(what, api.patch(name, &params, &Patch::Apply(object))).await
        } else {
            answer(what, api.create(&written_by_us(), object)).await
        }
    }
}

fn written_by_us() -> PostParams {
    PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() }
}

fn trimmed(mut object: DynamicObject) -> DynamicObject {
    trim_fields(&mut object);
    object
}

fn name(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| types.kind.as_str());
    format!("{kind} {}", super::cache::id(object))
}

/// Whether a module can be used with an emitter.
///
/// # Errors
/// With the way out.
pub fn check_module(emitter: Emitter, module: &Module) -> Result<(), Findings> {
    let checked = if emitter == Emitter::EnvoyFilter { module.check_for_envoy_filter() } else { Ok(()) };
    checked.map_err(|error| Findings::of("--module", error.to_string(), ""))
}
