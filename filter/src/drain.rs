//! Streams that outlive their lane: where a release asks for it, the calls that a document has put in a lane
//! are closed once that lane has been gone from the config for a while, and nothing else is.
//!
//! The document that put them there sees to it, with the ticks of a root context that lives until its last
//! stream has ended. What is open is counted elsewhere, by the meter.

use std::cell::RefCell;

use graylane_policy::Policy;

use crate::meter::Version;

/// Most streams that one worker closes in one tick, so that their clients do not all come back at once.
const AT_ONCE: usize = 100;

/// The open calls of one document in lanes, on one worker, by the numbers of their streams, which grow.
#[derive(Default)]
pub struct Drain(RefCell<Vec<Open>>);

/// One call.
#[derive(Clone, Copy, Debug)]
struct Open {
    stream: u32,
    version: Version,
    /// Position of its group.
    group: usize,
    after_ms: u64,
    /// Since when its lane is gone, if it is.
    gone_since_ms: Option<u64>,
    is_closed: bool,
}

// === impl Drain ===

impl Drain {
    /// A call to a version begins, on the stream of this number. Kept only where it may have to be closed.
    pub fn begin(&self, stream: u32, policy: &Policy, version: Version) {
        let (destination, lane) = version;
        let group = policy.destinations().get(destination).map(|destination| destination.group());
        let after_ms = group.and_then(|group| policy.groups().get(group)?.drain_after_ms());
        if let (Some(group), Some(after_ms)) = (group, after_ms.filter(|_| !lane.is_stable())) {
            let open = Open { stream, version, group, after_ms, gone_since_ms: None, is_closed: false };
            let mut calls = self.0.borrow_mut();
            let at = calls.partition_point(|other| other.stream < stream);
            calls.insert(at, open);
        }
    }

    /// A stream ends; true when it was closed from here.
    pub fn end(&self, stream: u32) -> bool {
        let mut calls = self.0.borrow_mut();
        let at = calls.partition_point(|other| other.stream < stream);
        let is_there = calls.get(at).is_some_and(|open| open.stream == stream);
        is_there && calls.remove(at).is_closed
    }

    /// Whether no stream is kept.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Streams that are to be closed now. `policy` is the document they began with, `in_force` the one that
    /// took its place, if any did.
    pub fn due(&self, policy: &Policy, in_force: Option<&Policy>, now_unix_ms: u64) -> Vec<(u32, Version)> {
        let mut due = Vec::new();
        for open in self.0.borrow_mut().iter_mut().filter(|open| !open.is_closed) {
            if is_there(policy, in_force, open) {
                open.gone_since_ms = None;
                continue;
            }
            let since = *open.gone_since_ms.get_or_insert(now_unix_ms);
            if now_unix_ms.saturating_sub(since) >= open.after_ms && due.len() < AT_ONCE {
                open.is_closed = true;
                due.push((open.stream, open.version));
            }
        }
        due
    }
}

/// Whether the lane of a call is still in the config.
fn is_there(policy: &Policy, in_force: Option<&Policy>, open: &Open) -> bool {
    let Some((group, in_force)) = policy.groups().get(open.group).zip(in_force) else { return false };
    let lane = group.lane_name(open.version.1).as_bytes();
    let mut same = in_force.groups().iter().filter(|other| other.rollout() == group.rollout());
    same.any(|other| other.lane_named(lane).is_some())
}
