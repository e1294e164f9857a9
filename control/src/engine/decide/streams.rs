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
        let (now, has_ended) = (self.now, self.status.phase.is_finished());
        let Some(streams) = self.status.streams.as_mut().filter(|streams| streams.is_counted()) else { return };
        let (was_told, had_some) = (streams.left.is_some(), streams.left.is_some_and(|left| left > 0));
        if let Some(open) = &self.seen.streams {
            streams.take(open);
        }
        let words = if was_told { String::new() } else { streams.words() };
        let longest = release.and_then(|release| release.plan.drain_after_ms).unwrap_or(0);
        let longest = COUNTED_MS.max(longest.saturating_add(AFTERWARDS_MS));
        let is_empty = streams.left == Some(0);
        if has_ended && (is_empty || now >= streams.since_ms.saturating_add(longest)) {
            streams.until_ms = Some(now);
            let took = now.saturating_sub(streams.since_ms) / 1000;
            if is_empty && had_some {
                self.note(
                    "StreamsEnded",
                    format!("the last stream in the lanes ended {took} s after they were withdrawn"),
                );
            }
            return;
        }
        if !words.is_empty() {
            self.note("StreamsLeft", words);
        }
        self.wake_by(now.saturating_add(AGAIN_MS));
    }
}
