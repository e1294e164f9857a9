//! A release laid out across its services: release, lane, service, workload, pod.

use std::collections::BTreeSet;

use super::ground::{Ground, Pod, Workload};
use super::kept::Kept;
use super::mark::Mark;
use super::{glance, times};
use crate::build::Version;
use crate::engine::Millis;
use crate::engine::status::Exposure;
use crate::release::units::{WHOLE, percent};
use crate::release::{MemberSpec, STABLE};

/// What a member without a usable version in a lane does there.
const FALLS_BACK: &str = "falls back to stable";

/// A node of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// How it stands.
    pub mark: Mark,
    /// The same as a word.
    pub status: String,
    /// Ready against wanted, where they are counted.
    pub ready: String,
    /// Its age.
    pub age: String,
    /// What else there is to know.
    pub info: String,
    /// What belongs to it.
    pub children: Vec<Node>,
}

/// Lays out a release.
pub fn tree(kept: &Kept, ground: &Ground, now: Millis) -> Node {
    let view = View { kept, ground, now };
    let mut children: Vec<Node> = kept.lanes().iter().map(|lane| view.lane(lane)).collect();
    children.extend(view.carriers());
    children.extend(view.proxies());
    Node {
        name: kept.name.clone(),
        kind: "GrayRelease".into(),
        mark: Mark::of(kept.status.phase),
        status: glance::phase(kept),
        age: times::age(kept.created_ms, now),
        info: kept.status.weight.clone(),
        children,
        ..Node::default()
    }
}

struct View<'a> {
    kept: &'a Kept,
    ground: &'a Ground,
    now: Millis,
}

// === impl View ===

impl View<'_> {
    fn lane(&self, lane: &str) -> Node {
        let members = self.kept.spec.iter().flat_map(|spec| &spec.members);
        let children: Vec<Node> = members.map(|member| self.member(member, lane)).collect();
        Node { name: lane.into(), kind: "Lane".into(), info: self.lane_info(lane), children, ..Node::default() }
    }

    fn lane_info(&self, lane: &str) -> String {
        let weights = &self.kept.status.weights;
        let taken: u32 = weights.values().fold(0, |sum, weight| sum.saturating_add(*weight));
        match lane {
            STABLE => format!("weight:{}", percent(WHOLE.saturating_sub(taken))),
            lane => {
                let weight = format!("weight:{}", percent(weights.get(lane).copied().unwrap_or_default()));
                let draining = self.kept.status.exposure == Exposure::Draining;
                if draining { format!("{weight}, draining") } else { weight }
            }
        }
    }

    fn member(&self, member: &MemberSpec, lane: &str) -> Node {
        let node = Node { name: member.service.clone(), kind: "Service".into(), ..Node::default() };
        let has_version = lane == STABLE || member.lanes.as_ref().is_none_or(|lanes| lanes.iter().any(|l| l == lane));
        if !has_version {
            return Node { info: FALLS_BACK.into(), ..node };
        }
        let version = Version { service: format!("{}.{}", member.service, self.kept.namespace), lane: lane.to_owned() };
        let withheld = self.kept.status.not_ready.contains(&version);
        let workloads = self.workloads(&member.service, lane);
        let serving: u32 = workloads.iter().map(|workload| workload.serving()).sum();
        let wanted: u32 = workloads.iter().map(|workload| workload.wanted()).sum();
        let looked = matches!(self.ground, Ground::Workloads(_));
        let (mark, status) = match (looked, serving, withheld) {
            (_, _, true) => (Mark::Warning, "NotReady"),
            (true, 0, _) => (Mark::Bad, if workloads.is_empty() { "NoWorkload" } else { "NotReady" }),
            (true, ready, _) if ready < wanted => (Mark::Moving, "Ready"),
            (true, _, _) => (Mark::Good, "Ready"),
            (false, _, _) if lane == STABLE || self.kept.status.exposure == Exposure::Absent => (Mark::None, ""),
            (false, _, _) => (Mark::Good, "Ready"),
        };
        let falls = lane != STABLE && status != "Ready" && !status.is_empty();
        Node {
            mark,
            status: status.into(),
            ready: if looked { format!("{serving}/{wanted}") } else { String::new() },
            info: if falls { FALLS_BACK.into() } else { String::new() },
            children: workloads.into_iter().map(|workload| self.workload(workload)).collect(),
            ..node
        }
    }

    fn workloads(&self, service: &str, lane: &str) -> Vec<&Workload> {
        let Ground::Workloads(all) = self.ground else { return Vec::new() };
        let mut found: Vec<_> = all.iter().filter(|one| one.service == service && one.lane == lane).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn workload(&self, workload: &Workload) -> Node {
        let (serving, wanted) = (workload.serving(), workload.wanted());
        let (mark, status) = match serving {
            0 if wanted == 0 => (Mark::None, "ScaledDown"),
            serving if serving >= wanted => (Mark::Good, "Healthy"),
            _ => (Mark::Moving, "Progressing"),
        };
        let mut pods: Vec<&Pod> = workload.pods.iter().collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        Node {
            name: workload.name.clone(),
            kind: workload.kind.clone(),
            mark,
            status: status.into(),
            ready: format!("{serving}/{wanted}"),
            age: times::age(workload.created_ms, self.now),
            children: pods.into_iter().map(|pod| self.pod(pod)).collect(),
            ..Node::default()
        }
    }

    fn pod(&self, pod: &Pod) -> Node {
        let mut info = Vec::new();
        if pod.restarts > 0 {
            info.push(format!("restarts:{}", pod.restarts));
        }
        if self.missing().contains(pod.name.as_str()) {
            info.push("its proxy lacks the last change".into());
        }
        Node {
            name: pod.name.clone(),
            kind: "Pod".into(),
            mark: pod.mark(),
            status: pod.state.clone(),
            ready: format!("{}/{}", pod.ready, pod.containers),
            age: times::age(pod.created_ms, self.now),
            info: info.join(", "),
            children: Vec::new(),
        }
    }

    /// Proxies that lack the last change, by the last part of their name.
    fn missing(&self) -> BTreeSet<&str> {
        let names = self.kept.status.proxies.missing.iter();
        names.map(|name| name.rsplit('/').next().unwrap_or(name)).collect()
    }

    fn carriers(&self) -> Option<Node> {
        let carriers = &self.kept.spec.as_ref()?.carriers;
        let service = |service: &String| {
            let workloads = self.workloads(service, STABLE);
            let ready = workloads.iter().map(|one| one.serving()).sum::<u32>();
            let wanted = workloads.iter().map(|one| one.wanted()).sum::<u32>();
            let looked = matches!(self.ground, Ground::Workloads(_));
            Node {
                name: service.clone(),
                kind: "Service".into(),
                ready: if looked { format!("{ready}/{wanted}") } else { String::new() },
                info: "passes lanes on".into(),
                children: workloads.into_iter().map(|workload| self.workload(workload)).collect(),
                ..Node::default()
            }
        };
        let children: Vec<Node> = carriers.iter().map(service).collect();
        (!children.is_empty()).then(|| Node { name: "carriers".into(), children, ..Node::default() })
    }

    fn proxies(&self) -> Option<Node> {
        let Ground::Proxies(proxies) = self.ground else { return None };
        let missing = self.missing();
        // At most ten of those that lack the change are named, so with more nothing is known of the rest.
        let count = &self.kept.status.proxies;
        let all_named = count.missing.len() as u32 == count.expected.saturating_sub(count.acknowledged);
        let proxy = |name: &String| {
            let (mark, status) = match (missing.contains(name.as_str()), all_named && count.expected > 0) {
                (true, _) => (Mark::Moving, "Waiting"),
                (false, true) => (Mark::Good, "Acknowledged"),
                (false, false) => (Mark::None, ""),
            };
            Node { name: name.clone(), kind: "Proxy".into(), mark, status: status.into(), ..Node::default() }
        };
        let children: Vec<Node> = proxies.iter().map(proxy).collect();
        (!children.is_empty()).then(|| Node { name: "proxies".into(), children, ..Node::default() })
    }
}
