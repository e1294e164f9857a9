//! What a release has come to: the whole state of the engine, kept in the object's status, so that a
//! controller that starts again goes on where the last one was.

use std::collections::{BTreeMap, BTreeSet};

use graylane_policy::raw::RawRun;
use graylane_policy::slots::SlotTable;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Millis;
use super::rollout::RolloutStatus;
use super::streams::Streams;
use super::verdict::{Brake, Failure, LaneAnalysis};
use crate::build::Version;

/// How many entries of the history are kept.
const HISTORY: usize = 30;

/// The status of a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Where the release stands.
    pub phase: Phase,
    /// The same in words, with what it waits for.
    pub message: String,
    /// Generation of the spec that this status is about.
    pub observed_generation: i64,
    /// Which run of the release this is, from 1; 0 before the first.
    pub attempt: u32,
    /// Salt of the attempt's slots.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub salt: String,
    /// Index of the step that is being done; the number of steps once all are.
    pub step: u32,
    /// Number of steps.
    pub steps: u32,
    /// When the step began, in milliseconds since the Unix epoch.
    pub step_since_ms: Millis,
    /// Weight of each lane in 1/10,000; follows from the slots.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u32>,
    /// The weights as one short text, such as `canary=5%`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub weight: String,
    /// The slot table, as runs.
    #[schemars(with = "Vec<SlotRun>")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<RawRun>,
    /// How much of the release is in the config of proxies.
    pub exposure: Exposure,
    /// Versions that exist but cannot serve now; their requests go to stable.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub not_ready: BTreeSet<Version>,
    /// The versions that its last readable spec named, while the spec cannot be read.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub last_versions: BTreeSet<Version>,
    /// Highest generation of its documents that is remembered; none after it is lower.
    pub generation: u64,
    /// How the proxies stand with the last change.
    pub proxies: ProxyCount,
    /// What the release waits for, if for anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Why and since when it is paused, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// True once a full promotion was asked for: waits between steps are passed.
    #[serde(skip_serializing_if = "is_false")]
    pub full: bool,
    /// Id of the last request of a person that was handled.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub handled_request: String,
    /// Since when evidence counts, in milliseconds since the Unix epoch: the attempt's begin, or when
    /// a pause that a verdict had asked for was ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub judged_since_ms: Millis,
    /// How each lane stands with its objectives.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub analysis: BTreeMap<String, LaneAnalysis>,
    /// Whether proxies hold their users back from the lanes, and how often they were told not to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brake: Option<Brake>,
    /// Why the analysis took it back or paused it, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Streams that are still open in its lanes since those were withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
    /// The Rollouts of its members and the versions that this attempt is about, by service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rollouts: BTreeMap<String, RolloutStatus>,
    /// How far the handover is, once it has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handover: Option<Handover>,
    /// What has happened, oldest first; the last 30 entries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Entry>,
    /// Conditions in the manner of Kubernetes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Where a release stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Nothing has moved: it waits for its turn, or for what it needs to begin.
    #[default]
    Pending,
    /// The spec or what it names is wrong; nothing moves.
    Invalid,
    /// The weight moves.
    Progressing,
    /// It waits for a time or a person; weights stay.
    Paused,
    /// All steps are done; stable becomes the new version.
    Promoting,
    /// Everything returns to stable; proxies have not all confirmed it.
    RollingBack,
    /// Everything is on stable, the old version.
    RolledBack,
    /// Everything is on stable, the new version.
    Succeeded,
}

/// How much of a release is in the config of proxies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Exposure {
    /// Not at all.
    #[default]
    Absent,
    /// Lanes are kept for requests that are in one, but none is chosen any more.
    Draining,
    /// Lanes are chosen by rules and slots.
    Full,
}

/// How proxies stand with a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyCount {
    /// Proxies that shall run it.
    pub expected: u32,
    /// Proxies of which every worker runs it.
    pub acknowledged: u32,
    /// Some of those that do not, by name; at most ten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// What a release waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Which gate is closed.
    pub reason: WaitReason,
    /// The same in words, with names.
    pub message: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: Millis,
}

/// A gate that can be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WaitReason {
    /// Another release has the group.
    GroupBusy,
    /// A route or a workload that the release names is not as it has to be.
    Routes,
    /// Not enough proxies run the last change.
    Acknowledgement,
    /// A version has no ready endpoint.
    Endpoints,
    /// A lane is too small for the weight it shall get.
    Capacity,
    /// Stable cannot bear what would fall to it, or is still being updated.
    Stable,
    /// Somebody has to say that stable runs the new version.
    ManualHandover,
    /// Argo Rollouts has no new version, or says nothing.
    Rollout,
    /// The config of proxies was stopped by hand.
    Stopped,
    /// Not enough has been counted for a verdict.
    Evidence,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Why.
    pub reason: PauseReason,
    /// The same in words.
    pub message: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: Millis,
    /// Until when, if not until a person says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<Millis>,
}

/// Why a release is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PauseReason {
    /// A step says so.
    Step,
    /// A gate waits for a person.
    Gate,
    /// A person asked for it.
    Asked,
    /// `spec.paused` is set.
    Spec,
    /// It failed, and `onFailure` is `pause`.
    Failure,
    /// There was too little traffic, or too little data, for a verdict.
    Unverified,
    /// Something is wrong that rolling back would not mend: an outage of stable too, broken routing, or a
    /// service that loses the lane.
    Judgement,
}

/// How far a handover is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Handover {
    /// What is being done.
    pub stage: HandoverStage,
    /// Revision of each member's stable workload before the handover, for `undo`.
    pub revisions: BTreeMap<String, String>,
    /// True when the handover goes backwards: stable gets its old version again.
    #[serde(skip_serializing_if = "is_false")]
    pub undo: bool,
    /// When an undo took the lanes out of the config of proxies, in milliseconds since the Unix epoch. After a
    /// handover that was done there were none.
    #[serde(skip_serializing_if = "is_zero")]
    pub lanes_left_ms: Millis,
}

/// A stage of the handover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum HandoverStage {
    /// The new version goes to the stable workloads.
    #[default]
    Copying,
    /// The stable workloads become ready with it.
    Updating,
    /// No request is put in a lane any more.
    Emptying,
    /// The lane leaves the config of proxies.
    Retiring,
    /// All done.
    Done,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: Millis,
    /// What, in CamelCase; the reason of the event.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// A run of slots, as in the filter's document.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only the schema is used")]
struct SlotRun {
    /// First slot that is no longer of this run.
    #[schemars(range(min = 1, max = 10000))]
    until: u32,
    /// The lane, or `stable`.
    lane: String,
}

/// A condition (meta/v1 Condition).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Name of the condition.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in CamelCase.
    pub reason: String,
    /// In words.
    pub message: String,
    /// When the status changed last, in RFC 3339.
    pub last_transition_time: String,
    /// Generation of the spec that this is about.
    pub observed_generation: i64,
}

// === impl Status ===

impl Status {
    /// The slot table; all in stable when there is none or it is damaged.
    pub fn table(&self) -> SlotTable {
        SlotTable::from_runs(&self.slots).unwrap_or_else(|_| SlotTable::all_stable())
    }

    /// Puts a table in place, and the weights that follow from it.
    pub fn set_table(&mut self, table: &SlotTable) {
        self.slots = table.to_runs();
        self.weights = table.weights();
        self.weights.remove(graylane_policy::slots::STABLE);
        let texts =
            self.weights.iter().map(|(lane, parts)| format!("{lane}={}", crate::release::units::percent(*parts)));
        self.weight = texts.collect::<Vec<_>>().join(",");
    }

    /// Whether a handover has begun, and stable is still all that it was.
    pub fn may_take_back_handover(&self) -> bool {
        let untouched = |handover: &Handover| {
            handover.stage == HandoverStage::Copying && !handover.undo && handover.revisions.is_empty()
        };
        self.phase == Phase::Promoting && self.handover.as_ref().is_some_and(untouched)
    }

    /// Whether lanes are out of the config of proxies, some of which may still use them: in the last stage of a
    /// handover, or after an undo of one that was not done.
    pub fn is_leaving(&self) -> bool {
        let undo_of_none = |handover: &Handover| handover.undo && handover.lanes_left_ms == 0;
        self.phase == Phase::Promoting
            && self.exposure == Exposure::Absent
            && !self.handover.as_ref().is_some_and(undo_of_none)
    }

    /// Whether stable has been given a version, so that the one before it is known.
    pub fn has_given(&self) -> bool {
        self.handover.as_ref().is_some_and(|handover| !handover.revisions.is_empty())
    }

    /// Adds to the history, which stays bounded.
    pub fn note(&mut self, at_ms: Millis, reason: &str, message: impl Into<String>) {
        self.history.push(Entry { at_ms, reason: reason.into(), message: message.into() });
        let surplus = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..surplus);
    }
}

// === impl Phase ===

impl Phase {
    /// Whether the release has come to an end and holds its group no longer.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::RolledBack | Self::Succeeded)
    }
}

fn is_zero(value: &Millis) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !value
}
