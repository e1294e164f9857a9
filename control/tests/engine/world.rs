//! A world in memory: releases, documents, proxies and workloads, with a clock that tests turn.
//!
//! Every change is one operation. An operation can be made to fail, or to be the last thing that a
//! controller does: it then never answers, before or after it took effect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use graylane::build::{Side, Version};
use graylane::counts::question::{Answer, Asked};
use graylane::engine::documents;
use graylane::engine::request::{Request, Verb};
use graylane::engine::rollout::{Rollout, RolloutState};
use graylane::engine::seams::{Delivery, Ground, Object, Place, SeamError, Store, Template, Wanted};
use graylane::engine::seen::{Arrival, Replicas, Workload};
use graylane::engine::status::Status;
use graylane::release::Release;
use graylane::release::finding::Finding;
use graylane_policy::raw::{RawConfig, VERSION};

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
    pub stable: BTreeMap<String, Deployment>,
    /// Rollouts, by service.
    pub rollouts: BTreeMap<String, Rollout>,
    pub problems: Vec<Finding>,
    pub stopped: bool,
    pub disturbed: BTreeSet<String>,
    pub renewed: BTreeSet<String>,
    /// Namespaces that do not exist.
    pub missing: BTreeSet<String>,
    /// Weights of each delivered entry document, in order, without repetition.
    pub course: Vec<BTreeMap<String, u32>>,
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

    fn fenced(&self, object: &Object, change: impl FnOnce(&mut Object)) -> Result<Object, SeamError> {
        let mut inner = self.lock();
        inner.fence += 1;
        inner.writes += 1;
        let fence = inner.fence.to_string();
        let what = object.id.clone();
        let Some(kept) = inner.objects.get_mut(&object.id) else { return Err(SeamError::Gone { what }) };
        if kept.fence != object.fence {
            return Err(SeamError::Conflict { what });
        }
        change(kept);
        kept.fence = fence;
        Ok(kept.clone())
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

// === impl seams ===

impl Store for World {
    fn releases(&self) -> Vec<Arc<Object>> {
        self.lock().objects.values().cloned().map(Arc::new).collect()
    }

    async fn save(&self, object: &Object, status: &Status) -> Result<Object, SeamError> {
        let dies = self.operate(&object.id).await?;
        let saved = self.fenced(object, |kept| kept.status = status.clone());
        self.end(dies).await;
        saved
    }

    async fn hold(&self, object: &Object) -> Result<Object, SeamError> {
        let dies = self.operate(&object.id).await?;
        let held = self.fenced(object, |kept| kept.held = true);
        self.end(dies).await;
        held
    }

    async fn let_go(&self, object: &Object) -> Result<(), SeamError> {
        let dies = self.operate(&object.id).await?;
        self.lock().objects.remove(&object.id);
        self.end(dies).await;
        Ok(())
    }
}

impl Delivery for World {
    async fn deliver(
        &self,
        namespace: &str,
        wanted: &BTreeMap<Place, Wanted>,
        floor: u64,
    ) -> Result<BTreeMap<Place, u64>, SeamError> {
        if self.lock().missing.contains(namespace) {
            return Err(SeamError::Gone { what: namespace.into() });
        }
        let renews = self.lock().renewed.remove(namespace);
        let differs = |inner: &Inner, place: &Place, wanted: &Wanted| {
            renews || inner.held.get(place).is_none_or(|(_, held)| held != wanted)
        };
        let needed = wanted.iter().any(|(place, wanted)| differs(&self.lock(), place, wanted));
        let dies = if needed { self.operate(namespace).await? } else { false };
        {
            let mut inner = self.lock();
            let highest = inner.held.values().map(|(generation, _)| *generation).max().unwrap_or(0).max(floor);
            inner.writes += u32::from(needed);
            for (place, wanted) in wanted {
                if differs(&inner, place, wanted) {
                    inner.held.insert(place.clone(), (highest + 1, wanted.clone()));
                }
            }
            let weights = inner.weights();
            if inner.course.last() != Some(&weights) {
                inner.course.push(weights);
            }
        }
        self.end(dies).await;
        let inner = self.lock();
        let documents = wanted.iter().filter(|(_, wanted)| matches!(wanted, Wanted::Document(_)));
        Ok(documents.filter_map(|(place, _)| Some((place.clone(), inner.held.get(place)?.0))).collect())
    }

    fn renew(&self, namespace: &str) {
        self.lock().renewed.insert(namespace.into());
    }

    fn is_stopped(&self, _: &str) -> bool {
        self.lock().stopped
    }

    fn held(&self, place: &Place) -> Option<RawConfig> {
        let inner = self.lock();
        let (generation, Wanted::Document(groups)) = inner.held.get(place)? else { return None };
        let (generation, groups) = (*generation, groups.clone());
        Some(RawConfig { version: VERSION, generation, role: place.side.role(), entry_only: false, groups })
    }

    fn places(&self) -> Vec<Place> {
        self.lock().held.keys().cloned().collect()
    }

    fn disturbed(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().disturbed).into_iter().collect()
    }
}

impl Ground for World {
    fn stamp(&self) -> Option<u64> {
        let inner = self.lock();
        let mut hasher = xxhash_rust::xxh64::Xxh64::new(0);
        let answers =
            format!("{:?}{:?}{:?}{:?}{}", inner.lanes, inner.stable, inner.rollouts, inner.problems, inner.stopped);
        hasher.update(answers.as_bytes());
        hasher
            .update(format!("{:?}", inner.proxies.values().map(|proxy| proxy.crashed).collect::<Vec<_>>()).as_bytes());
        Some(hasher.digest())
    }

    fn problems(&self, _: &Release) -> Vec<Finding> {
        self.lock().problems.clone()
    }

    fn versions(&self, release: &Release) -> BTreeMap<Version, Replicas> {
        let mut inner = self.lock();
        *inner.looks.entry(release.id()).or_default() += 1;
        inner.lanes.clone()
    }

    fn stable(&self, _: &Release) -> BTreeMap<String, Replicas> {
        self.lock().stable.iter().map(|(service, one)| (service.clone(), one.replicas)).collect()
    }

    fn workloads(&self, release: &Release, template: Template<'_>) -> BTreeMap<String, Workload> {
        let inner = self.lock();
        let workload = |member: &graylane::release::Member| {
            let one = inner.stable.get(&member.label)?;
            let wanted = match template {
                Template::Lane(lane) => lane,
                Template::Revisions(revisions) => revisions.get(&member.service)?,
            };
            let (revision, has_template) = (one.template.clone(), one.template == wanted);
            Some((member.service.clone(), Workload { revision, has_template, rolled_out: !one.busy }))
        };
        release.members.iter().filter_map(workload).collect()
    }

    fn rollouts(&self, _: &Release) -> BTreeMap<String, Rollout> {
        self.lock().rollouts.clone()
    }

    fn arrival(&self, release: &Release, generations: &BTreeMap<Place, u64>) -> Arrival {
        let inner = self.lock();
        let places = documents::mesh_places(release);
        let mut arrival = Arrival { known: true, ..Arrival::default() };
        for (name, proxy) in &inner.proxies {
            let here = |place: &&Place| place.namespace == proxy.namespace && proxy.sides.contains(&place.side);
            if !places.iter().any(|place| here(&place)) {
                continue;
            }
            arrival.expected += 1;
            let mut mine = generations.iter().filter(|(place, _)| here(place));
            if mine.all(|(place, generation)| proxy.runs.get(place).is_some_and(|runs| runs >= generation)) {
                arrival.acknowledged += 1;
            } else {
                arrival.missing.push(name.clone());
            }
        }
        arrival
    }

    fn counts(&self, _: &Release) -> graylane::counts::Counted {
        self.lock().traffic.as_ref().map(Traffic::counted).unwrap_or_default()
    }

    fn asked(&self, _: &Release) -> Asked {
        self.lock().asked.clone()
    }

    fn wounded(&self, _: &Release) -> BTreeSet<String> {
        let inner = self.lock();
        inner.proxies.values().filter(|proxy| proxy.crashed).map(|proxy| proxy.namespace.clone()).collect()
    }

    async fn copy_template(&self, release: &Release, service: &str, lane: &str) -> Result<(), SeamError> {
        self.set_template(release, service, lane).await
    }

    /// As Argo Rollouts does it: subsets and replica sets are there already.
    async fn promote_rollout(&self, _: &Release, service: &str) -> Result<(), SeamError> {
        self.write_rollout(service, |rollout| {
            rollout.stable = rollout.newest.clone();
            rollout.state = RolloutState::Settled;
        })
        .await
    }

    async fn abort_rollout(&self, _: &Release, service: &str) -> Result<(), SeamError> {
        self.write_rollout(service, |rollout| rollout.state = RolloutState::Aborted).await
    }

    async fn restore(&self, release: &Release, service: &str, revision: &str) -> Result<(), SeamError> {
        self.set_template(release, service, revision).await
    }
}

impl World {
    async fn write_rollout(&self, service: &str, change: impl FnOnce(&mut Rollout)) -> Result<(), SeamError> {
        let dies = self.operate(service).await?;
        {
            let mut inner = self.lock();
            inner.writes += 1;
            change(inner.rollouts.get_mut(service).expect("a Rollout"));
        }
        self.end(dies).await;
        Ok(())
    }

    async fn set_template(&self, release: &Release, service: &str, template: &str) -> Result<(), SeamError> {
        let dies = self.operate(service).await?;
        {
            let mut inner = self.lock();
            inner.writes += 1;
            let member = release.members.iter().find(|member| member.service == service).expect("a member");
            inner.stable.get_mut(&member.label).expect("a workload").template = template.into();
        }
        self.end(dies).await;
        Ok(())
    }
}
