//! Versions that Envoy had no endpoint for, although the document still calls them ready.
//!
//! A control plane tells proxies of endpoints and of documents separately, and a lane's last pod is gone from the
//! endpoints first. Until the document follows, Envoy would answer the lane's requests itself. So a version for
//! which it did counts as not ready for a while, and stable serves as for any lane that is not ready.

use crate::lane::LaneId;

/// A version of a member: its position in [`crate::Policy::destinations`], and the lane.
pub type Version = (usize, LaneId);

/// How long one such answer counts. Longer than documents lag behind endpoints (15 to 370 ms with Istio on a busy
/// machine), so that the next thing heard of the version is usually the document. Short enough that a lane which
/// has its pod back is not kept from its users: one request in this time is what asking again costs, where the
/// document goes on calling a version ready that has no endpoint.
pub const HOLD_MS: u64 = 1_000;

/// What one worker met, by version: a handful, and looked at only for requests that want a lane.
#[derive(Clone, Debug, Default)]
pub struct Vacant(Vec<(Version, u64)>);

// === impl Vacant ===

impl Vacant {
    /// Envoy had no endpoint for a request to this version. Stable is never left out: whom it cannot serve, nobody
    /// can.
    #[cold]
    pub fn note(&mut self, version: Version, now_unix_ms: u64) {
        if version.1.is_stable() {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == version) {
            Some((_, last)) => *last = now_unix_ms,
            None => self.0.push((version, now_unix_ms)),
        }
    }

    /// Whether nothing of the kind was ever met.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a version is not to be asked now.
    pub fn holds(&self, version: Version, now_unix_ms: u64) -> bool {
        // The clock may have been set back.
        let is_recent = |last: u64| now_unix_ms.abs_diff(last) < HOLD_MS;
        self.0.iter().any(|(known, last)| *known == version && is_recent(*last))
    }
}
