//! From objects of an API server to the workloads of a release. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod as KubePod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::cluster::LANE_LABEL;
use crate::engine::Millis;
use crate::release::STABLE;
use crate::view::ground::{Pod, Workload};
use crate::view::kept::Kept;

type Labels = BTreeMap<String, String>;

/// The workloads behind the services of a release: its Deployments, and whatever else owns pods there.
pub(super) fn workloads(
    kept: &Kept,
    services: &[Service],
    deployments: &[Deployment],
    pods: &[KubePod],
) -> Vec<Workload> {
    let mut all = Vec::new();
    for name in names(kept) {
        let service = services.iter().find(|service| service.name_any() == name);
        let selector = service.and_then(|service| service.spec.as_ref()?.selector.as_ref());
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { continue };
        let mut found: BTreeMap<(String, String), Workload> = BTreeMap::new();
        for deployment in deployments {
            let spec = deployment.spec.as_ref();
            let labels = spec.and_then(|spec| spec.template.metadata.as_ref()?.labels.as_ref());
            if let Some(labels) = labels.filter(|labels| fits(selector, labels)) {
                let workload = Workload {
                    wanted: Some(count(spec.and_then(|spec| spec.replicas).unwrap_or(1))),
                    created_ms: created(deployment.metadata.creation_timestamp.as_ref()),
                    ..empty(&name, labels, "Deployment", &deployment.name_any())
                };
                found.insert(("Deployment".into(), workload.name.clone()), workload);
            }
        }
        for pod in pods.iter().filter(|pod| fits(selector, pod.labels())) {
            let (kind, owner) = owner(pod);
            let entry = found.entry((kind.clone(), owner.clone()));
            entry.or_insert_with(|| empty(&name, pod.labels(), &kind, &owner)).pods.push(shown(pod));
        }
        all.extend(found.into_values());
    }
    all
}

fn names(kept: &Kept) -> Vec<String> {
    let spec = kept.spec.iter();
    let names = spec
        .flat_map(|spec| spec.members.iter().map(|member| member.service.clone()).chain(spec.carriers.iter().cloned()));
    names.collect()
}

fn empty(service: &str, labels: &Labels, kind: &str, name: &str) -> Workload {
    Workload {
        service: service.into(),
        lane: labels.get(LANE_LABEL).cloned().unwrap_or_else(|| STABLE.into()),
        kind: kind.into(),
        name: name.into(),
        wanted: None,
        created_ms: None,
        pods: Vec::new(),
    }
}

fn fits(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// What owns a pod. A ReplicaSet is only the hand of a Deployment or Rollout, whose name it has with the
/// hash of the template behind it.
fn owner(pod: &KubePod) -> (String, String) {
    let Some(owner) = pod.owner_references().iter().find(|owner| owner.controller == Some(true)) else {
        return ("Pod".into(), "(no workload)".into());
    };
    let of_template = [("pod-template-hash", "Deployment"), ("rollouts-pod-template-hash", "Rollout")];
    let hand = of_template.into_iter().find_map(|(label, kind)| {
        let hash = pod.labels().get(label)?;
        Some((kind.to_owned(), owner.name.strip_suffix(&format!("-{hash}"))?.to_owned()))
    });
    hand.unwrap_or_else(|| (owner.kind.clone(), owner.name.clone()))
}

fn shown(pod: &KubePod) -> Pod {
    let status = pod.status.as_ref();
    let containers: Vec<&ContainerStatus> =
        status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten().collect();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let is_ready = conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True");
    let leaves = pod.metadata.deletion_timestamp.is_some();
    let reason = containers.iter().find_map(|container| {
        let state = container.state.as_ref()?;
        let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
        waiting.or_else(|| state.terminated.as_ref().and_then(|ended| ended.reason.clone()))
    });
    let phase = status.and_then(|status| status.phase.clone()).unwrap_or_else(|| "Pending".into());
    let specified = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    Pod {
        name: pod.name_any(),
        ready: number(containers.iter().filter(|container| container.ready).count()),
        containers: number(specified.max(containers.len())),
        serves: is_ready && !leaves,
        state: if leaves { "Terminating".into() } else { reason.unwrap_or(phase) },
        restarts: containers.iter().map(|container| count(container.restart_count)).sum(),
        created_ms: created(pod.metadata.creation_timestamp.as_ref()),
    }
}

fn created(time: Option<&Time>) -> Option<Millis> {
    time.and_then(|time| u64::try_from(time.0.as_millisecond()).ok())
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn count(replicas: i32) -> u32 {
    u32::try_from(replicas).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn pod(name: &str, lane: Option<&str>, ready: bool) -> KubePod {
        let mut labels = json!({"app": "orders", "pod-template-hash": "5d4"});
        if let Some(lane) = lane {
            labels[LANE_LABEL] = json!(lane);
        }
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-5d4"), "uid": "u",
            "controller": true});
        of(json!({
            "metadata": {"name": format!("{name}-5d4-x"), "labels": labels, "ownerReferences": [owner]},
            "spec": {"containers": [{"name": "app"}, {"name": "istio-proxy"}]},
            "status": {"phase": "Running",
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
                "containerStatuses": [{"name": "app", "ready": ready, "restartCount": 2, "image": "", "imageID": "",
                    "state": if ready { json!({"running": {}}) } else { json!({"waiting": {"reason": "CrashLoopBackOff"}}) }}]},
        }))
    }

    fn found(pods: &[KubePod]) -> Vec<Workload> {
        let spec = json!({"lanes": [{"name": "canary"}], "members": [{"service": "orders"}, {"service": "gone"}]});
        let kept = Kept::of(json!({"metadata": {"name": "summer", "namespace": "shop"}, "spec": spec})).unwrap();
        let service: Service = of(json!({"metadata": {"name": "orders"}, "spec": {"selector": {"app": "orders"}}}));
        let deployment = |name: &str, labels: Value| {
            of(json!({"metadata": {"name": name}, "spec": {"replicas": 2, "selector": {},
                "template": {"metadata": {"labels": labels}}}}))
        };
        let deployments: [Deployment; 2] =
            [deployment("orders", json!({"app": "orders"})), deployment("stock", json!({"app": "stock"}))];
        workloads(&kept, &[service], &deployments, pods)
    }

    #[test]
    fn a_pod_belongs_to_its_deployment_and_lane() {
        let all = found(&[pod("orders", None, true), pod("orders-canary", Some("canary"), false)]);
        let shown: Vec<_> = all
            .iter()
            .map(|one| (one.kind.as_str(), one.name.as_str(), one.lane.as_str(), one.wanted, one.serving()))
            .collect();
        let expected =
            [("Deployment", "orders", "stable", Some(2), 1), ("Deployment", "orders-canary", "canary", None, 0)];
        assert_eq!(shown, expected);
        assert_eq!((all[1].pods[0].state.as_str(), all[1].pods[0].restarts), ("CrashLoopBackOff", 2));
        assert_eq!((all[0].pods[0].ready, all[0].pods[0].containers), (1, 2));
    }

    #[test]
    fn a_pod_that_leaves_serves_no_more() {
        let mut leaving = pod("orders", None, true);
        leaving.metadata.deletion_timestamp = Some(of(json!("2026-01-01T00:00:00Z")));
        let all = found(&[leaving]);
        assert_eq!((all[0].serving(), all[0].pods[0].state.as_str()), (0, "Terminating"));
    }

    #[test]
    fn a_pod_without_an_owner_is_shown_too() {
        let mut alone = pod("orders", Some("canary"), true);
        alone.metadata.owner_references = None;
        let all = found(&[alone]);
        assert!(all.iter().any(|one| one.lane == "canary" && one.serving() == 1), "{all:?}");
    }
}
