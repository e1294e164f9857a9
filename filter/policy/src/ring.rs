//! The trace ring: what the inbound side of a proxy notes for its outbound side.
//!
//! The host never frees a shared-data key, so a note lives in one of a fixed number of slots, chosen
//! by trace id; a newer trace overwrites an older one there. A note holds the whole id, so a
//! collision is a miss and never somebody else's lane.
//!
//! Bytes of a note: `3`, trace id (16), time in Unix milliseconds (8, little endian), time of the last
//! failure below (8, the same; 0 for none), time when whoever asked left (8, the same), then for each lane group length and bytes of group name,
//! length and bytes of lane name, cohort index.

use xxhash_rust::xxh64::xxh64;

use crate::lane::Cohort;
use crate::trace::TraceId;

/// Number of slots; with notes of about 60 bytes the ring holds at most half a megabyte.
pub const SLOTS: u64 = 4_096;

const VERSION: u8 = 3;

/// What is known of a trace that passed through this proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The trace.
    pub trace: TraceId,
    /// When it was noted, in Unix milliseconds.
    pub at_unix_ms: u64,
    /// When a call of this trace last failed below this workload, in Unix milliseconds; 0 when none
    /// did. A time and no flag: a retry has the trace of the try that failed before it.
    pub failed_unix_ms: u64,
    /// When a request of this trace last had no answer yet and whoever asked for it left, in Unix
    /// milliseconds; 0 when none did.
    pub left_unix_ms: u64,
    /// The lanes it was in, for groups where it was not in stable.
    pub lanes: Vec<NotedLane>,
}

/// One group's lane in a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedLane {
    /// Name of the group; documents of different roles number groups differently.
    pub group: String,
    /// Name of the lane.
    pub lane: String,
    /// How it was chosen.
    pub cohort: Cohort,
}

/// The slot of a trace, 0 to [`SLOTS`] - 1.
pub fn slot_of(trace: &TraceId) -> u64 {
    ((xxh64(trace.as_bytes(), 0) >> 32) * SLOTS) >> 32
}

// === impl Note ===

impl Note {
    /// A note of a trace without any lane.
    pub fn new(trace: TraceId, at_unix_ms: u64) -> Self {
        Self { trace, at_unix_ms, failed_unix_ms: 0, left_unix_ms: 0, lanes: Vec::new() }
    }

    /// The lane noted for a group.
    pub fn lane_of(&self, group: &str) -> Option<&NotedLane> {
        self.lanes.iter().find(|noted| noted.group == group)
    }

    /// Whether the note is younger than `ttl_ms`. A note from the future (the clock was set back)
    /// is not believed.
    pub fn is_fresh(&self, now_unix_ms: u64, ttl_ms: u32) -> bool {
        now_unix_ms.checked_sub(self.at_unix_ms).is_some_and(|age| age <= u64::from(ttl_ms))
    }

    /// The bytes of the note. Names of more than 255 bytes cannot be: they are DNS labels.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(VERSION);
        out.extend_from_slice(self.trace.as_bytes());
        out.extend_from_slice(&self.at_unix_ms.to_le_bytes());
        out.extend_from_slice(&self.failed_unix_ms.to_le_bytes());
        out.extend_from_slice(&self.left_unix_ms.to_le_bytes());
        for noted in &self.lanes {
            push_text(&mut out, &noted.group);
            push_text(&mut out, &noted.lane);
            out.push(noted.cohort.index());
        }
        out
    }

    /// Reads a note; `None` for anything that is not one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (trace, rest) = rest.split_first_chunk::<16>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (failed, rest) = rest.split_first_chunk::<8>()?;
        let (left, mut rest) = rest.split_first_chunk::<8>()?;
        if version != VERSION {
            return None;
        }
        let mut note = Self::new(TraceId::from_bytes(*trace), u64::from_le_bytes(*at));
        note.failed_unix_ms = u64::from_le_bytes(*failed);
        note.left_unix_ms = u64::from_le_bytes(*left);
        while !rest.is_empty() {
            let group = take_text(&mut rest)?;
            let lane = take_text(&mut rest)?;
            let (&cohort, after) = rest.split_first()?;
            rest = after;
            note.lanes.push(NotedLane { group, lane, cohort: *Cohort::ALL.get(usize::from(cohort))? });
        }
        Some(note)
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let bytes = bytes.get(..usize::from(u8::MAX)).unwrap_or(bytes);
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let (&len, after) = rest.split_first()?;
    let (text, after) = after.split_at_checked(usize::from(len))?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}
