//! Whether a status is worth writing: each write costs an API server and everybody who watches.

use super::status::{Condition, Status, Waiting};
use super::streams::Streams;

/// What is new in a status.
#[derive(PartialEq, Eq)]
pub(super) enum News {
    /// Nothing.
    None,
    /// Only how many proxies have answered.
    Counts,
    /// More than that.
    State,
}

/// Whether a status differs, and only in how many proxies have answered.
pub(super) fn news(before: &Status, after: &Status) -> News {
    if before == after {
        return News::None;
    }
    let complete =
        |status: &Status| status.proxies.expected > 0 && status.proxies.acknowledged == status.proxies.expected;
    if complete(after) && !complete(before) {
        return News::State;
    }
    let bare = |status: &Status| Status {
        proxies: Default::default(),
        message: String::new(),
        conditions: status.conditions.iter().map(|one| Condition { message: String::new(), ..one.clone() }).collect(),
        waiting: status.waiting.clone().map(|waiting| Waiting { message: String::new(), ..waiting }),
        generation: 0,
        streams: status.streams.clone().map(|streams| Streams { left: None, services: Default::default(), ..streams }),
        // Evidence that grows is put in the status only as often as it is worth it.
        ..status.clone()
    };
    if bare(before) == bare(after) { News::Counts } else { News::State }
}
