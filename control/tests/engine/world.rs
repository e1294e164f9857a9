//! A world in memory: releases, documents, proxies and workloads, with a clock that tests turn.
//!
//! Every change is one operation. An operation can be made to fail, or to be the last thing that a
//! controller does: it then never answers, before or after it took effect.

mod delivery;
mod ground;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use graylane::build::{Side, Version};
use graylane::counts::question::{Answer, Asked};
use graylane::engine::request::{Request, Verb};
use graylane::engine::rollout::Rollout;
use graylane::engine::seams::{Object, Place, SeamError, Wanted};
use graylane::engine::seen::Replicas;
use graylane::engine::status::{Phase, Status};
use graylane::release::Release;
use graylane::release::finding::Finding;

use crate::traffic::Traffic;

/// A handle on the world; copies share it.
#[derive(Clone, Default)]
pub struct World(Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    pub objects: BTreeMap<String, Object>,
    pub held: BTreeMap<Place, (u64, Wanted)>,
    pub proxies: BTreeMap<String, Proxy>,
    pub lanes: BTreeMap<Version, Replicas>,
    /// True where versions are told by probes, as in a folder.
    pub probed: bool,
    pub stable: BTreeMap<String, Deployment>,
    /// Rollouts, by service.
    pub rollouts: BTreeMap<String, Rollout>,
    pub problems: Vec<Finding>,
    pub stopped: bool,
    pub disturbed: BTreeSet<String>,
    pub renewed: BTreeSet<String>,
    /// Namespaces that do not exist.
    pub missing: BTreeSet<String>,
    /// Namespaces of which a document is refused.
    pub refused: BTreeSet<String>,
    /// Weights of each delivered entry document, in order, without repetition.
    pub course: Vec<BTreeMap<String, u32>>,
    /// Every change of a document, by its place, with the phase that `summer` had then.
    pub changes: Vec<(Place, Phase)>,
    pub writes: u32,
    pub operations: u64,
    /// Operations that never answer, and whether they take effect before.
    pub deaths: BTreeMap<u64, bool>,
    pub away: bool,
    /// How often somebody has looked at the lanes of a release, by its id.
    pub looks: BTreeMap<String, u32>,
    /// What reaches the gateway.
    pub traffic: Option<Traffic>,
    /// What Prometheus says to `paid`, by lane: a number, or why there is none.
    pub numbers: BTreeMap<&'static str, Result<f64, &'static str>>,
    /// What has been asked, and what came of it.
    pub asked: Asked,
    fence: u64,
}

/// An Envoy that takes what is delivered to its namespace at once, unless it is cut off.
#[derive(Clone, Default)]
pub struct Proxy {
    pub namespace: String,
    pub sides: Vec<Side>,
    pub cut: bool,
    pub crashed: bool,
    pub runs: BTreeMap<Place, u64>,
}

/// A stable workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deployment {
    pub replicas: Replicas,
    pub template: String,
    pub busy: bool,
}

// === impl World ===

impl World {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// One gateway, `orders` and `payment` with a canary each, and their sidecars.
    pub fn shop() -> Self {
        let world = Self::default();
        {
            let mut inner = world.lock();
            let sidecar = vec![Side::Inbound, Side::Outbound];
            inner.add_proxy("gateway-1", "istio-ingress", vec![Side::Gateway]);
            inner.add_proxy("gateway-2", "istio-ingress", vec![Side::Gateway]);
            for service in ["orders", "payment"] {
                inner.add_proxy(&format!("{service}-stable"), "shop", sidecar.clone());
                inner.add_proxy(&format!("{service}-canary"), "shop", sidecar.clone());
                let label = format!("{service}.shop");
                let four = Replicas { ready: 4, wanted: 4 };
                inner.lanes.insert(Version { service: label.clone(), lane: "canary".into() }, four);
                inner.stable.insert(label, Deployment { replicas: four, template: "old".into(), busy: false });
            }
        }
        world
    }

    pub fn add(&self, name: &str, yaml: &str) {
        self.add_in("shop", name, yaml);
    }

    pub fn add_in(&self, namespace: &str, name: &str, yaml: &str) {
        let mut inner = self.lock();
        let created_ms = 1_000 + inner.objects.len() as u64;
        let id = format!("{namespace}/{name}");
        let object = Object {
            uid: format!("uid-{name}"),
            fence: "0".into(),
            generation: 1,
            created_ms,
            deleting: false,
            held: false,
            spec: spec(namespace, name, yaml),
            paused: false,
            request: None,
            status: Status::default(),
            id: id.clone(),
        };
        inner.objects.insert(id, object);
    }

    pub fn edit(&self, name: &str, yaml: &str) {
        self.change(name, |object| {
            object.spec = spec("shop", name, yaml);
            object.generation += 1;
        });
    }

    pub fn ask(&self, name: &str, verb: Verb) {
        let id = format!("ask-{}", self.lock().operations);
        self.change(name, |object| object.request = Some(Request { id, verb, step: None }));
    }

    pub fn change(&self, name: &str, change: impl FnOnce(&mut Object)) {
        let mut inner = self.lock();
        inner.fence += 1;
        let fence = inner.fence.to_string();
        let object = inner.objects.get_mut(&format!("shop/{name}")).expect("the release exists");
        object.fence = fence;
        change(object);
    }

    pub fn status(&self, name: &str) -> Status {
        self.lock().objects.get(&format!("shop/{name}")).map(|object| object.status.clone()).unwrap_or_default()
    }

    /// Begins an operation: dies here, or says whether it shall die once it has taken effect.
    async fn operate(&self, what: &str) -> Result<bool, SeamError> {
        let death = {
            let mut inner = self.lock();
            inner.operations += 1;
            inner.deaths.get(&inner.operations).copied()
        };
        if death == Some(false) {
            std::future::pending::<()>().await;
        }
        if self.lock().away {
            return Err(SeamError::Away { what: what.into(), source: "away".into() });
        }
        Ok(death.is_some())
    }

    async fn end(&self, dies: bool) {
        if dies {
            std::future::pending::<()>().await;
        }
    }
}

fn spec(namespace: &str, name: &str, yaml: &str) -> Result<Release, graylane::release::finding::Findings> {
    let text = format!(
        "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n{yaml}"
    );
    let sources = graylane::release::read::read_text("release.yaml", &text)?;
    let mut checked = graylane::release::validate::check(sources, &[Side::Gateway, Side::Outbound])?;
    Ok(checked.remove(0).release)
}

// === impl Inner ===

impl Inner {
    fn add_proxy(&mut self, name: &str, namespace: &str, sides: Vec<Side>) {
        let proxy = Proxy { namespace: namespace.into(), sides, ..Proxy::default() };
        self.proxies.insert(name.into(), proxy);
    }

    /// Lets every proxy that can be reached take what is delivered.
    pub fn spread(&mut self) {
        let held = self.held.clone();
        for proxy in self.proxies.values_mut().filter(|proxy| !proxy.cut) {
            for (place, (generation, _)) in &held {
                if place.namespace == proxy.namespace && proxy.sides.contains(&place.side) {
                    let before = proxy.runs.insert(place.clone(), *generation);
                    proxy.crashed &= before == Some(*generation);
                }
            }
        }
    }

    /// Asks Prometheus.
    pub fn question(&mut self, now: u64) {
        for (lane, number) in &self.numbers {
            let answer = number.map_or_else(|why| Answer::Away(why.into()), Answer::Number);
            self.asked.answers.entry(("paid".into(), (*lane).into())).or_default().take(&answer, now);
        }
    }

    pub fn groups(&self, namespace: &str, side: Side) -> Vec<graylane_policy::raw::RawGroup> {
        match self.held.get(&Place { namespace: namespace.into(), side }) {
            Some((_, Wanted::Document(groups))) => groups.clone(),
            _ => Vec::new(),
        }
    }

    pub fn is_inert(&self, namespace: &str, side: Side) -> bool {
        matches!(self.held.get(&Place { namespace: namespace.into(), side }), Some((_, Wanted::Inert)))
    }

    /// The weights that gateways have been given.
    pub fn weights(&self) -> BTreeMap<String, u32> {
        weights(&self.groups("istio-ingress", Side::Gateway))
    }
}

fn weights(groups: &[graylane_policy::raw::RawGroup]) -> BTreeMap<String, u32> {
    let slots = groups.iter().filter_map(|group| group.entry.as_ref()?.slots.as_ref());
    let tables = slots.filter_map(|slots| graylane_policy::slots::SlotTable::from_runs(&slots.runs).ok());
    let all = tables.flat_map(|table| table.weights());
    all.filter(|(lane, _)| lane != "stable").collect()
}
