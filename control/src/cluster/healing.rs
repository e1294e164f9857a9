//! Which proxies are hurt. A VM that trapped, or whose module could not be fetched, stays bypassed until
//! its config changes. Most of what looks hurt is only late, so nothing counts before it has lasted. Pure;
//! time is passed in. How often healing is tried is the engine's business.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Fewer workers than there are run the document: a moment of this is normal in every push.
const AFTER_LOSS: Duration = Duration::from_secs(5);
/// The document has not come at all: the fetch of a module may take ten seconds.
const AFTER_SILENCE: Duration = Duration::from_secs(15);

/// How a proxy that answers does not run what it shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wound {
    /// Some workers do not.
    Loss,
    /// None does.
    Silence,
}

/// What is known of proxies that are not well, by proxy.
#[derive(Debug, Default)]
pub struct Healing(HashMap<String, Hurt>);

#[derive(Debug)]
struct Hurt {
    namespace: String,
    wound: Wound,
    since: Instant,
}

// === impl Healing ===

impl Healing {
    /// A proxy runs all that it shall run, or cannot be asked: a new config would change nothing.
    pub fn forget(&mut self, proxy: &str) {
        self.0.remove(proxy);
    }

    /// A proxy answers, and does not run it.
    pub fn hurt(&mut self, proxy: &str, namespace: &str, wound: Wound, now: Instant) {
        match self.0.get_mut(proxy) {
            Some(hurt) if hurt.wound == wound => {}
            _ => {
                self.0.insert(proxy.into(), Hurt { namespace: namespace.into(), wound, since: now });
            }
        }
    }

    /// Whether any proxy has been hurt for long enough; most of the time none has, and nobody need be named.
    pub fn hurts(&self, now: Instant) -> bool {
        self.0.values().any(|hurt| hurt.lasts(now))
    }

    /// The namespaces in which one of these proxies has been hurt for long enough.
    pub fn wounded<'a>(&self, proxies: impl IntoIterator<Item = &'a str>, now: Instant) -> BTreeSet<String> {
        let hurt = proxies.into_iter().filter_map(|proxy| self.0.get(proxy)).filter(|hurt| hurt.lasts(now));
        hurt.map(|hurt| hurt.namespace.clone()).collect()
    }
}

// === impl Hurt ===

impl Hurt {
    fn lasts(&self, now: Instant) -> bool {
        let patience = if self.wound == Wound::Loss { AFTER_LOSS } else { AFTER_SILENCE };
        now.saturating_duration_since(self.since) >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_workers_count_soon_and_a_document_that_does_not_come_later() {
        let (mut healing, now) = (Healing::default(), Instant::now());
        healing.hurt("edge/a", "edge", Wound::Loss, now);
        healing.hurt("shop/b", "shop", Wound::Silence, now);
        let after = |seconds| healing.wounded(["edge/a", "shop/b", "shop/c"], now + Duration::from_secs(seconds));
        assert_eq!(after(4), BTreeSet::new());
        assert_eq!(after(5), BTreeSet::from(["edge".to_owned()]));
        assert_eq!(after(15), BTreeSet::from(["edge".to_owned(), "shop".to_owned()]));
    }

    #[test]
    fn what_gets_better_for_a_moment_begins_anew() {
        let (mut healing, now) = (Healing::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        healing.hurt("edge/a", "edge", Wound::Loss, now);
        healing.forget("edge/a");
        healing.hurt("edge/a", "edge", Wound::Loss, at(4));
        assert_eq!(healing.wounded(["edge/a"], at(8)), BTreeSet::new());
        // A push takes its time although workers were missing before.
        healing.hurt("edge/a", "edge", Wound::Silence, at(8));
        assert_eq!(healing.wounded(["edge/a"], at(22)), BTreeSet::new());
        assert_eq!(healing.wounded(["edge/a"], at(23)).len(), 1);
    }
}
