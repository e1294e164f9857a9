//! What a pass of the loop came to.

use super::Millis;
use super::seams::SeamError;

/// What is tried again after a failure waits this long.
const AGAIN_MS: Millis = 1_000;

/// What a pass came to.
#[derive(Debug, Default)]
pub struct Pass {
    /// When to look again even if nothing is heard; the caller also looks when something is.
    pub wake_at: Option<Millis>,
    /// True when something was changed, so that looking again at once may find more to do.
    pub changed: bool,
    /// True while proxies are waited for, so that asking them often is worth it.
    pub awaits_proxies: bool,
    /// Namespaces whose proxies got their config again because some had crashed.
    pub healed: Vec<String>,
    /// What went wrong; it will be tried again.
    pub errors: Vec<(String, SeamError)>,
}

// === impl Pass ===

impl Pass {
    pub(super) fn wake(&mut self, at: Option<Millis>) {
        self.wake_at = match (self.wake_at, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    pub(super) fn fail(&mut self, what: &str, error: SeamError, now: Millis) {
        self.wake(Some(now.saturating_add(AGAIN_MS)));
        self.errors.push((what.into(), error));
    }
}
