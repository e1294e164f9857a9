//! Pod templates of Deployments: what a handover copies, and whether it has been taken up. Pure, on the
//! objects as they came, so that fields which are newer than this program are kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::{Map, Value};

use super::LANE_LABEL;
use super::world::{Labels, World};
use crate::release::finding::Finding;

/// The label by which a Deployment tells its replica sets apart; the text of a revision here.
pub const TEMPLATE_HASH: &str = "pod-template-hash";
/// The annotation that numbers the replica sets of a Deployment.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The Deployment of a service's version, which has to be the only one.
///
/// # Errors
/// What stands in the way, for a release named `file`.
pub fn only_workload(
    world: &World,
    file: &str,
    namespace: &str,
    service: &str,
    lane: &str,
) -> Result<Arc<DynamicObject>, Finding> {
    let finding = |message: String, mend: String| Finding {
        file: file.into(),
        line: None,
        path: "spec.promotion.strategy".into(),
        message,
        mend,
    };
    let Some(subset) = world.subset(namespace, service, lane) else {
        let message = format!("service {service} has no subset `{lane}`, so nobody knows which pods are of it");
        let command = format!("graylane generate destinationrule {service} -n {namespace} --adopt -f FILE");
        return Err(finding(message, format!("add the subset to its DestinationRule (`{command}` does)")));
    };
    let found = world.workloads(namespace, service, subset);
    match found.as_slice() {
        [one] => Ok(Arc::clone(one)),
        [] => {
            let message = format!("no Deployment makes the pods of service {service} in subset `{lane}`");
            let labels: Vec<String> = subset.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mend = format!(
                "give a Deployment's pod template the labels of the service and {}, or take promotion `manual`, or \
                 `argo` for a Rollout",
                labels.join(",")
            );
            Err(finding(message, mend))
        }
        several => {
            let mut names: Vec<String> = several.iter().map(|one| one.name_any()).collect();
            names.sort();
            let message = format!("several Deployments make the pods of {service} in `{lane}`: {}", names.join(", "));
            Err(finding(message, "leave one of them, or take promotion `manual`".into()))
        }
    }
}

/// Labels of a workload's pod template.
pub fn labels(workload: &DynamicObject) -> Labels {
    let labels = workload.data.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
    serde_json::from_value(labels).unwrap_or_default()
}

/// Replicas that a workload wants; one if it does not say.
pub fn wanted(workload: &DynamicObject) -> u64 {
    workload.data.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)
}

/// The labels that stay stable's own in a copy: they say which version a pod is of.
pub fn own_labels(stable: &DynamicObject, lane: &DynamicObject, subsets: [Option<&Labels>; 2]) -> BTreeSet<String> {
    let mut own: BTreeSet<String> = ["version", LANE_LABEL, TEMPLATE_HASH].map(String::from).into();
    for workload in [stable, lane] {
        own.extend(members(workload, "/spec/selector/matchLabels").into_iter().flat_map(Map::keys).cloned());
        let expressions = workload.data.pointer("/spec/selector/matchExpressions").and_then(Value::as_array);
        let keys = expressions.into_iter().flatten().filter_map(|one| one.get("key")?.as_str());
        own.extend(keys.map(String::from));
    }
    own.extend(subsets.into_iter().flatten().flat_map(Labels::keys).cloned());
    own
}

fn members<'a>(workload: &'a DynamicObject, pointer: &str) -> Option<&'a Map<String, Value>> {
    workload.data.pointer(pointer).and_then(Value::as_object)
}

/// The template of a workload.
pub fn template(workload: &DynamicObject) -> Value {
    workload.data.pointer("/spec/template").cloned().unwrap_or_default()
}

/// `from` as a template for the workload that has `into` now: everything but the labels of its own.
pub fn copy(from: &Value, into: &Value, own: &BTreeSet<String>) -> Value {
    const LABELS: &str = "/metadata/labels";
    let members = |template: &Value| template.pointer(LABELS).and_then(Value::as_object).cloned().unwrap_or_default();
    let copied = members(from).into_iter().filter(|(name, _)| !own.contains(name));
    let kept = members(into).into_iter().filter(|(name, _)| own.contains(name));
    let labels: Map<String, Value> = copied.chain(kept).collect();
    let mut copy = from.clone();
    if let Some(metadata) = copy.as_object_mut().and_then(|template| {
        let metadata = template.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        metadata.as_object_mut()
    }) {
        metadata.insert("labels".into(), Value::Object(labels));
        // Not part of what a person wrote, and different on each object.
        metadata.remove("creationTimestamp");
    }
    copy
}

/// Whether two templates are the same for Kubernetes.
pub fn is_same(one: &Value, other: &Value) -> bool {
    let none = BTreeSet::new();
    copy(one, one, &none) == copy(other, other, &none)
}

/// The workload with another template.
pub fn with_template(workload: &DynamicObject, template: Value) -> DynamicObject {
    let mut changed = workload.clone();
    if let Some(spec) = changed.data.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.insert("template".into(), template);
    }
    changed
}

/// Whether all replicas run the template that stands in the workload, and are ready: what `kubectl
/// rollout status` waits for.
pub fn is_rolled_out(workload: &DynamicObject) -> bool {
    let number = |pointer: &str| workload.data.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let generation = workload.metadata.generation.and_then(|generation| u64::try_from(generation).ok()).unwrap_or(0);
    let wanted = wanted(workload);
    let updated = number("/status/updatedReplicas");
    number("/status/observedGeneration") >= generation
        && updated >= wanted
        && number("/status/replicas") <= updated
        && number("/status/availableReplicas") >= updated
}

/// The revision of a workload: the template hash of the replica set that has its number. Empty while
/// nobody has made one.
pub fn revision(world: &World, workload: &DynamicObject) -> String {
    let Some(number) = workload.annotations().get(REVISION) else { return String::new() };
    let sets = world.sets(workload.metadata.namespace.as_deref().unwrap_or_default());
    let mut mine = sets.iter().filter(|set| is_owned(set, workload));
    let current = mine.find(|set| set.annotations().get(REVISION) == Some(number));
    current.and_then(|set| set.labels().get(TEMPLATE_HASH).cloned()).unwrap_or_default()
}

/// The template that a workload had at a revision, as `kubectl rollout undo` would take it.
pub fn at_revision(world: &World, workload: &DynamicObject, revision: &str) -> Option<Value> {
    let sets = world.sets(workload.metadata.namespace.as_deref().unwrap_or_default());
    let mut mine = sets.iter().filter(|set| is_owned(set, workload));
    let set = mine.find(|set| set.labels().get(TEMPLATE_HASH).is_some_and(|hash| hash == revision))?;
    let mut template = template(set);
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
    }
    Some(template)
}

/// Whether a replica set is of a workload.
pub fn is_owned(set: &DynamicObject, workload: &DynamicObject) -> bool {
    let uid = workload.metadata.uid.as_deref().unwrap_or_default();
    set.owner_references().iter().any(|owner| owner.uid == uid && owner.controller.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::super::world::tests::{of, orders};
    use super::*;
    use serde_json::json;

    fn workload(name: &str, version: &str, image: &str) -> Arc<DynamicObject> {
        of(json!({"metadata": {"name": name, "namespace": "shop", "uid": name, "generation": 4,
                "annotations": {REVISION: "2"}},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "orders", "track": name}},
                "template": {"metadata": {"labels": {"app": "orders", "version": version, "track": name,
                        "team": image, LANE_LABEL: name}, "annotations": {"note": image}},
                    "spec": {"containers": [{"name": "app", "image": image}]}}}}))
    }

    #[test]
    fn a_copy_takes_everything_but_the_labels_that_say_which_version_it_is() {
        let (stable, lane) = (workload("stable", "1", "v1"), workload("canary", "2", "v2"));
        let own = own_labels(&stable, &lane, [None, None]);
        let copied = copy(&template(&lane), &template(&stable), &own);
        assert_eq!(
            copied,
            json!({"metadata": {"labels": {"app": "orders", "version": "1", "track": "stable", "team": "v2",
                    LANE_LABEL: "stable"}, "annotations": {"note": "v2"}},
                "spec": {"containers": [{"name": "app", "image": "v2"}]}})
        );
        // What was copied once is the same the next time.
        let after = with_template(&stable, copied.clone());
        assert!(is_same(&copy(&template(&lane), &template(&after), &own), &template(&after)));
        assert!(!is_same(&copied, &template(&stable)));
    }

    #[test]
    fn a_label_that_only_the_lane_has_is_no_label_of_stable() {
        let mut lane = (*workload("canary", "2", "v2")).clone();
        lane.data["spec"]["template"]["metadata"]["labels"]["graylane.io/enabled"] = json!("true");
        let mut stable = (*workload("stable", "1", "v1")).clone();
        if let Some(labels) = stable.data.pointer_mut("/spec/template/metadata/labels").and_then(Value::as_object_mut) {
            labels.remove(LANE_LABEL);
        }
        let own = own_labels(&stable, &lane, [None, None]);
        let copied = copy(&template(&lane), &template(&stable), &own);
        assert_eq!(copied.pointer("/metadata/labels/graylane.io~1enabled"), Some(&json!("true")));
        assert_eq!(copied.pointer("/metadata/labels/graylane.io~1lane"), None);
    }

    #[test]
    fn a_rollout_is_done_when_every_replica_runs_the_new_template_and_is_available() {
        let with_status = |status: Value| {
            let mut one = (*workload("stable", "1", "v1")).clone();
            one.data["status"] = status;
            is_rolled_out(&one)
        };
        let done = json!({"observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert!(with_status(done.clone()));
        for (field, value) in
            [("observedGeneration", 3), ("updatedReplicas", 1), ("availableReplicas", 1), ("replicas", 3)]
        {
            let mut status = done.clone();
            status[field] = json!(value);
            assert!(!with_status(status), "{field}");
        }
        assert!(!with_status(json!({})));
    }

    #[test]
    fn a_revision_is_found_by_its_hash_also_when_its_number_has_changed() {
        let set = |number: &str, hash: &str, image: &str| {
            of(json!({"metadata": {"name": hash, "namespace": "shop", "annotations": {REVISION: number},
                    "labels": {TEMPLATE_HASH: hash}, "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment",
                        "name": "stable", "uid": "stable", "controller": true}]},
                "spec": {"template": {"metadata": {"labels": {TEMPLATE_HASH: hash, "app": "orders"}},
                    "spec": {"containers": [{"name": "app", "image": image}]}}}}))
        };
        let stable = workload("stable", "1", "v1");
        let mut objects = orders(&[]);
        objects.sets = vec![set("1", "aaa", "v0"), set("2", "bbb", "v1")];
        let world = World::new(objects);
        assert_eq!(revision(&world, &stable), "bbb");
        let old = at_revision(&world, &stable, "aaa").unwrap();
        assert_eq!(old.pointer("/spec/containers/0/image"), Some(&json!("v0")));
        assert_eq!(old.pointer("/metadata/labels"), Some(&json!({"app": "orders"})));
        assert_eq!(at_revision(&world, &stable, "ccc"), None);
        assert_eq!(at_revision(&world, &workload("other", "1", "v1"), "aaa"), None);
    }

    #[test]
    fn the_workload_of_a_version_has_to_be_the_only_one() {
        let mut objects = orders(&[]);
        let world = World::new(objects.clone());
        let found = only_workload(&world, "r", "shop", "orders", "stable").unwrap();
        assert_eq!(found.name_any(), "orders-1");

        objects.deployments.push(of(json!({"metadata": {"name": "twin", "namespace": "shop"},
            "spec": {"template": {"metadata": {"labels": {"app": "orders", "version": "1"}}}}})));
        let world = World::new(objects.clone());
        let several = only_workload(&world, "r", "shop", "orders", "stable").unwrap_err();
        assert!(several.message.ends_with("orders-1, twin"), "{several}");

        objects.deployments.clear();
        let world = World::new(objects);
        let none = only_workload(&world, "r", "shop", "orders", "stable").unwrap_err();
        assert!(none.mend.contains("version=1"), "{none}");
        let no_subset = only_workload(&world, "r", "shop", "orders", "blue").unwrap_err();
        assert!(no_subset.mend.contains("DestinationRule"), "{no_subset}");
    }
}
