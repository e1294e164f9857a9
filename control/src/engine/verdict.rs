//! What the analysis has come to, as the status keeps it.

use std::collections::BTreeMap;

use graylane_analysis::{Evidence, Fault, Finding, Outcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Millis;

/// How a lane stands with its objectives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneAnalysis {
    /// The verdict.
    pub outcome: Outcome,
    /// Why, in words.
    pub reason: String,
    /// Since when it is this, in milliseconds since the Unix epoch.
    pub since_ms: Millis,
    /// When this was written, in milliseconds since the Unix epoch.
    pub at_ms: Millis,
    /// Since when there is nothing to judge by, if there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_data_since_ms: Option<Millis>,
    /// By service and objective.
    pub findings: Vec<Finding>,
    /// What it rests on, so that a controller that starts again goes on with it.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub evidence: Evidence,
}

/// Why a release was taken back, or paused, by its analysis, and when what happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The lane.
    pub lane: String,
    /// The reason, in words.
    pub message: String,
    /// Where it fails, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// When it was decided, in milliseconds since the Unix epoch.
    pub decided_ms: Millis,
    /// When every proxy had confirmed that the lane is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_ms: Option<Millis>,
    /// End of the last second in which the lane served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_lane_ms: Option<Millis>,
}

/// How the local brakes of an attempt stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Brake {
    /// How often they were released.
    pub released: u32,
    /// Since when some proxy has held its users back, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<Millis>,
}
