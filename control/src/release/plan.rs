//! How a release moves: where lanes are chosen, the steps of its weight, when a change counts as
//! arrived, and how it ends.
//!
//! First the shapes as a person writes them, then what they become once checked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::Analysis;
use super::units::{Span, Weight};

/// Where the lanes of a release are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntrySpec {
    /// Namespaces whose opted-in ingress gateways choose lanes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewayEntry>,
    /// Services of the release's namespace whose sidecars choose lanes for what comes in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inbound: Vec<String>,
    /// Services of the release's namespace whose sidecars choose lanes for what their apps send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<String>,
}

/// Gateways that choose lanes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayEntry {
    /// Namespace of the gateway's pods.
    pub namespace: String,
}

/// One step of a release; exactly one member is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepSpec {
    /// New weight of the only lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// New weights by lane, where there are several. Lanes that are not named keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<BTreeMap<String, Weight>>,
    /// Wait for a time, or without one until somebody resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseSpec>,
    /// Wait until somebody promotes past it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateSpec>,
    /// Judge the lane at this weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisStepSpec>,
    /// Let the weight of the only lane grow as the evidence allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<AutoSpec>,
}

/// A wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PauseSpec {
    /// How long; absent means until somebody resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
}

/// A wait for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GateSpec {
    /// What has to be confirmed; shown to whoever is asked.
    pub name: String,
}

/// A judgement between two weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnalysisStepSpec {
    /// How long the lane is judged at the most. It goes on as soon as the lane has passed; a lane that
    /// has not passed by then is unverified, and the release is paused.
    pub duration: Span,
}

/// A weight that grows by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AutoSpec {
    /// Where it begins, before anything is known.
    pub from: Weight,
    /// Where it ends, once the lane has passed. The holdback stays on stable.
    pub to: Weight,
}

/// How the release ends once its last step is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PromotionSpec {
    /// Who brings the new version to the stable workloads.
    pub strategy: PromotionStrategy,
    /// The lane whose version becomes stable; needed only where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Share that stays on stable until the bake is over, so that there is always something to compare
    /// with; a weight of 100% means all the rest.
    pub holdback: Weight,
    /// How long the release stays at its last weight before the handover, and is judged. Default: `60s` where it is
    /// judged, else `0s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake: Option<Span>,
}

/// Who brings the new version to the stable workloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PromotionStrategy {
    /// The controller copies the lane's pod template into the stable Deployment.
    CopyTemplate,
    /// Somebody else does (CI, GitOps); the release waits until it is told so by `promote`.
    #[default]
    Manual,
    /// Argo Rollouts does.
    Argo,
}

/// What happens when the release fails or cannot go on in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// Everything returns to stable.
    #[default]
    Rollback,
    /// Weights stay, and a person decides.
    Pause,
}

/// What becomes of streams (web sockets, server-sent events, long calls) that are still open in a lane after
/// it was withdrawn: rolled back, handed over, or taken out of the release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DrainSpec {
    /// Whether they are left alone or closed. They are counted in either case.
    pub streams: DrainStreams,
    /// How long they have after the lane is gone, where they are closed.
    pub after: Span,
}

/// What becomes of open streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DrainStreams {
    /// They last as long as the lane's pods and their clients let them.
    #[default]
    Keep,
    /// The proxy that made the call ends it; a client that comes back is served by stable.
    Close,
}

/// When a pushed change counts as arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AcknowledgementSpec {
    /// Share of the expected proxies that have to run a change before a weight is raised further.
    pub quorum: Weight,
    /// How long a raise waits for them before `onFailure` decides, and a rollback or a deletion before it ends.
    pub timeout: Span,
}

/// What a lane has to be able to bear before it gets more weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CapacitySpec {
    /// Ready replicas of the lane, as a share of those that its weight would need at stable's size.
    /// 0 asks only for one ready replica of each version.
    pub floor: Weight,
}

/// A checked step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// New weights of 10,000 by lane; lanes that are not named keep theirs.
    Weight(BTreeMap<String, u32>),
    /// Wait this many milliseconds, or until somebody resumes.
    Pause(Option<u64>),
    /// Wait until somebody promotes past it.
    Gate(String),
    /// Judge for this many milliseconds.
    Analysis(u64),
    /// Let a weight grow as the evidence allows.
    Auto(Auto),
}

/// A checked weight that grows by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auto {
    /// The lane.
    pub lane: String,
    /// Slots of 10,000 at which it begins.
    pub from: u32,
    /// Slots of 10,000 at which it ends.
    pub to: u32,
}

/// The checked plan of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where lanes are chosen.
    pub entry: EntrySpec,
    /// Services that only pass lanes on.
    pub carriers: Vec<String>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// The Rollout whose steps give the weight, where Argo Rollouts leads.
    pub leader: Option<String>,
    /// Who brings the new version to stable.
    pub promotion: PromotionStrategy,
    /// The lane whose version becomes stable.
    pub promoted: String,
    /// Slots of 10,000 that stay on stable until the bake is over.
    pub holdback: u32,
    /// Milliseconds at the last weight before the handover.
    pub bake_ms: u64,
    /// What happens when it fails.
    pub on_failure: OnFailure,
    /// Milliseconds after which a stream whose lane is gone is closed; never where `None`.
    pub drain_after_ms: Option<u64>,
    /// Share of 10,000 of the expected proxies that has to run a change.
    pub quorum: u32,
    /// Milliseconds a raise waits for them.
    pub ack_timeout_ms: u64,
    /// Ready replicas of a lane, of 10,000 of those that its weight would need.
    pub capacity_floor: u32,
    /// How the lanes are judged, if they are.
    pub analysis: Option<Analysis>,
}

// === impl defaults ===

impl Default for PromotionSpec {
    fn default() -> Self {
        Self { strategy: PromotionStrategy::default(), lane: None, holdback: Weight("2%".into()), bake: None }
    }
}

impl Default for AutoSpec {
    fn default() -> Self {
        Self { from: Weight("1%".into()), to: Weight("100%".into()) }
    }
}

impl Default for DrainSpec {
    fn default() -> Self {
        Self { streams: DrainStreams::default(), after: Span("30s".into()) }
    }
}

impl Default for AcknowledgementSpec {
    fn default() -> Self {
        Self { quorum: Weight("100%".into()), timeout: Span("60s".into()) }
    }
}

impl Default for CapacitySpec {
    fn default() -> Self {
        Self { floor: Weight("100%".into()) }
    }
}
