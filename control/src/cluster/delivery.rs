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
use crate::istio::assign::{Assignment, Order, assign};
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

/// What brings a namespace to what it shall run.
#[derive(Debug)]
pub struct Checked {
    namespace: String,
    assignment: Assignment,
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
    type Checked = Checked;

    fn check(&self, namespace: &str, wanted: &BTreeMap<Place, Wanted>, floor: u64) -> Result<Checked, SeamError> {
        let inner = &self.0;
        let renews = lock(&inner.renew).contains(namespace);
        let renew: BTreeSet<Side> = if renews { Side::ALL.into() } else { BTreeSet::new() };
        let (emitter, module) = (inner.emitter, &inner.module);
        let order = Order { emitter, module, namespace, floor, renew: &renew };
        let assignment = checked(&order, &inner.held(namespace), wanted)?;
        Ok(Checked { namespace: namespace.to_owned(), assignment })
    }

    async fn deliver(&self, checked: Checked) -> Result<BTreeMap<Place, u64>, SeamError> {
        for object in checked.assignment.objects {
            self.0.write(object).await?;
        }
        lock(&self.0.renew).remove(&checked.namespace);
        Ok(checked.assignment.generations)
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

/// What has to be written. Every document of it is checked by the code that runs it: one that is refused could hold
/// back its siblings on a proxy.
fn checked(order: &Order<'_>, held: &Held, wanted: &BTreeMap<Place, Wanted>) -> Result<Assignment, SeamError> {
    let assignment = assign(order, held, wanted);
    for object in &assignment.objects {
        let held = Held::read(order.emitter, [object]);
        for document in Side::ALL.into_iter().filter_map(|side| held.document(side)) {
            Policy::check(document)
                .map_err(|error| SeamError::Refused { what: name(object), source: Box::new(error) })?;
        }
    }
    Ok(assignment)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{self, Running};
    use crate::release::read::read_text;
    use crate::release::validate::check;

    fn wanted(sides: &[Side]) -> BTreeMap<Place, Wanted> {
        let text = "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {name: r, namespace: shop}\n\
                    spec: {lanes: [{name: canary}], members: [{service: orders}]}\n";
        let release = check(read_text("r", text).unwrap(), &Side::ALL).unwrap().remove(0).release;
        let running = Running::new(release);
        let at = |side: &Side| {
            let place = Place { namespace: "shop".into(), side: *side };
            (place, Wanted::Document(vec![build::group(*side, &running)]))
        };
        sides.iter().map(at).collect()
    }

    fn spoil(wanted: &mut BTreeMap<Place, Wanted>, side: Side) {
        let place = Place { namespace: "shop".into(), side };
        let Some(Wanted::Document(groups)) = wanted.get_mut(&place) else { panic!("no document at {place:?}") };
        groups[0].carried_header = "not a header".into();
    }

    #[test]
    fn of_a_namespace_with_a_document_that_no_proxy_would_take_nothing_is_to_be_written() {
        let sides = [Side::Gateway, Side::Inbound, Side::Outbound];
        for emitter in [Emitter::EnvoyFilter, Emitter::WasmPlugin] {
            let (module, renew) = (Module::File { path: "/filter.wasm".into() }, BTreeSet::new());
            let order = Order { emitter, module: &module, namespace: "shop", floor: 0, renew: &renew };
            let held = Held::default();
            let objects = checked(&order, &held, &wanted(&sides)).unwrap().objects;
            assert_eq!(objects.len(), if emitter == Emitter::EnvoyFilter { 2 } else { 3 });
            for side in sides {
                let mut wanted = wanted(&sides);
                spoil(&mut wanted, side);
                let refused = checked(&order, &held, &wanted).unwrap_err();
                let SeamError::Refused { what, source } = refused else { panic!("{refused:?}") };
                assert!(what.contains(emitter.object_name(side)), "{what}");
                assert!(source.to_string().contains("not a header"), "{source}");
            }
        }
    }
}
