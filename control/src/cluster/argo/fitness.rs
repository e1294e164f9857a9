//! Whether Rollouts are such that a release can rely on them: Argo makes replica sets and subsets, graylane
//! sends the requests, and only one of the two moves the weight.

use std::sync::Arc;

use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;

use super::{labels, members, of_service};
use crate::cluster::LANE_LABEL;
use crate::cluster::cache::Trouble;
use crate::cluster::problems::finding;
use crate::cluster::world::World;
use crate::istio::types::{full_host, service_host};
use crate::release::finding::Finding;
use crate::release::{Release, STABLE};

const CANARY: &str = "/spec/strategy/canary";
const RENDER: &str = "take what `graylane render argo` prints";

/// What is wrong with the Rollouts of a release.
pub fn problems(world: &World, release: &Release) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut names = Vec::new();
    for (index, member) in release.members.iter().enumerate() {
        if !members(release).any(|promoted| promoted.service == member.service) {
            continue;
        }
        let found = of_service(world, &release.namespace, &member.service);
        let path = format!("spec.members[{index}].service");
        if let [_, _, ..] = found.as_slice() {
            let all: Vec<String> = found.iter().map(|one| one.name_any()).collect();
            let message = format!("several Rollouts make the pods of {}: {}", member.service, all.join(", "));
            findings.push(finding(release, &path, message, "leave one of them"));
        }
        for rollout in &found {
            names.push(rollout.name_any());
            let check = Check { world, release, rollout, service: &member.service, path: &path };
            findings.extend(check.problems());
        }
    }
    findings.extend(missing(release, &names));
    findings
}

fn missing(release: &Release, names: &[String]) -> Option<Finding> {
    match &release.plan.leader {
        Some(leader) if !names.contains(leader) => Some(finding(
            release,
            "spec.argo.rollout",
            format!("no Rollout `{leader}` makes the pods of a member"),
            "name a Rollout of the release's namespace whose pods the service of a member selects",
        )),
        None if names.is_empty() => Some(finding(
            release,
            "spec.promotion.strategy",
            "no Rollout makes the pods of a member",
            "take promotion `copyTemplate` for Deployments, or `manual`",
        )),
        _ => None,
    }
}

/// What it means that Rollouts cannot be read.
pub fn unreadable(trouble: Trouble, release: &Release) -> Option<Finding> {
    let (message, mend) = match trouble {
        Trouble::Absent => ("this cluster does not know the kind Rollout".to_owned(), "install Argo Rollouts"),
        Trouble::Forbidden(why) => {
            (format!("the controller may not read Rollouts ({why})"), "give it the role of istio/install")
        }
        Trouble::Away(_) => return None,
    };
    Some(finding(release, "spec.promotion.strategy", message, mend))
}

/// One Rollout of one member.
struct Check<'a> {
    world: &'a World,
    release: &'a Release,
    rollout: &'a Arc<DynamicObject>,
    service: &'a str,
    path: &'a str,
}

// === impl Check ===

impl Check<'_> {
    fn problems(&self) -> Vec<Finding> {
        if self.at(CANARY).is_none() {
            return vec![self.finding("has no canary strategy", RENDER)];
        }
        let steps = if self.release.plan.leader.as_deref() == Some(self.rollout.name_any().as_str()) {
            self.leading_steps()
        } else {
            self.waiting_steps()
        };
        [self.subsets(), self.decoy(), self.lane_label(), steps].into_iter().flatten().collect()
    }

    /// The DestinationRule in which Argo points the subsets at its replica sets.
    fn subsets(&self) -> Option<Finding> {
        let rule = format!("{CANARY}/trafficRouting/istio/destinationRule");
        let lane = self.release.plan.promoted.as_str();
        let text = |field: &str| self.at(&format!("{rule}/{field}")).and_then(Value::as_str).unwrap_or_default();
        if self.at(&rule).is_none() {
            return Some(self.finding("points no subsets of a DestinationRule at its versions", RENDER));
        }
        if text("stableSubsetName") != STABLE || text("canarySubsetName") != lane {
            let mend = format!("write `stableSubsetName: {STABLE}` and `canarySubsetName: {lane}`");
            return Some(self.finding("names other subsets than those of the lanes", mend));
        }
        let host = service_host(self.service, &self.release.namespace);
        let rules = self.world.network.rules_of(&host);
        let is_it = |name: &str, namespace: &str| name == text("name") && namespace == self.release.namespace;
        let is_there = rules.iter().any(|one| is_it(&one.metadata.name, &one.metadata.namespace));
        let message = format!("names `{}`, which is no DestinationRule of {host}", text("name"));
        (!is_there).then(|| self.finding(message, RENDER))
    }

    /// The VirtualService into which Argo writes weights: nobody may be routed by it.
    fn decoy(&self) -> Option<Finding> {
        let istio = format!("{CANARY}/trafficRouting/istio");
        let several = self.at(&format!("{istio}/virtualServices")).and_then(Value::as_array).into_iter().flatten();
        let all = several.chain(self.at(&format!("{istio}/virtualService")));
        let written: Vec<&str> = all.filter_map(|one| one.get("name")?.as_str()).collect();
        let hosts = self.release.members.iter().flat_map(|member| &member.hosts);
        let mut routes = hosts.flat_map(|host| self.world.network.routes_of(&full_host(host, &self.release.namespace)));
        let real = routes.find(|routes| {
            let (namespace, name) = (routes.metadata.namespace.as_str(), routes.metadata.name.as_str());
            written.iter().any(|written| *written == name || *written == format!("{name}.{namespace}"))
        })?;
        let message = format!("would write its weights into VirtualService {}, which routes users", real.metadata.name);
        Some(self.finding(message, "let it write them into the decoy that `graylane render argo` prints"))
    }

    /// A pod begins in the lane and ends as stable; its proxy reads its labels only when it starts.
    fn lane_label(&self) -> Option<Finding> {
        let in_metadata = ["canaryMetadata", "stableMetadata"].iter().any(|field| {
            let labels = self.at(&format!("{CANARY}/{field}/labels"));
            labels.is_some_and(|labels| labels.get(LANE_LABEL).is_some())
        });
        (in_metadata || labels(self.world, self.rollout).contains_key(LANE_LABEL)).then(|| {
            let message = format!("labels its pods `{LANE_LABEL}`, and they would keep that lane once they are stable");
            self.finding(message, "take the label away; requests carry their lane in the header, baggage or trace")
        })
    }

    fn steps(&self) -> &[Value] {
        self.at(&format!("{CANARY}/steps")).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn leading_steps(&self) -> Option<Finding> {
        let has_weight = self.steps().iter().any(|step| step.get("setWeight").is_some());
        (!has_weight).then(|| self.finding("leads and has no step that sets a weight", RENDER))
    }

    /// Where graylane leads, Argo makes the replica sets and waits.
    fn waiting_steps(&self) -> Option<Finding> {
        let moves = |step: &Value| step.get("setWeight").is_some_and(|weight| weight.as_u64() != Some(0));
        if self.steps().iter().any(moves) {
            let mend = "leave setWeight out; or let Argo lead, by `argo: {rollout: …}` in place of the release's steps";
            return Some(self.finding("has weights in its steps, and so has the release", mend));
        }
        let waits = |step: &Value| step.get("pause").is_some_and(|pause| pause.get("duration").is_none());
        let is_held = self.steps().iter().any(waits);
        (!is_held).then(|| self.finding("would promote by itself, for it has no step `pause: {}`", RENDER))
    }

    fn at(&self, pointer: &str) -> Option<&Value> {
        self.rollout.data.pointer(pointer).filter(|value| !value.is_null())
    }

    fn finding(&self, message: impl AsRef<str>, mend: impl Into<String>) -> Finding {
        finding(self.release, self.path, format!("Rollout {} {}", self.rollout.name_any(), message.as_ref()), mend)
    }
}
