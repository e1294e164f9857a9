use serde_json::{Value, json};

use super::*;
use crate::build::Side;
use crate::cluster::world::Objects;
use crate::cluster::world::tests::{of, orders, pod};
use crate::engine::seen::Replicas;
use crate::release::read::read_text;
use crate::release::validate::check;

fn release(more: &str) -> Release {
    let text = format!(
        "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {{name: r, namespace: shop}}\nspec:\n  \
         lanes: [{{name: canary}}]\n  members: [{{service: orders}}]\n  promotion: {{strategy: argo}}\n{more}"
    );
    check(read_text("r", &text).unwrap(), &Side::ALL).unwrap().remove(0).release
}

const LED: &str = "  argo: {rollout: orders}\n";
const LEADS: &str = "  steps: [{weight: 5%}]\n";

/// In the middle of its first step, as Argo Rollouts 1.10.1 wrote it.
fn rollout() -> Value {
    json!({
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u", "generation": 3},
        "spec": {
            "replicas": 2,
            "template": {"metadata": {"labels": {"app": "orders"}}},
            "strategy": {"canary": {
                "trafficRouting": {"istio": {
                    "virtualService": {"name": "orders-argo-decoy", "routes": ["decoy"]},
                    "destinationRule": {"name": "orders", "stableSubsetName": "stable", "canarySubsetName": "canary"},
                }},
                "steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 50}],
            }},
        },
        "status": {
            "observedGeneration": "3",
            "phase": "Paused",
            "message": "CanaryPauseStep",
            "currentPodHash": "bbb",
            "stableRS": "aaa",
            "currentStepIndex": 1,
            "canary": {"weights": {
                "canary": {"podTemplateHash": "bbb", "weight": 5},
                "stable": {"podTemplateHash": "aaa", "weight": 95},
            }},
        },
    })
}

/// The world with this Rollout; its subsets select these hashes.
fn world(rollout: Value, subsets: [&str; 2]) -> World {
    let set = |hash: &str, replicas: u32| {
        of(json!({"metadata": {"name": hash, "namespace": "shop",
                "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "orders", "uid": "u",
                    "controller": true}]},
            "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": "orders", HASH: hash}}}}}))
    };
    let slice =
        of(json!({"metadata": {"name": "s", "namespace": "shop", "labels": {"kubernetes.io/service-name": "orders"}},
        "addressType": "IPv4", "endpoints": [
            {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "a"}},
            {"addresses": ["10.0.0.2"], "targetRef": {"kind": "Pod", "name": "b"}}]}));
    let subset = |name: &str, hash: &str| json!({"name": name, "labels": {HASH: hash}});
    let rule = json!({"metadata": {"name": "orders", "namespace": "shop"}, "spec": {"host": "orders",
        "subsets": [subset("stable", subsets[0]), subset("canary", subsets[1])]}});
    World::new(Objects {
        pods: vec![
            pod("a", json!({"app": "orders", HASH: "aaa", "graylane.io/enabled": "true"})),
            pod("b", json!({"app": "orders", HASH: "bbb", "graylane.io/enabled": "true"})),
        ],
        slices: vec![slice],
        deployments: Vec::new(),
        sets: vec![set("aaa", 2), set("bbb", 1)],
        rollouts: vec![of(rollout)],
        rules: vec![of(rule)],
        ..orders(&[])
    })
}

fn seen_with(change: impl FnOnce(&mut Value), subsets: [&str; 2]) -> Rollout {
    let mut rollout = rollout();
    change(&mut rollout);
    rollouts(&world(rollout, subsets), &release(LED)).remove("orders").unwrap()
}

#[test]
fn a_rollout_says_where_it_is() {
    let seen = seen_with(|_| {}, ["aaa", "bbb"]);
    let wanted = Rollout {
        name: "orders".into(),
        newest: "bbb".into(),
        stable: "aaa".into(),
        weight: 500,
        step: 1,
        steps: 3,
        state: RolloutState::Moving,
        message: "CanaryPauseStep".into(),
    };
    assert_eq!(seen, wanted);
    assert!(seen.has_new_version());
}

#[test]
fn a_weight_counts_only_for_the_newest_version_and_of_its_own_whole() {
    let weight = |change: fn(&mut Value)| seen_with(change, ["aaa", "bbb"]).weight;
    assert_eq!(weight(|one| one["status"]["canary"]["weights"]["canary"]["podTemplateHash"] = "old".into()), 0);
    assert_eq!(weight(|one| one["status"]["stableRS"] = "bbb".into()), 0);
    assert_eq!(weight(|one| one["status"]["canary"] = json!({})), 0);
    assert_eq!(weight(|one| one["spec"]["strategy"]["canary"]["trafficRouting"]["maxTrafficWeight"] = 1000.into()), 50);
    assert_eq!(weight(|one| one["status"]["canary"]["weights"]["canary"]["weight"] = 300.into()), 10_000);
}

#[test]
fn a_status_of_an_earlier_template_says_nothing() {
    let state = |change: fn(&mut Value)| seen_with(change, ["aaa", "bbb"]).state;
    assert_eq!(state(|one| one["metadata"]["generation"] = 4.into()), RolloutState::Unseen);
    assert_eq!(state(|one| one["status"] = json!({})), RolloutState::Unseen);
    assert_eq!(state(|one| one["status"]["abort"] = true.into()), RolloutState::Aborted);
    assert_eq!(state(|one| one["status"]["phase"] = "Degraded".into()), RolloutState::Degraded);
}

#[test]
fn a_rollout_is_settled_once_stables_subset_selects_what_is_stable() {
    let done = |one: &mut Value| {
        one["status"]["stableRS"] = "bbb".into();
        one["status"]["phase"] = "Healthy".into();
    };
    assert_eq!(seen_with(done, ["aaa", "bbb"]).state, RolloutState::Moving);
    assert_eq!(seen_with(done, ["bbb", "bbb"]).state, RolloutState::Settled);
}

#[test]
fn replicas_of_a_version_are_those_of_its_replica_set() {
    let world = world(rollout(), ["aaa", "bbb"]);
    assert_eq!(world.replicas("shop", "orders", "stable"), Replicas { ready: 1, wanted: 2 });
    assert_eq!(world.replicas("shop", "orders", "canary"), Replicas { ready: 1, wanted: 1 });
}

#[test]
fn a_lane_whose_subset_selects_what_is_stable_is_no_version() {
    let world = world(rollout(), ["aaa", "aaa"]);
    assert_eq!(world.replicas("shop", "orders", "canary"), Replicas::default());
    assert_eq!(world.replicas("shop", "orders", "stable").ready, 1);
}

#[test]
fn a_rollout_that_would_move_users_is_refused_with_the_mend() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &str); 8] = [
        (LED, |_| {}, ""),
        (LED, |one| one["spec"]["strategy"] = json!({"blueGreen": {}}), "has no canary strategy"),
        (
            LED,
            |one| {
                one["spec"]["strategy"]["canary"]["trafficRouting"]["istio"]["virtualService"]["name"] = "orders".into()
            },
            "would write its weights into VirtualService orders, which routes users",
        ),
        (
            LED,
            |one| one["spec"]["strategy"]["canary"]["trafficRouting"]["istio"]["destinationRule"] = Value::Null,
            "points no subsets of a DestinationRule",
        ),
        (
            LED,
            |one| one["spec"]["strategy"]["canary"]["trafficRouting"]["istio"]["destinationRule"]["name"] = "x".into(),
            "names `x`, which is no DestinationRule of orders.shop.svc.cluster.local",
        ),
        (
            LED,
            |one| {
                one["spec"]["strategy"]["canary"]["canaryMetadata"] = json!({"labels": {"graylane.io/lane": "canary"}})
            },
            "they would keep that lane once they are stable",
        ),
        (LEADS, |_| {}, "has weights in its steps, and so has the release"),
        (
            LEADS,
            |one| one["spec"]["strategy"]["canary"]["steps"] = json!([{"pause": {"duration": "5m"}}]),
            "would promote by itself",
        ),
    ];
    for (more, change, words) in cases {
        let mut rollout = rollout();
        change(&mut rollout);
        let found = problems(&world(rollout, ["aaa", "bbb"]), &release(more));
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), usize::from(!words.is_empty()), "{words}: {said:?}");
        assert!(said.iter().all(|said| said.contains(words) && said.contains("spec.members[0].service")), "{said:?}");
    }
}

#[test]
fn a_rollout_that_nobody_finds_is_named_with_its_path() {
    let none = world(json!({"metadata": {"name": "other", "namespace": "shop"}, "spec": {}}), ["aaa", "bbb"]);
    let led = problems(&none, &release(LED));
    assert_eq!((led[0].path.as_str(), led.len()), ("spec.argo.rollout", 1), "{led:?}");
    let leads = problems(&none, &release(LEADS));
    assert_eq!((leads[0].path.as_str(), leads.len()), ("spec.promotion.strategy", 1), "{leads:?}");
}
