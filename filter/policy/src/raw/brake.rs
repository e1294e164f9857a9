//! The local brake, as it is written.

use serde::{Deserialize, Serialize};

use super::is_default;

/// The local brake: each proxy compares how often requests fail in a lane and in stable. Where the lane
/// does clear harm, an entry stops sending requests there by weight (rules go on), and any other caller
/// only tells, both by the gauge `graylane_brake`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawBrake {
    /// Evidence at which it trips, 20 to 10^15: proxies x lanes / chance of any false trip in an attempt.
    /// It may change at any time; what was gathered stays.
    pub evidence: u64,
    /// The attempt, such as its salt. Evidence is kept, and a tripped brake stays tripped, while it is the
    /// same.
    pub attempt: String,
    /// How often the brake was let go in this attempt: another number starts anew.
    #[serde(default, skip_serializing_if = "is_default")]
    pub released: u64,
}
