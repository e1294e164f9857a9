//! What runs in the cluster: workloads and proxies.

mod arrival;
mod rollouts;
mod templates;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::Value;

use self::arrival::Push;
use self::templates::{copied, refused, workload};
use super::argo;
use super::asking::Asking;
use super::cache::{Cache, Silence, lock, trim_fields};
use super::call::answer;
use super::healing::Healing;
use super::lease::Term;
use super::metrics::Metrics;
use super::proxies::expected;
use super::template;
use super::world::{Objects, World, trim_pod};
use super::{MANAGER, Wake, problems, resource, watch_kind};
use crate::build::Version;
use crate::counts::Counted;
use crate::counts::prometheus::Questions;
use crate::counts::question::Asked;
use crate::counts::scrape::{Form, Scraper, Target};
use crate::engine::rollout::Rollout;
use crate::engine::seams::{Ground, Place, SeamError, Template};
use crate::engine::seen::{Arrival, Replicas, Workload};
use crate::release::finding::Finding;
use crate::release::{Member, Release, STABLE};

/// The ground of a cluster.
#[derive(Clone)]
pub struct Grounds(Arc<Inner>);

/// The caches, for whoever asks whether they are ready.
pub struct Caches {
    /// Pods.
    pub pods: Arc<Cache<Pod>>,
    /// Services.
    pub services: Arc<Cache<Service>>,
    /// Their endpoints.
    pub slices: Arc<Cache<EndpointSlice>>,
    /// Deployments.
    pub deployments: Arc<Cache<DynamicObject>>,
    /// Replica sets.
    pub sets: Arc<Cache<DynamicObject>>,
    /// Rollouts of Argo Rollouts; only releases that it promotes need them.
    pub rollouts: Arc<Cache<DynamicObject>>,
    /// Istio's VirtualServices.
    pub routes: Arc<Cache<DynamicObject>>,
    /// Istio's DestinationRules.
    pub rules: Arc<Cache<DynamicObject>>,
}

struct Inner {
    client: Client,
    /// The root namespace of the mesh; empty where releases may write to it.
    root: String,
    caches: Caches,
    /// Counts the changes of all these caches.
    changes: Wake,
    world: Mutex<(u64, Arc<World>)>,
    asking: Asking,
    scraper: Scraper,
    questions: Questions,
    /// Counts what proxies have said.
    news: Wake,
    stops: Wake,
    healing: Mutex<Healing>,
    /// Since when the proxies of a place shall run a generation.
    since: Mutex<HashMap<(Place, u64), Push>>,
    term: Term,
    metrics: Arc<Metrics>,
}

// === impl Grounds ===

impl Grounds {
    /// Starts to watch what runs in these namespaces; in all, if none is named. `stops` counts what may
    /// stop or free a namespace. Releases that would write to the namespace `root` are refused, unless it is empty.
    pub fn start(
        (calls, watches): (&Client, &Client),
        (namespaces, root): (&[String], &str),
        (wake, stops): (&Wake, &Wake),
        term: Term,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (changes, news) = (wake.counting(), wake.counting());
        let of = |group, version, kind, plural| -> Arc<Cache<DynamicObject>> {
            let kind: ApiResource = resource(group, version, kind, plural);
            watch_kind(watches, &kind, namespaces, &changes)
        };
        let caches = Caches {
            pods: typed(watches, namespaces, &changes, trim_pod),
            services: typed(watches, namespaces, &changes, trim_fields),
            slices: typed(watches, namespaces, &changes, trim_fields),
            deployments: of("apps", "v1", "Deployment", "deployments"),
            sets: of("apps", "v1", "ReplicaSet", "replicasets"),
            rollouts: watch_kind(watches, &argo::kind(), namespaces, &changes),
            routes: of("networking.istio.io", "v1", "VirtualService", "virtualservices"),
            rules: of("networking.istio.io", "v1", "DestinationRule", "destinationrules"),
        };
        let (healing, since) = Default::default();
        Self(Arc::new(Inner {
            client: calls.clone(),
            root: root.to_owned(),
            caches,
            changes,
            world: Mutex::new((u64::MAX, Arc::default())),
            asking: Asking::new(&news),
            scraper: Scraper::default(),
            questions: Questions::default(),
            news,
            stops: stops.clone(),
            healing,
            since,
            term,
            metrics: Arc::clone(metrics),
        }))
    }

    /// The caches.
    pub fn caches(&self) -> &Caches {
        &self.0.caches
    }
}

fn typed<K>(client: &Client, namespaces: &[String], wake: &Wake, trim: fn(&mut K)) -> Arc<Cache<K>>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let apis = if namespaces.is_empty() {
        vec![Api::all(client.clone())]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    Cache::start(&(), apis, None, wake, trim, |_| Box::new(Silence))
}

impl Ground for Grounds {
    fn problems(&self, release: &Release) -> Vec<Finding> {
        let caches = &self.0.caches;
        let istio = [&caches.routes, &caches.rules];
        let missing = istio.into_iter().filter_map(|cache| problems::of_kind(&cache.kind, cache.trouble()?, release));
        let missing: Vec<Finding> = missing.chain(self.0.unreadable_rollouts(release)).collect();
        let named = if missing.is_empty() { problems::of(&self.0.world(), release) } else { missing };
        problems::of_root(&self.0.root, release).into_iter().chain(named).collect()
    }

    fn versions(&self, release: &Release) -> BTreeMap<Version, Replicas> {
        let world = self.0.world();
        let of = |member: &Member, lane: &String| {
            let version = Version { service: member.label.clone(), lane: lane.clone() };
            (version, world.replicas(&release.namespace, &member.service, lane))
        };
        release.members.iter().flat_map(|member| member.lanes.iter().map(move |lane| of(member, lane))).collect()
    }

    fn replicas(&self, versions: &BTreeSet<Version>) -> BTreeMap<Version, Replicas> {
        let world = self.0.world();
        let of = |version: &Version| {
            // A namespace has no dot in its name.
            let (service, namespace) = version.service.rsplit_once('.').unwrap_or_default();
            (version.clone(), world.replicas(namespace, service, &version.lane))
        };
        versions.iter().map(of).collect()
    }

    fn stable(&self, release: &Release) -> BTreeMap<String, Replicas> {
        let world = self.0.world();
        let of = |member: &Member| world.replicas(&release.namespace, &member.service, STABLE);
        release.members.iter().map(|member| (member.label.clone(), of(member))).collect()
    }

    fn workloads(&self, release: &Release, wanted: Template<'_>) -> BTreeMap<String, Workload> {
        let world = self.0.world();
        let of = |member: &Member| {
            let stable = workload(&world, release, &member.service, STABLE).ok()?;
            let has_template = match wanted {
                Template::Lane(lane) => {
                    let copied = copied(&world, release, &member.service, lane, &stable);
                    copied.is_ok_and(|copied| template::is_same(&copied, &template::template(&stable)))
                }
                Template::Revisions(revisions) => revisions.get(&member.service).is_some_and(|revision| {
                    let old = template::at_revision(&world, &stable, revision);
                    old.is_some_and(|old| template::is_same(&old, &template::template(&stable)))
                }),
            };
            let revision = template::revision(&world, &stable);
            let rolled_out = template::is_rolled_out(&stable);
            Some((member.service.clone(), Workload { revision, has_template, rolled_out }))
        };
        release.members.iter().filter_map(of).collect()
    }

    fn rollouts(&self, release: &Release) -> BTreeMap<String, Rollout> {
        argo::rollouts(&self.0.world(), release)
    }

    fn arrival(&self, release: &Release, generations: &BTreeMap<Place, u64>) -> Arrival {
        self.0.arrival(release, generations)
    }

    fn stamp(&self) -> Option<u64> {
        // They only grow, so an equal sum means that none has.
        let Inner { changes, news, stops, .. } = &*self.0;
        Some([changes, news, stops].iter().fold(0, |sum, counter| sum.wrapping_add(counter.calls())))
    }

    fn wounded(&self, release: &Release) -> BTreeSet<String> {
        let now = Instant::now();
        if !lock(&self.0.healing).hurts(now) {
            return BTreeSet::new();
        }
        let proxies = expected(&self.0.world(), release);
        lock(&self.0.healing).wounded(proxies.iter().map(|proxy| proxy.id.as_str()), now)
    }

    fn counts(&self, release: &Release) -> Counted {
        let targets = expected(&self.0.world(), release).into_iter().map(|proxy| Target {
            proxy: proxy.id,
            beside: proxy.beside,
            address: proxy.address,
            form: Form::Prometheus,
        });
        self.0.scraper.look(&release.id(), &targets.collect::<Vec<_>>())
    }

    fn asked(&self, release: &Release) -> Asked {
        self.0.questions.look(release)
    }

    async fn copy_template(&self, release: &Release, service: &str, lane: &str) -> Result<(), SeamError> {
        let world = self.0.world();
        let stable = workload(&world, release, service, STABLE).map_err(refused)?;
        let copied = copied(&world, release, service, lane, &stable).map_err(refused)?;
        self.0.replace_template(&stable, copied).await
    }

    async fn promote_rollout(&self, release: &Release, service: &str) -> Result<(), SeamError> {
        self.0.patch_rollout(release, service, argo::promote()).await
    }

    async fn abort_rollout(&self, release: &Release, service: &str) -> Result<(), SeamError> {
        self.0.patch_rollout(release, service, argo::abort()).await
    }

    async fn restore(&self, release: &Release, service: &str, revision: &str) -> Result<(), SeamError> {
        let world = self.0.world();
        let stable = workload(&world, release, service, STABLE).map_err(refused)?;
        let old = template::at_revision(&world, &stable, revision).ok_or_else(|| {
            let message = format!("the replica set of revision {revision} of {service} is gone");
            let mend = "bring the old version back by hand, and keep more revisions (spec.revisionHistoryLimit)";
            refused(problems::finding(release, "spec.promotion", message, mend))
        })?;
        self.0.replace_template(&stable, old).await
    }
}

// === impl Inner ===

impl Inner {
    /// What runs now. It is made again only after something has changed.
    fn world(&self) -> Arc<World> {
        let changes = self.changes.calls();
        let mut world = lock(&self.world);
        if world.0 != changes {
            let caches = &self.caches;
            let objects = Objects {
                pods: caches.pods.all(),
                services: caches.services.all(),
                slices: caches.slices.all(),
                deployments: caches.deployments.all(),
                sets: caches.sets.all(),
                rollouts: caches.rollouts.all(),
                routes: caches.routes.all(),
                rules: caches.rules.all(),
            };
            *world = (changes, Arc::new(World::new(objects)));
        }
        Arc::clone(&world.1)
    }

    /// Gives a workload a template. The whole object goes back with its version as the fence, since a
    /// merge would keep what the new template does not have.
    async fn replace_template(&self, workload: &DynamicObject, new: Value) -> Result<(), SeamError> {
        if template::is_same(&new, &template::template(workload)) {
            return Ok(());
        }
        let what = format!("Deployment {}", super::cache::id(workload));
        self.term.check(&what)?;
        let namespace = workload.metadata.namespace.clone().unwrap_or_default();
        let kind = resource("apps", "v1", "Deployment", "deployments");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &namespace, &kind);
        let mut changed = template::with_template(workload, new);
        // Objects of a list come without their kind.
        changed.types = DynamicObject::new("", &kind).types;
        let name = changed.metadata.name.clone().unwrap_or_default();
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let mut answered = answer(&what, api.replace(&name, &params, &changed)).await?;
        trim_fields(&mut answered);
        self.caches.deployments.note(answered);
        self.metrics.wrote("Deployment");
        self.changes.up();
        Ok(())
    }
}
