//! What runs in the cluster, at one moment, ordered for the engine's questions. Pure: it is made from
//! objects and answers from them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::core::DynamicObject;

use super::OPT_IN;
use super::argo::HASH;
use crate::engine::seen::Replicas;
use crate::istio::network::Network;
use crate::istio::types::service_host;
use crate::istio::unserved::{self, REDIRECTION, is_ambient, is_redirected};
use crate::release::STABLE;

/// Labels, as objects have them.
pub type Labels = BTreeMap<String, String>;

/// The label by which an endpoint slice names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What runs. Everything is kept by namespace.
#[derive(Clone, Debug, Default)]
pub struct World {
    pods: HashMap<String, Vec<Arc<Pod>>>,
    services: HashMap<(String, String), Arc<Service>>,
    slices: HashMap<(String, String), Vec<Arc<EndpointSlice>>>,
    deployments: HashMap<String, Vec<Arc<DynamicObject>>>,
    sets: HashMap<String, Vec<Arc<DynamicObject>>>,
    rollouts: HashMap<String, Vec<Arc<DynamicObject>>>,
    /// Routes and subsets, of every namespace.
    pub network: Network,
}

/// The objects of which a world is made.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Pods.
    pub pods: Vec<Arc<Pod>>,
    /// Services.
    pub services: Vec<Arc<Service>>,
    /// Their endpoints.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// Deployments.
    pub deployments: Vec<Arc<DynamicObject>>,
    /// Replica sets, which keep the templates that deployments had.
    pub sets: Vec<Arc<DynamicObject>>,
    /// Rollouts of Argo Rollouts.
    pub rollouts: Vec<Arc<DynamicObject>>,
    /// Istio's VirtualServices.
    pub routes: Vec<Arc<DynamicObject>>,
    /// Istio's DestinationRules.
    pub rules: Vec<Arc<DynamicObject>>,
}

// === impl World ===

impl World {
    /// Orders objects. A VirtualService or DestinationRule that cannot be read is as if it were not there;
    /// what it would have said is then missed, and named.
    pub fn new(objects: Objects) -> Self {
        let mut world = Self::default();
        for pod in objects.pods {
            world.pods.entry(pod.namespace().unwrap_or_default()).or_default().push(pod);
        }
        for service in objects.services {
            world.services.insert((service.namespace().unwrap_or_default(), service.name_any()), service);
        }
        for slice in objects.slices {
            let Some(service) = slice.labels().get(SERVICE_NAME) else { continue };
            let key = (slice.namespace().unwrap_or_default(), service.clone());
            world.slices.entry(key).or_default().push(slice);
        }
        for deployment in objects.deployments {
            world.deployments.entry(deployment.namespace().unwrap_or_default()).or_default().push(deployment);
        }
        for set in objects.sets {
            world.sets.entry(set.namespace().unwrap_or_default()).or_default().push(set);
        }
        for rollout in objects.rollouts {
            world.rollouts.entry(rollout.namespace().unwrap_or_default()).or_default().push(rollout);
        }
        world.network = Network::new(
            objects.routes.iter().filter_map(|object| typed(object)).collect(),
            objects.rules.iter().filter_map(|object| typed(object)).collect(),
        );
        world
    }

    /// The labels by which a service selects its pods, if there is such a service and it does.
    pub fn selector(&self, namespace: &str, service: &str) -> Option<Labels> {
        let service = self.services.get(&(namespace.into(), service.into()))?;
        service.spec.as_ref()?.selector.clone().filter(|selector| !selector.is_empty())
    }

    /// Whether there is a service.
    pub fn has_service(&self, namespace: &str, service: &str) -> bool {
        self.services.contains_key(&(namespace.into(), service.into()))
    }

    /// The labels of a subset in the DestinationRule of a service.
    pub fn subset(&self, namespace: &str, service: &str, name: &str) -> Option<&Labels> {
        let host = service_host(service, namespace);
        let rules = self.network.rules_of(&host).into_iter().filter(|rule| rule.metadata.namespace == namespace);
        let mut subsets = rules.flat_map(|rule| &rule.spec.subsets);
        subsets.find(|subset| subset.name == name).map(|subset| &subset.labels)
    }

    /// Pods of a namespace.
    pub fn pods(&self, namespace: &str) -> &[Arc<Pod>] {
        self.pods.get(namespace).map(Vec::as_slice).unwrap_or_default()
    }

    /// Deployments of a namespace.
    pub fn deployments(&self, namespace: &str) -> &[Arc<DynamicObject>] {
        self.deployments.get(namespace).map(Vec::as_slice).unwrap_or_default()
    }

    /// Replica sets of a namespace.
    pub fn sets(&self, namespace: &str) -> &[Arc<DynamicObject>] {
        self.sets.get(namespace).map(Vec::as_slice).unwrap_or_default()
    }

    /// Rollouts of a namespace.
    pub fn rollouts(&self, namespace: &str) -> &[Arc<DynamicObject>] {
        self.rollouts.get(namespace).map(Vec::as_slice).unwrap_or_default()
    }

    /// Pods of a service that are not on their way out.
    pub fn pods_of(&self, namespace: &str, service: &str) -> Vec<Arc<Pod>> {
        let Some(selector) = self.selector(namespace, service) else { return Vec::new() };
        let here = self.pods(namespace).iter();
        here.filter(|pod| contains(pod.labels(), &selector) && !is_ending(pod)).cloned().collect()
    }

    /// Why a service is not served: Istio's other data planes have no sidecars, or a proxy between them that has no
    /// filter. A pod shows too that its namespace is in ambient mode.
    /// `pods` are those of the service.
    pub fn unserved(&self, namespace: &str, service: &str, pods: &[Arc<Pod>]) -> Option<String> {
        if let Some(pod) = pods.iter().find(|pod| is_ambient(pod.labels()) || is_redirected(pod.annotations())) {
            return Some(format!("pod {} of `{service}` is in ambient mode: {}", pod.name_any(), unserved::AMBIENT));
        }
        let own = self.services.get(&(namespace.into(), service.into()))?;
        let of_pods = pods.iter().find_map(|pod| unserved::waypoint(pod.labels()));
        let name = unserved::waypoint(own.labels()).or(of_pods)?;
        Some(format!("`{service}` is behind the waypoint {name}: {}", unserved::WAYPOINT))
    }

    /// The version of a service in a lane: its ready endpoints, and the replicas its workloads want.
    /// Nothing without such a subset, and nothing of a lane while Argo Rollouts points its subset at what is
    /// stable: that is no other version.
    pub fn replicas(&self, namespace: &str, service: &str, lane: &str) -> Replicas {
        let Some(labels) = self.subset(namespace, service, lane) else { return Replicas::default() };
        let stable = self.subset(namespace, service, STABLE).filter(|_| lane != STABLE);
        if labels.get(HASH).is_some_and(|hash| stable.and_then(|stable| stable.get(HASH)) == Some(hash)) {
            return Replicas::default();
        }
        let ready = self.ready(namespace, service, labels);
        let wanted: u64 =
            self.workloads(namespace, service, labels).iter().map(|one| super::template::wanted(one)).sum();
        let wanted = wanted + self.wanted_of_rollouts(namespace, service, labels);
        Replicas { ready, wanted: u32::try_from(wanted).unwrap_or(u32::MAX).max(ready) }
    }

    /// Ready endpoints of a service among the pods with these labels. A pod counts once, though it stands
    /// in one slice for each family of addresses.
    fn ready(&self, namespace: &str, service: &str, labels: &Labels) -> u32 {
        let slices = self.slices.get(&(namespace.to_owned(), service.to_owned()));
        let endpoints = slices.into_iter().flatten().flat_map(|slice| &slice.endpoints);
        // An absent condition means ready (discovery/v1 EndpointConditions).
        let is_ready = |ready: Option<bool>| ready.unwrap_or(true);
        let ready = endpoints.filter(|one| one.conditions.as_ref().is_none_or(|conditions| is_ready(conditions.ready)));
        let targets = ready.filter_map(|endpoint| endpoint.target_ref.as_ref());
        let names: BTreeSet<&str> = targets
            .filter(|target| target.kind.as_deref() == Some("Pod"))
            .filter_map(|target| target.name.as_deref())
            .collect();
        let here = self.pods(namespace).iter();
        let count = here
            .filter(|pod| pod.metadata.name.as_deref().is_some_and(|name| names.contains(name)))
            .filter(|pod| contains(pod.labels(), labels))
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The Deployments whose pods are those of a service with these labels.
    pub fn workloads(&self, namespace: &str, service: &str, labels: &Labels) -> Vec<Arc<DynamicObject>> {
        let Some(selector) = self.selector(namespace, service) else { return Vec::new() };
        let fits = |deployment: &&Arc<DynamicObject>| {
            let template = super::template::labels(deployment);
            contains(&template, &selector) && contains(&template, labels)
        };
        self.deployments(namespace).iter().filter(fits).cloned().collect()
    }

    /// Replicas that the replica sets of Rollouts want whose pods are those of a service with these labels.
    /// A Rollout has several versions at once, so the sets say it and not the Rollout.
    fn wanted_of_rollouts(&self, namespace: &str, service: &str, labels: &Labels) -> u64 {
        let Some(selector) = self.selector(namespace, service) else { return 0 };
        let rollouts = self.rollouts(namespace);
        let sets = self.sets(namespace).iter().filter(|set| {
            let template = super::template::labels(set);
            contains(&template, &selector)
                && contains(&template, labels)
                && rollouts.iter().any(|rollout| super::template::is_owned(set, rollout))
        });
        sets.map(|set| super::template::wanted(set)).sum()
    }
}

/// Reads an object as a type of Istio's.
fn typed<T: serde::de::DeserializeOwned>(object: &DynamicObject) -> Option<T> {
    serde_json::from_value(serde_json::to_value(object).ok()?).ok()
}

/// Whether labels hold all of the wanted ones.
pub fn contains(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// Whether a pod takes part.
pub fn is_opted_in(pod: &Pod) -> bool {
    pod.labels().get(OPT_IN).is_some_and(|value| value == "true")
}

/// Whether a pod is being deleted, or has ended.
pub fn is_ending(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"))
}

/// Keeps of a pod only what is read here: there may be very many.
pub fn trim_pod(pod: &mut Pod) {
    super::cache::trim_fields(pod);
    let is_read = |name: &str| name.starts_with("prometheus.io/") || name == REDIRECTION;
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.retain(|name, _| is_read(name));
    }
    if let Some(spec) = &mut pod.spec {
        let all = spec.containers.drain(..).chain(spec.init_containers.take().into_iter().flatten());
        let with_ports = all.filter(|container| container.ports.is_some());
        let bare = |container: k8s_openapi::api::core::v1::Container| k8s_openapi::api::core::v1::Container {
            name: container.name,
            ports: container.ports,
            ..Default::default()
        };
        let containers = with_ports.map(bare).collect();
        *spec = k8s_openapi::api::core::v1::PodSpec { containers, ..Default::default() };
    }
    if let Some(status) = &mut pod.status {
        let (phase, pod_ip) = (status.phase.take(), status.pod_ip.take());
        *status = k8s_openapi::api::core::v1::PodStatus { phase, pod_ip, ..Default::default() };
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(in super::super) fn of<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
        Arc::new(serde_json::from_value(value).unwrap())
    }

    pub(in super::super) fn pod(name: &str, labels: Value) -> Arc<Pod> {
        of(json!({"metadata": {"name": name, "namespace": "shop", "labels": labels},
            "status": {"phase": "Running", "podIP": "10.0.0.1"}}))
    }

    fn endpoint(pod: &str, ready: Value) -> Value {
        json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": pod}})
    }

    pub(in super::super) fn orders(endpoints: &[Value]) -> Objects {
        let slice = |name: &str| {
            of(json!({"metadata": {"name": name, "namespace": "shop", "labels": {SERVICE_NAME: "orders"}},
                "addressType": "IPv4", "endpoints": endpoints}))
        };
        Objects {
            pods: vec![
                pod("a", json!({"app": "orders", "version": "1"})),
                pod("b", json!({"app": "orders", "version": "1"})),
                pod("c", json!({"app": "orders", "version": "2"})),
            ],
            services: vec![of(json!({"metadata": {"name": "orders", "namespace": "shop"},
                "spec": {"selector": {"app": "orders"}}}))],
            // One pod stands in a slice for each family of addresses.
            slices: vec![slice("orders-4"), slice("orders-6")],
            deployments: ["1", "2"].map(deployment).to_vec(),
            routes: vec![of(json!({"metadata": {"name": "orders", "namespace": "shop"}, "spec": {"hosts": ["orders"],
            "http": [
                {"match": [{"headers": {"x-graylane-route": {"exact": "canary"}}}],
                    "headers": {"request": {"remove": ["x-graylane-route"]}},
                    "route": [{"destination": {"host": "orders", "subset": "canary"}}]},
                {"route": [{"destination": {"host": "orders", "subset": "stable"}}]},
            ]}}))],
            rules: vec![of(json!({"metadata": {"name": "orders", "namespace": "shop"}, "spec": {"host": "orders",
                "subsets": [{"name": "stable", "labels": {"version": "1"}}, {"name": "canary", "labels": {"version": "2"}}]}}))],
            ..Objects::default()
        }
    }

    fn deployment(version: &str) -> Arc<DynamicObject> {
        of(json!({"metadata": {"name": format!("orders-{version}"), "namespace": "shop"}, "spec": {"replicas": 3,
            "selector": {"matchLabels": {"app": "orders", "version": version}},
            "template": {"metadata": {"labels": {"app": "orders", "version": version, "extra": "x"}}}}}))
    }

    #[test]
    fn ready_endpoints_are_counted_once_and_by_lane() {
        let endpoints = [endpoint("a", json!(true)), endpoint("b", json!(false)), endpoint("c", Value::Null)];
        let world = World::new(orders(&endpoints));
        assert_eq!(world.replicas("shop", "orders", "stable"), Replicas { ready: 1, wanted: 3 });
        assert_eq!(world.replicas("shop", "orders", "canary"), Replicas { ready: 1, wanted: 3 });
        assert_eq!(world.replicas("shop", "orders", "blue"), Replicas::default());
        assert_eq!(world.replicas("pay", "orders", "stable"), Replicas::default());
    }

    #[test]
    fn without_a_known_workload_what_is_ready_is_what_is_wanted() {
        let mut objects = orders(&[endpoint("a", json!(true)), endpoint("b", json!(true))]);
        objects.deployments.clear();
        assert_eq!(World::new(objects).replicas("shop", "orders", "stable"), Replicas { ready: 2, wanted: 2 });
    }

    #[test]
    fn an_unreadable_rule_is_as_if_it_were_not_there() {
        let mut objects = orders(&[]);
        objects.rules = vec![of(json!({"metadata": {"name": "orders", "namespace": "shop"}, "spec": {"host": 7}}))];
        assert_eq!(World::new(objects).subset("shop", "orders", "stable"), None);
    }

    #[test]
    fn a_trimmed_pod_keeps_what_is_asked_of_it() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "shop", "labels": {OPT_IN: "true"},
                "annotations": {"prometheus.io/port": "15020", "big": "…"}, "managedFields": [{"manager": "x"}]},
            "spec": {"containers": [{"name": "app", "image": "i"},
                {"name": "istio-proxy", "ports": [{"name": "http-envoy-prom", "containerPort": 15090}]}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "message": "m"}
        }))
        .unwrap();
        trim_pod(&mut pod);
        let text = serde_json::to_string(&pod).unwrap();
        for kept in ["15090", "15020", "10.0.0.1", "Running", OPT_IN] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        for gone in ["big", "managedFields", "image", "message"] {
            assert!(!text.contains(gone), "{gone}: {text}");
        }
    }
}
