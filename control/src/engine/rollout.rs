//! Rollouts of Argo Rollouts, as far as a release has to do with them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Rollout that makes the pods of a member, as it is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Its name.
    pub name: String,
    /// Hash of its newest template.
    pub newest: String,
    /// Hash of the template that is stable; empty before the first one is.
    pub stable: String,
    /// The share of 10,000 that its steps give the newest version now.
    pub weight: u32,
    /// Index of the step that it is at; the number of steps once all are done.
    pub step: u32,
    /// Number of its steps.
    pub steps: u32,
    /// Where it stands.
    pub state: RolloutState,
    /// What Argo Rollouts says of it.
    pub message: String,
}

/// Where a Rollout stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RolloutState {
    /// Argo Rollouts has not looked at it since it was changed: nothing is known.
    #[default]
    Unseen,
    /// It is on its way from the stable version to the newest, or waits there.
    Moving,
    /// Its newest version is stable, ready, and what its subset `stable` selects.
    Settled,
    /// It is aborted: its stable version shall have everything.
    Aborted,
    /// It cannot go on.
    Degraded,
}

/// What a release has to do with a Rollout, in its status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// Name of the Rollout.
    pub name: String,
    /// Hash of the pod template that this attempt brings to the users.
    pub version: String,
    /// True while the Rollout still has to be aborted, since the release was taken back.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub abort: bool,
}

// === impl Rollout ===

impl Rollout {
    /// Whether it has a version beside its stable one that users may be brought to.
    pub fn has_new_version(&self) -> bool {
        self.state == RolloutState::Moving && !self.stable.is_empty() && self.stable != self.newest
    }

    /// Whether this version of it is stable.
    pub fn has_promoted(&self, version: &str) -> bool {
        self.stable == version && self.newest == version
    }
}
