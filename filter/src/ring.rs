//! The trace ring in shared data: notes that the inbound side of a proxy leaves for its outbound
//! side, and the failures that the outbound side tells the inbound side of.

use graylane_policy::ring::{Note, slot_of};
use graylane_policy::trace::TraceId;

use crate::host::Host;

/// Where the last failed call of this proxy is noted: time in Unix milliseconds and trace id.
const LAST_FAILURE: &str = "graylane.ring.failed";

/// Who a failed request failed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// No call below failed.
    Own,
    /// A call of the same trace failed below.
    Downstream,
    /// Calls below failed meanwhile, but not of this trace, which the app may not have forwarded.
    Unknown,
}

/// What the ring holds for a trace.
pub fn look_up(host: &impl Host, trace: &TraceId) -> Option<Note> {
    let (bytes, _) = host.shared(&key_of(trace))?;
    Note::decode(&bytes).filter(|note| note.trace == *trace)
}

/// Leaves a note; whatever older trace had the slot is forgotten.
pub fn leave(host: &impl Host, note: &Note) {
    host.set_shared(&key_of(&note.trace), &note.encode(), 0);
}

/// Notes that a call of this trace failed.
pub fn tell_failure(host: &impl Host, trace: &TraceId, now_unix_ms: u64) {
    tell(host, trace, now_unix_ms, false);
    let mut last = now_unix_ms.to_le_bytes().to_vec();
    last.extend_from_slice(trace.as_bytes());
    host.set_shared(LAST_FAILURE, &last, 0);
}

/// The same for a call that was given up before an answer. Of requests without a known trace it says
/// nothing: where no trace is handed on, it may well be that a user has left.
pub fn tell_given_up(host: &impl Host, trace: &TraceId, now_unix_ms: u64) {
    tell(host, trace, now_unix_ms, false);
}

/// Notes that whoever asked for a request of this trace left before an answer.
pub fn tell_left(host: &impl Host, trace: &TraceId, now_unix_ms: u64) {
    tell(host, trace, now_unix_ms, true);
}

/// Whether a call of this trace, begun at `since_unix_ms`, was made for somebody who has left since. Envoy
/// logs the outer request before the application can know.
pub fn has_left(host: &impl Host, trace: &TraceId, since_unix_ms: u64) -> bool {
    look_up(host, trace).is_some_and(|note| note.left_unix_ms >= since_unix_ms)
}

fn tell(host: &impl Host, trace: &TraceId, now_unix_ms: u64, has_left: bool) {
    let mut note = look_up(host, trace).unwrap_or_else(|| Note::new(*trace, now_unix_ms));
    let time = if has_left { &mut note.left_unix_ms } else { &mut note.failed_unix_ms };
    *time = now_unix_ms;
    leave(host, &note);
}

/// Who a request that failed here, having begun at `since_unix_ms`, failed for.
pub fn origin_of(host: &impl Host, trace: Option<&TraceId>, since_unix_ms: u64) -> Origin {
    let noted = trace.and_then(|trace| look_up(host, trace));
    if noted.is_some_and(|note| note.failed_unix_ms > 0 && note.failed_unix_ms >= since_unix_ms) {
        return Origin::Downstream;
    }
    let meanwhile = last_failure(host).is_some_and(|at| at >= since_unix_ms);
    if meanwhile { Origin::Unknown } else { Origin::Own }
}

fn last_failure(host: &impl Host) -> Option<u64> {
    let (bytes, _) = host.shared(LAST_FAILURE)?;
    bytes.first_chunk::<8>().map(|at| u64::from_le_bytes(*at))
}

fn key_of(trace: &TraceId) -> String {
    format!("graylane.ring.{}", slot_of(trace))
}

// === impl Origin ===

impl Origin {
    /// The `origin` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Downstream => "downstream",
            Self::Unknown => "unknown",
        }
    }
}
