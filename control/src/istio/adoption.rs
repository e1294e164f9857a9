//! What `graylane install` does to a namespace: from what there is and what is wished to objects, to
//! pods, and to what a person should know before. Pure.

mod fitness;
mod meeting;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use kube::core::DynamicObject;
use serde_json::Value;

pub use self::fitness::problems;
pub use self::meeting::ReleaseFacts;
use super::assign::{Order, assign};
use super::config::Emitter;
use super::held::Held;
use super::module::Module;
use super::object::{digest, is_as_written, spec};
use super::stanza::{self, Marks, Wiring, entry_stanza};
use super::{ENTRY_INBOUND, ENTRY_OUTBOUND, OPT_IN};
use crate::build::Side;
use crate::engine::seams::{Place, Wanted};
use crate::release::finding::Findings;

/// Labels, as objects have them.
pub type Labels = BTreeMap<String, String>;

/// What is wished for a namespace.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The namespace.
    pub namespace: String,
    /// Whether its opted-in proxies are gateways. What is installed already stays so.
    pub gateway: bool,
    /// Whether they are sidecars; if neither is said or installed, they are.
    pub sidecars: bool,
    /// Headers that groups carry their lane in, besides those of releases.
    pub headers: BTreeSet<String>,
    /// Whether a group also travels as baggage.
    pub baggage: bool,
    /// Services whose inbound side chooses lanes.
    pub inbound: BTreeSet<String>,
    /// Services whose outbound side chooses lanes.
    pub outbound: BTreeSet<String>,
    /// How documents travel.
    pub emitter: Emitter,
    /// Where the module is; WasmPlugins cannot be without one.
    pub module: Option<Module>,
    /// Whether the root namespace is meant, and so the whole mesh.
    pub root: bool,
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Labels of the namespace.
    pub labels: Labels,
    /// The namespace whose objects Istio applies to the whole mesh.
    pub root_namespace: String,
    /// Whether other clusters belong to the mesh.
    pub remote_clusters: bool,
    /// Pods of the namespace.
    pub pods: Vec<PodFacts>,
    /// Services of the namespace, with the labels of their pods.
    pub services: BTreeMap<String, Labels>,
    /// Labels of the services themselves.
    pub service_labels: BTreeMap<String, Labels>,
    /// EnvoyFilters and WasmPlugins of the namespace.
    pub filters: Vec<DynamicObject>,
    /// Releases of the cluster.
    pub releases: Vec<ReleaseFacts>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Whether it has a proxy of Istio's.
    pub has_proxy: bool,
}

/// What will be done.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Every object, in the order of writing.
    pub objects: Vec<Planned>,
    /// Pods whose listeners change.
    pub taken: Vec<String>,
    /// Pods that have a proxy and no opt-in label.
    pub left_out: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// An object, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The object as it will be.
    pub object: DynamicObject,
    /// What becomes of it.
    pub change: Change,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is there with another content.
    Changed,
    /// It is there already.
    Same,
}

/// Plans the installation.
///
/// # Errors
/// When the namespace is of a kind that graylane does not serve, or the wish contradicts itself or what
/// there is; every problem is named.
pub fn plan(wish: &Wish, facts: &Facts) -> Result<Installation, Findings> {
    let installed = facts.filters.iter().find(|object| is(object, "EnvoyFilter", stanza::NAME)).map(stanza::wiring);
    let installed = installed.unwrap_or_default();
    let wish = &wish.with(&installed);
    let mut problems = problems(wish, facts);
    let releases: Vec<&ReleaseFacts> = facts.releases.iter().filter(|one| one.meets_at(&wish.namespace)).collect();
    problems.extend(meeting::problems(wish, &releases));
    if !problems.is_empty() {
        return Err(Findings(problems));
    }
    let stanzas = stanzas(wish, facts, installed.gateway.unwrap_or_default(), &releases);
    let configs = configs(wish, facts);
    let changes_listeners = stanzas.iter().any(|planned| planned.change != Change::Same);
    let (taken, left_out) = pods(wish, facts);
    let notes = notes(wish, facts, changes_listeners, &left_out);
    let objects = stanzas.into_iter().chain(configs).collect();
    Ok(Installation { objects, taken: if changes_listeners { taken } else { Vec::new() }, left_out, notes })
}

/// The stanza and, where services are entries, theirs. Headers that are moved away already stay so:
/// another group needs them.
fn stanzas(wish: &Wish, facts: &Facts, installed: Marks, releases: &[&ReleaseFacts]) -> Vec<Planned> {
    let gateway = wish.gateway.then(|| {
        let mut marks = installed;
        marks.carried.extend(wish.headers.iter().map(|name| name.to_ascii_lowercase()));
        marks.carried.extend(releases.iter().map(|release| release.header.to_ascii_lowercase()));
        if marks.carried.is_empty() {
            marks.carried.insert("x-release-stage".to_owned());
        }
        marks.baggage |= wish.baggage || releases.iter().any(|release| release.baggage);
        marks
    });
    let wiring = Wiring { gateway, sidecars: wish.sidecars, filters: wish.emitter == Emitter::EnvoyFilter };
    let mut objects = vec![stanza::stanza(&wish.namespace, &wiring)];
    if wish.emitter == Emitter::EnvoyFilter {
        for service in wish.inbound.union(&wish.outbound) {
            let inbound = wish.inbound.contains(service).then_some(Side::InboundEntry);
            let outbound = wish.outbound.contains(service).then_some(Side::OutboundEntry);
            let sides = inbound.into_iter().chain(outbound).collect();
            let pods = facts.services.get(service).cloned().unwrap_or_default();
            objects.push(entry_stanza(&wish.namespace, service, &pods, &sides));
        }
    }
    objects.into_iter().map(|object| planned(object, &facts.filters)).collect()
}

/// An inert config for every side that has none yet, so that gateways start at once.
fn configs(wish: &Wish, facts: &Facts) -> Vec<Planned> {
    let held =
        Held::read(wish.emitter, facts.filters.iter().filter(|object| is_kind(object, &wish.emitter.kind().kind)));
    let missing: Vec<Side> = sides(wish).into_iter().filter(|side| !held.has(*side)).collect();
    let place = |side: &Side| (Place { namespace: wish.namespace.clone(), side: *side }, Wanted::Inert);
    let wanted = missing.iter().map(place).collect();
    // Only WasmPlugins look at it, and they have been asked for one.
    let module = wish.module.clone().unwrap_or(Module::File { path: String::new() });
    let (renew, namespace) = (BTreeSet::new(), wish.namespace.as_str());
    let order = Order { emitter: wish.emitter, module: &module, namespace, floor: 0, renew: &renew };
    let lacks = |object: &DynamicObject| {
        missing.iter().any(|side| Some(wish.emitter.object_name(*side)) == object.metadata.name.as_deref())
    };
    let objects = assign(&order, &held, &wanted).objects.into_iter().filter(lacks);
    objects.map(|object| planned(object, &facts.filters)).collect()
}

fn sides(wish: &Wish) -> Vec<Side> {
    let has = |side: &Side| match side {
        Side::Gateway => wish.gateway,
        Side::Inbound | Side::Outbound => wish.sidecars,
        Side::InboundEntry => !wish.inbound.is_empty(),
        Side::OutboundEntry => !wish.outbound.is_empty(),
    };
    Side::ALL.into_iter().filter(has).collect()
}

fn planned(mut object: DynamicObject, held: &[DynamicObject]) -> Planned {
    let (kind, name) = (kind_of(&object).to_owned(), object.metadata.name.clone().unwrap_or_default());
    let change = match held.iter().find(|one| is(one, &kind, &name)) {
        None => Change::Added,
        Some(one) => {
            object.metadata.resource_version.clone_from(&one.metadata.resource_version);
            let is_same = is_as_written(one) && digest(spec(one)) == digest(spec(&object));
            if is_same { Change::Same } else { Change::Changed }
        }
    };
    Planned { object, change }
}

/// Pods that take part, and those that could.
fn pods(wish: &Wish, facts: &Facts) -> (Vec<String>, Vec<String>) {
    let is_in = |pod: &&PodFacts| pod.labels.get(OPT_IN).is_some_and(|value| value == "true");
    let names = |pods: Vec<&PodFacts>| pods.into_iter().map(|pod| format!("{}/{}", wish.namespace, pod.name)).collect();
    let (taken, others): (Vec<_>, Vec<_>) = facts.pods.iter().partition(is_in);
    (names(taken), names(others.into_iter().filter(|pod| pod.has_proxy).collect()))
}

fn notes(wish: &Wish, facts: &Facts, changes_listeners: bool, left_out: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if changes_listeners {
        notes.push(
            "listeners of these proxies change: their open connections are drained once, long ones are closed when \
             the drain time of the mesh is over"
                .to_owned(),
        );
        notes.push("each sidecar takes about 50 MB more memory once the module is loaded".to_owned());
    }
    if !left_out.is_empty() {
        notes.push(format!(
            "pods take part by the label {OPT_IN}: \"true\" in the template of their workload; setting it restarts them"
        ));
    }
    for (services, label) in [(&wish.inbound, ENTRY_INBOUND), (&wish.outbound, ENTRY_OUTBOUND)] {
        if wish.emitter == Emitter::WasmPlugin && !services.is_empty() {
            notes.push(format!("WasmPlugins find the pods that choose lanes by the label {label}: \"true\""));
        }
    }
    if facts.pods.is_empty() {
        notes.push("there are no pods yet; those that start later take part by their label".to_owned());
    }
    notes
}

fn is(object: &DynamicObject, kind: &str, name: &str) -> bool {
    is_kind(object, kind) && object.metadata.name.as_deref() == Some(name)
}

fn is_kind(object: &DynamicObject, kind: &str) -> bool {
    kind_of(object) == kind
}

fn kind_of(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}

// === impl Wish ===

impl Wish {
    /// Nothing that is installed goes by installing something else.
    fn with(&self, installed: &Wiring) -> Self {
        let gateway = self.gateway || installed.gateway.is_some();
        let sidecars = self.sidecars || installed.sidecars || !gateway;
        Self { gateway, sidecars, ..self.clone() }
    }
}

// === impl PodFacts ===

impl PodFacts {
    /// What is looked at of a pod, from the object.
    pub fn read(pod: &Value) -> Self {
        let at = |path: &str| pod.pointer(path).cloned().unwrap_or_default();
        let containers = ["/spec/containers", "/spec/initContainers"].map(at);
        let mut named = containers.iter().filter_map(Value::as_array).flatten();
        let has_container = named.any(|container| container.get("name").is_some_and(|name| name == "istio-proxy"));
        let is_injected = pod.pointer("/metadata/annotations/sidecar.istio.io~1status").is_some();
        Self {
            name: at("/metadata/name").as_str().unwrap_or_default().to_owned(),
            labels: serde_json::from_value(at("/metadata/labels")).unwrap_or_default(),
            has_proxy: has_container || is_injected,
        }
    }
}
