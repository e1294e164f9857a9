//! Rollouts of Argo Rollouts: what they say of themselves, and whether they leave the requests to graylane.
//! Pure, on the objects as they came; the fields are those of `argoproj.io/v1alpha1`.

mod fitness;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

pub use self::fitness::{problems, unreadable};
use super::resource;
use super::world::{Labels, World, contains};
use crate::engine::rollout::{Rollout, RolloutState};
use crate::release::units::WHOLE;
use crate::release::{Member, Release, STABLE};

/// The label by which a Rollout tells its replica sets and their pods apart.
pub const HASH: &str = "rollouts-pod-template-hash";

/// `Rollout`.
pub fn kind() -> ApiResource {
    resource("argoproj.io", "v1alpha1", "Rollout", "rollouts")
}

/// The Rollouts that make pods of members with a version in the promoted lane, by service.
pub fn rollouts(world: &World, release: &Release) -> BTreeMap<String, Rollout> {
    let of = |member: &Member| {
        let found = of_service(world, &release.namespace, &member.service);
        // Of several, nobody knows which one is meant; that is a problem of the release.
        let [only] = found.as_slice() else { return None };
        Some((member.service.clone(), seen(world, only, &release.namespace, &member.service)))
    };
    members(release).filter_map(of).collect()
}

fn members(release: &Release) -> impl Iterator<Item = &Member> {
    release.members.iter().filter(|member| member.lanes.contains(&release.plan.promoted))
}

/// The Rollouts whose pods a service selects.
fn of_service(world: &World, namespace: &str, service: &str) -> Vec<Arc<DynamicObject>> {
    let Some(selector) = world.selector(namespace, service) else { return Vec::new() };
    let all = world.rollouts(namespace).iter();
    all.filter(|rollout| contains(&labels(world, rollout), &selector)).cloned().collect()
}

/// Labels of a Rollout's pods. One that refers to a Deployment has none itself, but its replica sets do.
fn labels(world: &World, rollout: &DynamicObject) -> Labels {
    let own = super::template::labels(rollout);
    if !own.is_empty() {
        return own;
    }
    let namespace = rollout.metadata.namespace.as_deref().unwrap_or_default();
    let set = world.sets(namespace).iter().find(|set| super::template::is_owned(set, rollout));
    set.map(|set| super::template::labels(set)).unwrap_or_default()
}

fn seen(world: &World, rollout: &DynamicObject, namespace: &str, service: &str) -> Rollout {
    let text = |pointer: &str| rollout.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| rollout.data.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let (newest, stable) = (text("/status/currentPodHash"), text("/status/stableRS"));
    let steps = rollout.data.pointer("/spec/strategy/canary/steps").and_then(Value::as_array).map_or(0, Vec::len);
    let subset = world.subset(namespace, service, STABLE).and_then(|labels| labels.get(HASH).cloned());
    let follows = subset.as_deref() == Some(stable.as_str());
    Rollout {
        name: rollout.name_any(),
        weight: weight(rollout, &newest, &stable),
        step: u32::try_from(number("/status/currentStepIndex")).unwrap_or(u32::MAX),
        steps: u32::try_from(steps).unwrap_or(u32::MAX),
        state: state(rollout, &newest, &stable, follows),
        message: text("/status/message"),
        newest,
        stable,
    }
}

/// The share of 10,000 that Argo gives the newest version. What is said of another version does not count.
fn weight(rollout: &DynamicObject, newest: &str, stable: &str) -> u32 {
    let canary = rollout.data.pointer("/status/canary/weights/canary");
    let of = canary.and_then(|canary| canary.get("podTemplateHash")).and_then(Value::as_str);
    if newest == stable || of != Some(newest) {
        return 0;
    }
    let whole = rollout.data.pointer("/spec/strategy/canary/trafficRouting/maxTrafficWeight").and_then(Value::as_u64);
    let weight = canary.and_then(|canary| canary.get("weight")).and_then(Value::as_u64).unwrap_or(0);
    let whole = whole.filter(|whole| *whole > 0).unwrap_or(100);
    let parts = weight.saturating_mul(u64::from(WHOLE)) / whole;
    u32::try_from(parts).unwrap_or(WHOLE).min(WHOLE)
}

fn state(rollout: &DynamicObject, newest: &str, stable: &str, follows: bool) -> RolloutState {
    let phase = rollout.data.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    // A text in Argo's status.
    let observed = rollout.data.pointer("/status/observedGeneration").and_then(Value::as_str).unwrap_or_default();
    let generation = rollout.metadata.generation.unwrap_or_default().to_string();
    let is_set = |pointer: &str| rollout.data.pointer(pointer).and_then(Value::as_bool).unwrap_or(false);
    if observed != generation || newest.is_empty() {
        RolloutState::Unseen
    } else if is_set("/status/abort") {
        RolloutState::Aborted
    } else if phase == "Degraded" {
        RolloutState::Degraded
    } else if phase == "Healthy" && newest == stable && follows {
        RolloutState::Settled
    } else {
        RolloutState::Moving
    }
}

/// What `kubectl argo rollouts abort` writes to the status.
pub fn abort() -> Value {
    json!({"status": {"abort": true}})
}

/// What `kubectl argo rollouts promote --full` writes to the status.
pub fn promote() -> Value {
    json!({"status": {"promoteFull": true}})
}

/// The only Rollout of a service.
pub fn only(world: &World, namespace: &str, service: &str) -> Option<Arc<DynamicObject>> {
    match of_service(world, namespace, service).as_slice() {
        [one] => Some(Arc::clone(one)),
        _ => None,
    }
}
