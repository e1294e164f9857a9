//! Which proxies have to run a release, and where each is asked. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::world::{World, is_ending, is_opted_in};
use crate::build::Side;
use crate::release::Release;

/// The container port that Istio's injection gives the metrics of Envoy.
const PORT_NAME: &str = "http-envoy-prom";
/// Where Envoy's metrics are when a pod does not say.
const PORT: u16 = 15090;
/// Labels of gateways, by hand and by the Gateway API.
const GATEWAY_LABELS: [&str; 2] = ["istio", "gateway.networking.k8s.io/gateway-name"];

/// A proxy that has to run a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// `namespace/pod`.
    pub id: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// `address:port` of its metrics, once it has one.
    pub address: Option<String>,
    /// The sides on which it runs documents.
    pub sides: BTreeSet<Side>,
    /// `<service>.<namespace>` of the service beside whose pods it runs; none at a gateway.
    pub beside: Option<String>,
}

/// The proxies of a release: those of its entries, its members and its carriers that take part and run.
pub fn expected(world: &World, release: &Release) -> Vec<Proxy> {
    let entry = &release.plan.entry;
    let mut sidecars: BTreeMap<String, (Arc<Pod>, BTreeSet<Side>, String)> = BTreeMap::new();
    let members = release.members.iter().map(|member| (member.service.as_str(), None));
    let carriers = release.plan.carriers.iter().map(|service| (service.as_str(), None));
    let inbound = entry.inbound.iter().map(|service| (service.as_str(), Some(Side::InboundEntry)));
    let outbound = entry.outbound.iter().map(|service| (service.as_str(), Some(Side::OutboundEntry)));
    for (service, more) in members.chain(carriers).chain(inbound).chain(outbound) {
        for pod in world.pods_of(&release.namespace, service).into_iter().filter(|pod| takes_part(pod)) {
            let sides =
                &mut sidecars.entry(pod.name_any()).or_insert_with(|| (pod, BTreeSet::new(), service.to_owned())).1;
            sides.extend([Side::Inbound, Side::Outbound].into_iter().chain(more));
        }
    }
    let mut proxies: Vec<Proxy> = Vec::new();
    let namespaces: BTreeSet<&str> = entry.gateways.iter().map(|gateway| gateway.namespace.as_str()).collect();
    for namespace in namespaces {
        let is_sidecar = |pod: &Pod| namespace == release.namespace && sidecars.contains_key(&pod.name_any());
        let gateways = gateways(world, namespace).into_iter().filter(|pod| !is_sidecar(pod));
        proxies.extend(gateways.map(|pod| proxy(&pod, BTreeSet::from([Side::Gateway]), None)));
    }
    proxies.extend(sidecars.into_values().map(|(pod, sides, service)| {
        let label = format!("{service}.{}", release.namespace);
        proxy(&pod, sides, Some(label))
    }));
    proxies
}

/// Gateways of a namespace. Where some are marked as such, the others are no gateways.
fn gateways(world: &World, namespace: &str) -> Vec<Arc<Pod>> {
    let here: Vec<Arc<Pod>> = world.pods(namespace).iter().filter(|pod| takes_part(pod)).cloned().collect();
    let is_marked = |pod: &Arc<Pod>| GATEWAY_LABELS.iter().any(|label| pod.labels().contains_key(*label));
    let marked: Vec<Arc<Pod>> = here.iter().filter(|pod| is_marked(pod)).cloned().collect();
    if marked.is_empty() { here } else { marked }
}

/// A pod that is still starting has nothing to take back, and gets the config of the moment when it runs.
fn takes_part(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    is_opted_in(pod) && !is_ending(pod) && phase == Some("Running")
}

fn proxy(pod: &Pod, sides: BTreeSet<Side>, beside: Option<String>) -> Proxy {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let address =
        ip.map(|ip| if ip.contains(':') { format!("[{ip}]:{}", port(pod)) } else { format!("{ip}:{}", port(pod)) });
    let namespace = pod.namespace().unwrap_or_default();
    Proxy { id: format!("{namespace}/{}", pod.name_any()), namespace, address, sides, beside }
}

/// Where the metrics of a pod's proxy are.
pub fn port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let named = ports.find(|port| port.name.as_deref() == Some(PORT_NAME)).map(|port| port.container_port);
    let annotation = |name: &str| pod.annotations().get(name).map(String::as_str);
    let is_envoys = annotation("prometheus.io/path") == Some("/stats/prometheus");
    let annotated = annotation("prometheus.io/port").filter(|_| is_envoys).and_then(|port| port.parse().ok());
    named.or(annotated).and_then(|port: i32| u16::try_from(port).ok()).unwrap_or(PORT)
}

#[cfg(test)]
mod tests {
    use super::super::world::Objects;
    use super::super::world::tests::of;
    use super::*;
    use crate::build::Side;
    use crate::release::read::read_text;
    use crate::release::validate::check;
    use serde_json::{Value, json};

    fn release(entry: &str) -> Release {
        let text = format!(
            "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {{name: r, namespace: shop}}\nspec:\n  \
             lanes: [{{name: canary}}]\n  members: [{{service: orders}}]\n  carriers: [web]\n  entry: {entry}\n"
        );
        check(read_text("r", &text).unwrap(), &Side::ALL).unwrap().remove(0).release
    }

    fn pod(namespace: &str, name: &str, labels: Value, phase: &str) -> Arc<Pod> {
        of(json!({"metadata": {"name": name, "namespace": namespace, "labels": labels},
            "status": {"phase": phase, "podIP": "10.0.0.7"}}))
    }

    fn world() -> World {
        let service = |name: &str| {
            of(json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"selector": {"app": name}}}))
        };
        let on = "graylane.io/enabled";
        World::new(Objects {
            services: vec![service("orders"), service("web"), service("batch")],
            pods: vec![
                pod("shop", "orders-1", json!({"app": "orders", on: "true"}), "Running"),
                pod("shop", "orders-2", json!({"app": "orders", on: "true"}), "Pending"),
                pod("shop", "orders-3", json!({"app": "orders"}), "Running"),
                pod("shop", "web-1", json!({"app": "web", on: "true"}), "Running"),
                pod("shop", "batch-1", json!({"app": "batch", on: "true"}), "Running"),
                pod("edge", "gateway-1", json!({"istio": "ingressgateway", on: "true"}), "Running"),
                pod("edge", "tool-1", json!({on: "true"}), "Running"),
            ],
            ..Objects::default()
        })
    }

    fn found(entry: &str) -> Vec<(String, Vec<Side>)> {
        let proxies = expected(&world(), &release(entry));
        proxies.into_iter().map(|proxy| (proxy.id, proxy.sides.into_iter().collect())).collect()
    }

    #[test]
    fn gateways_members_and_carriers_that_run_and_take_part_are_expected() {
        let sidecar = vec![Side::Inbound, Side::Outbound];
        let wanted = [
            ("edge/gateway-1".to_owned(), vec![Side::Gateway]),
            ("shop/orders-1".to_owned(), sidecar.clone()),
            ("shop/web-1".to_owned(), sidecar),
        ];
        assert_eq!(found("{gateways: [{namespace: edge}]}"), wanted);
    }

    #[test]
    fn entries_on_sidecars_run_one_document_more() {
        let all = found("{inbound: [orders], outbound: [batch]}");
        let sides = |name: &str| all.iter().find(|(id, _)| id == name).unwrap().1.clone();
        assert_eq!(sides("shop/orders-1"), [Side::Inbound, Side::Outbound, Side::InboundEntry]);
        assert_eq!(sides("shop/batch-1"), [Side::Inbound, Side::Outbound, Side::OutboundEntry]);
        assert_eq!(sides("shop/web-1"), [Side::Inbound, Side::Outbound]);
    }

    #[test]
    fn the_metrics_port_is_the_named_one_or_the_annotated_one_or_the_usual() {
        let of_pod = |annotations: Value, ports: Value| {
            let pod: Arc<Pod> = of(json!({"metadata": {"name": "a", "annotations": annotations},
                "spec": {"containers": [{"name": "istio-proxy", "ports": ports}]}}));
            port(&pod)
        };
        let own = json!({"prometheus.io/port": "9090", "prometheus.io/path": "/metrics"});
        let merged = json!({"prometheus.io/port": "15020", "prometheus.io/path": "/stats/prometheus"});
        assert_eq!(of_pod(json!({}), json!([])), 15090);
        assert_eq!(of_pod(own, json!([])), 15090, "the app's own metrics are not Envoy's");
        assert_eq!(of_pod(merged.clone(), json!([])), 15020);
        assert_eq!(of_pod(merged, json!([{"name": "http-envoy-prom", "containerPort": 16090}])), 16090);
    }
}
