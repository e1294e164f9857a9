//! What is seen of the world around one release at one time.

use std::collections::BTreeMap;

use super::judging::Judgement;
use super::request::Request;
use super::rollout::Rollout;
use crate::build::Version;
use crate::release::finding::Finding;

/// What is seen of the world around one release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Generation of the spec.
    pub generation: i64,
    /// `spec.paused`.
    pub paused: bool,
    /// The last request of a person.
    pub request: Option<Request>,
    /// True when the object is being deleted.
    pub deleting: bool,
    /// The release that has the group, if it is another one.
    pub busy: Option<String>,
    /// True when the config of its proxies was stopped by hand.
    pub stopped: bool,
    /// What is wrong with what the release names: routes, subsets, workloads.
    pub problems: Vec<Finding>,
    /// Why nobody knows yet whether its questions to Prometheus can be answered, before it begins.
    pub unasked: Option<String>,
    /// The lane versions of its members.
    pub versions: BTreeMap<Version, Replicas>,
    /// True where versions are what answers the probes of `proxies.yaml`, not the pods of a subset.
    pub probed: bool,
    /// The stable versions of its members, by `service` label.
    pub stable: BTreeMap<String, Replicas>,
    /// The Rollouts that make pods of its members, by service, where Argo Rollouts promotes.
    pub rollouts: BTreeMap<String, Rollout>,
    /// How proxies stand with the documents that follow from the status at hand.
    pub arrival: Arrival,
    /// What the counts say, where the release is judged.
    pub judgement: Option<Judgement>,
    /// Streams that are open in its lanes by service, once every proxy has told of them since the lanes were
    /// withdrawn.
    pub streams: Option<BTreeMap<String, u64>>,
    /// How far the stable workloads are with the version that the handover gives them, by service.
    pub workloads: BTreeMap<String, Workload>,
}

/// Replicas of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    /// Ready endpoints.
    pub ready: u32,
    /// Replicas that are wanted, as far as known; else the same as `ready`.
    pub wanted: u32,
}

/// How proxies stand with a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Proxies that shall run it.
    pub expected: u32,
    /// Proxies of which every worker runs it.
    pub acknowledged: u32,
    /// Those that do not, by name.
    pub missing: Vec<String>,
    /// False while the documents that follow from the status have not been written, or nobody has
    /// asked the proxies since: then nothing is known yet.
    pub known: bool,
}

/// A stable workload in a handover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// What names its template now and finds it again later; for a Deployment the pod-template-hash.
    pub revision: String,
    /// True when its template is the one that the handover gives it.
    pub has_template: bool,
    /// True when all its replicas run its template and are ready.
    pub rolled_out: bool,
}

// === impl Arrival ===

impl Arrival {
    /// Whether this share of 10,000 of the expected proxies runs the change. No proxy at all is not
    /// enough: nobody would decide.
    pub fn reaches(&self, quorum: u32) -> bool {
        let (acknowledged, expected) = (u64::from(self.acknowledged), u64::from(self.expected));
        self.known && expected > 0 && acknowledged * 10_000 >= expected * u64::from(quorum)
    }
}
