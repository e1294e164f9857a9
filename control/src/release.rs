//! The release file: what a person writes to say which services are released together, who enters
//! which lane, and how much weight each lane has.
//!
//! [`GrayRelease`] only gives the file its shape, as `RawConfig` does for the filter's documents;
//! [`Release`] is what it becomes once every value has been checked. Reading is in [`read`], checking
//! in [`validate`]; both report with file, line, path and mend.

pub mod analysis;
pub mod argo;
pub mod cluster;
pub mod finding;
pub mod limits;
mod lines;
pub mod overlap;
pub mod plan;
pub mod read;
pub mod routes;
pub mod rules;
mod steps;
pub mod units;
pub mod validate;

use std::collections::BTreeMap;

use graylane_policy::raw::{
    ClientMarks, RawClaims, RawCondition, RawMarker, RawRule, RawStickiness, RawTrace, RouteBy,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::analysis::AnalysisSpec;
use self::plan::{AcknowledgementSpec, CapacitySpec, DrainSpec, EntrySpec, OnFailure, Plan, PromotionSpec, StepSpec};
use self::units::{Span, Time, Weight};

/// The lane that always exists.
pub const STABLE: &str = "stable";

/// One gray release: lanes, members, rules and weights of a group of services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrayRelease {
    /// Version of this format.
    pub api_version: ApiVersion,
    /// Kind of the object.
    pub kind: Kind,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
}

/// Version of the release format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only version so far.
    #[serde(rename = "graylane.io/v1alpha1")]
    V1Alpha1,
}

/// Kind of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// The only kind so far.
    GrayRelease,
}

/// The part of Kubernetes' metadata that a file may carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Name of the release, a DNS label.
    pub name: String,
    /// Namespace of the release and of its members.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Labels; not used by graylane.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations; not used by graylane.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a release wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The lane group: services that release together. Default: the name of the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Header that carries the lane end to end.
    #[serde(default = "default_carried_header")]
    pub carried_header: String,
    /// Every lane but `stable`.
    pub lanes: Vec<Lane>,
    /// The services of the group.
    pub members: Vec<MemberSpec>,
    /// Named values taken from the request. Default: `tenant`, `release`, `group`, `version`, `env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markers: Option<Vec<RawMarker>>,
    /// Conditions that put a request in a lane; the first that holds wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleSpec>,
    /// Whom stickiness follows.
    #[serde(default)]
    pub stickiness: RawStickiness,
    /// Where verified claims are read. Default: the payload of Envoy's `jwt_authn` filter.
    #[serde(default)]
    pub claims: RawClaims,
    /// How the lane survives a service that does not forward the carried header.
    #[serde(default)]
    pub propagation: Propagation,
    /// Whose marks are believed.
    #[serde(default)]
    pub trust: Trust,
    /// Share of the units in each lane, for `render` and `push` without a controller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, Weight>,
    /// Where lanes are chosen. A controller needs it; a folder has `proxies.yaml` instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntrySpec>,
    /// Services on the path that are no members but pass lanes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carriers: Vec<String>,
    /// How the weight moves, in order. A controller needs at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepSpec>,
    /// The Rollout of Argo Rollouts that leads: its steps give the weight in place of `steps`, and Argo
    /// promotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argo: Option<argo::ArgoSpec>,
    /// How the release ends.
    #[serde(default)]
    pub promotion: PromotionSpec,
    /// What happens when it fails or cannot go on in time.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What becomes of streams that are still open in a lane that is gone.
    #[serde(default)]
    pub drain: DrainSpec,
    /// When a change counts as arrived.
    #[serde(default)]
    pub acknowledgement: AcknowledgementSpec,
    /// What a lane has to bear before it gets more weight.
    #[serde(default)]
    pub capacity: CapacitySpec,
    /// How the lanes are judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisSpec>,
    /// What happens while there is nothing to judge by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnNoData>,
    /// True holds the release where it is; weights stay.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,
}

/// What happens while there is nothing to judge by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnNoData {
    /// The release waits where it is.
    #[default]
    Hold,
    /// The release is paused, and a person decides.
    Pause,
}

/// A lane of the release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lane {
    /// Name of the lane, a DNS label other than `stable`.
    pub name: String,
}

/// A service of the group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberSpec {
    /// Name of the Kubernetes service in the release's namespace.
    pub service: String,
    /// Further names that callers use, with or without a port. The service's own names are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Lanes in which this service has a version. Default: every lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lanes: Option<Vec<String>>,
    /// Latency objectives in milliseconds: slower requests are counted for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency_ms: Vec<u32>,
    /// What the routes of this service match on.
    #[serde(default)]
    pub route_by: RouteBy,
}

/// A condition that puts a request in a lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// Name of the rule, unique in the release.
    pub name: String,
    /// The lane, or `stable` to keep the matched requests out of every lane.
    pub lane: String,
    /// The condition.
    pub when: RawCondition,
    /// The rule holds from this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// The rule ends before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// How the lane survives a service that does not forward the carried header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Propagation {
    /// Also carry the lane as a member of W3C baggage.
    #[serde(default)]
    pub baggage: bool,
    /// Restore the lane by trace id at some workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// Restoring a lost lane by trace id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trace {
    /// Workloads that forward trace ids; `*` means every one. Leave out those that start traces.
    pub workloads: Vec<String>,
    /// How long a note is believed.
    #[serde(default = "default_ttl")]
    pub ttl: Span,
}

/// Whose marks are believed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trust {
    /// What becomes of a lane that the client of an entry sent. Default: dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_marks: Option<ClientMarks>,
    /// What becomes of a lane that reaches a member's sidecar. Default: `accept`; `peers` asks for an
    /// mTLS identity, and is not for workloads whose own sidecar is the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_marks: Option<ClientMarks>,
}

/// A checked release. Only [`validate`] makes one; what is built from it needs no more checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// Namespace of the release and of its members.
    pub namespace: String,
    /// Name of the release.
    pub name: String,
    /// The lane group.
    pub group: String,
    /// Header that carries the lane.
    pub carried_header: String,
    /// Every lane but stable.
    pub lanes: Vec<String>,
    /// The services of the group.
    pub members: Vec<Member>,
    /// Named values, if not the built-in ones.
    pub markers: Option<Vec<RawMarker>>,
    /// Rules, with their times in Unix seconds.
    pub rules: Vec<RawRule>,
    /// Whom stickiness follows.
    pub stickiness: RawStickiness,
    /// Where verified claims are read.
    pub claims: RawClaims,
    /// Whether the lane also travels as baggage.
    pub baggage: bool,
    /// The trace ring, if wanted.
    pub trace: Option<RawTrace>,
    /// What becomes of marks that an entry's client sent.
    pub client_marks: Option<ClientMarks>,
    /// What becomes of marks that reach the sidecars of members.
    pub peer_marks: Option<ClientMarks>,
    /// Wanted weights of 10,000; lanes without weight may be absent.
    pub weights: BTreeMap<String, u32>,
    /// How it moves.
    pub plan: Plan,
}

/// A checked member.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Name of the Kubernetes service.
    pub service: String,
    /// The `service` label of metrics: `<service>.<namespace>`.
    pub label: String,
    /// Every name callers use, without repetition.
    pub hosts: Vec<String>,
    /// Lanes in which the service has a version.
    pub lanes: Vec<String>,
    /// Latency objectives in milliseconds.
    pub latency_ms: Vec<u32>,
    /// What the routes match on.
    pub route_by: RouteBy,
}

// === impl Release ===

impl Release {
    /// `namespace/name`: the key of the release in state, and the `rollout` label of metrics.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

// === impl defaults ===

fn default_namespace() -> String {
    "default".into()
}

fn default_carried_header() -> String {
    "x-release-stage".into()
}

fn is_false(value: &bool) -> bool {
    !value
}

fn default_ttl() -> Span {
    Span("10s".into())
}
