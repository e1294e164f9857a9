//! How often crashed filters get their config again.
//!
//! A request that crashes the filter may come again, and each new config of a crashed filter lets one more
//! request fail. So the time between two attempts doubles until a namespace has been well for a while.

use std::collections::{BTreeMap, BTreeSet};

use super::Millis;

/// Time between the first two attempts.
const FIRST_MS: Millis = 10_000;
/// Longest time between two attempts.
const LONGEST_MS: Millis = 640_000;

/// What has been tried.
#[derive(Debug, Default)]
pub(super) struct Healing(BTreeMap<String, Tried>);

#[derive(Debug)]
struct Tried {
    last_ms: Millis,
    pause_ms: Millis,
}

// === impl Healing ===

impl Healing {
    /// The namespaces to be healed now.
    pub(super) fn due(&mut self, wounded: &BTreeSet<String>, now: Millis) -> Vec<String> {
        self.0.retain(|_, tried| now < tried.last_ms.saturating_add(tried.pause_ms.saturating_mul(4)));
        wounded.iter().filter(|namespace| self.take(namespace, now)).cloned().collect()
    }

    fn take(&mut self, namespace: &str, now: Millis) -> bool {
        match self.0.get_mut(namespace) {
            Some(tried) if now < tried.last_ms.saturating_add(tried.pause_ms) => false,
            Some(tried) => {
                *tried = Tried { last_ms: now, pause_ms: (tried.pause_ms * 2).min(LONGEST_MS) };
                true
            }
            None => {
                self.0.insert(namespace.into(), Tried { last_ms: now, pause_ms: FIRST_MS });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_and_a_long_health_is_forgotten() {
        let mut healing = Healing::default();
        let wounded = BTreeSet::from(["shop".to_owned()]);
        let tried: Vec<Millis> =
            (0..200).map(|second| second * 1_000).filter(|&now| !healing.due(&wounded, now).is_empty()).collect();
        assert_eq!(tried, [0, 10_000, 30_000, 70_000, 150_000]);
        assert!(healing.due(&BTreeSet::new(), 800_000).is_empty());
        assert_eq!(healing.due(&wounded, 800_001), ["shop"]);
        assert_eq!(healing.due(&wounded, 811_000), ["shop"], "as if for the first time");
    }
}
