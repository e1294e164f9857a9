//! Counts the streams that outlive their lane. Nothing waits for them: they are told, and by policy closed.

use super::Machine;
use crate::engine::Millis;
use crate::engine::status::{Exposure, Status};
use crate::engine::streams::Streams;
use crate::release::Release;

/// They are counted for so long; some streams never end.
const COUNTED_MS: Millis = 600_000;
/// Where they are closed, for so long after that at least.
const AFTERWARDS_MS: Millis = 60_000;
/// Time between two looks.
const AGAIN_MS: Millis = 2_000;

// === impl Machine ===

impl Machine<'_> {
    /// Counts, from the moment when the lanes are withdrawn.
    pub(super) fn count_streams(&mut self, before: &Status, release: Option<&Release>) {
        if self.status.exposure != Exposure::Absent {
            self.status.streams = None;
            return;
        }
        if before.exposure != Exposure::Absent {
            self.status.streams = Some(Streams::since(self.now));
        }
        let Some(mut streams) = self.status.streams.clone().filter(Streams::is_counted) else { return };
        let left_before = streams.left;
        if let Some(open) = &self.seen.streams {
            streams.take(open);
        }
        if self.status.phase.is_finished() && self.is_counted_out(&streams, release) {
            streams.until_ms = Some(self.now);
            if left_before.is_some_and(|left| left > 0) && streams.left == Some(0) {
                let took = self.now.saturating_sub(streams.since_ms) / 1000;
                let message = format!("the last stream in the lanes ended {took} s after they were withdrawn");
                self.note("StreamsEnded", message);
            }
        } else {
            self.wake_by(self.now.saturating_add(AGAIN_MS));
            let words = streams.words();
            if left_before.is_none() && !words.is_empty() {
                self.note("StreamsLeft", words);
            }
        }
        self.status.streams = Some(streams);
    }

    /// Whether no stream is left, or those that are have been counted for long enough.
    fn is_counted_out(&self, streams: &Streams, release: Option<&Release>) -> bool {
        let drained = release.and_then(|release| release.plan.drain_after_ms).unwrap_or(0);
        let longest = COUNTED_MS.max(drained.saturating_add(AFTERWARDS_MS));
        streams.left == Some(0) || self.now >= streams.since_ms.saturating_add(longest)
    }
}
