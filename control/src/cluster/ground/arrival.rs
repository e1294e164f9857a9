//! Whether what was pushed has arrived: asks the proxies of a release, and remembers since when they shall
//! run it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::Inner;
use crate::cluster::asking::Answer;
use crate::cluster::cache::lock;
use crate::cluster::healing::Wound;
use crate::cluster::proxies::{Proxy, expected};
use crate::cluster::report::Verdict;
use crate::engine::seams::Place;
use crate::engine::seen::Arrival;
use crate::release::Release;

/// When more pushes than this are remembered, those of long ago are forgotten.
const MANY_PUSHES: usize = 4_096;
/// How long ago that is; whoever still waits for one of them has to be asked once more.
const OLD_PUSH: Duration = Duration::from_secs(600);

/// A generation that the proxies of a place shall run.
#[derive(Clone, Copy)]
pub(super) struct Push {
    since: Instant,
    is_measured: bool,
}

/// How a proxy stands.
enum Standing {
    Well,
    Missing(String),
    /// Nobody has asked since.
    Unknown,
}

// === impl Inner ===

impl Inner {
    /// How the proxies of a release stand with these generations.
    pub(super) fn arrival(&self, release: &Release, generations: &BTreeMap<Place, u64>) -> Arrival {
        let now = Instant::now();
        let since = self.since(generations, now);
        // Whoever has not been heard since the last push may be gone, whatever it ran before.
        let begun = since.values().max().copied().unwrap_or(now);
        let mut arrival = Arrival { known: !generations.is_empty(), ..Arrival::default() };
        for proxy in expected(&self.world(), release) {
            let places = proxy.sides.iter().map(|side| Place { namespace: proxy.namespace.clone(), side: *side });
            let wanted: Vec<(Place, u64)> =
                places.filter_map(|place| generations.get(&place).map(|generation| (place, *generation))).collect();
            arrival.expected += 1;
            match self.ask(&proxy, &wanted, begun, now) {
                Standing::Well => arrival.acknowledged += 1,
                Standing::Missing(why) => arrival.missing.push(format!("{} ({why})", proxy.id)),
                Standing::Unknown => {
                    arrival.known = false;
                    arrival.missing.push(proxy.id);
                }
            }
        }
        if arrival.known && arrival.expected > 0 && arrival.acknowledged == arrival.expected {
            self.measure(generations, now);
        }
        arrival
    }

    /// Since when each place shall run its generation; a push begins when its generation is first seen.
    fn since(&self, generations: &BTreeMap<Place, u64>, now: Instant) -> HashMap<Place, Instant> {
        let mut since = lock(&self.since);
        if since.len() > MANY_PUSHES {
            since.retain(|_, push| now.saturating_duration_since(push.since) < OLD_PUSH);
        }
        let begun = |(place, generation): (&Place, &u64)| {
            let push = Push { since: now, is_measured: false };
            (place.clone(), since.entry((place.clone(), *generation)).or_insert(push).since)
        };
        generations.iter().map(begun).collect()
    }

    fn measure(&self, generations: &BTreeMap<Place, u64>, now: Instant) {
        let mut since = lock(&self.since);
        for (place, generation) in generations {
            if let Some(push) = since.get_mut(&(place.clone(), *generation)).filter(|push| !push.is_measured) {
                push.is_measured = true;
                self.metrics.pushed(now.saturating_duration_since(push.since));
            }
        }
    }

    fn ask(&self, proxy: &Proxy, wanted: &[(Place, u64)], begun: Instant, now: Instant) -> Standing {
        let Some(address) = &proxy.address else { return Standing::Missing("has no address yet".into()) };
        let Some(Answer { asked, report }) = self.asking.look(address, now) else {
            return Standing::Unknown;
        };
        if asked < begun {
            self.asking.hurry(address, now);
            return Standing::Unknown;
        }
        let verdict = match &report {
            Ok(report) => report.verdict(wanted.iter().map(|(place, generation)| (place.side, *generation))),
            Err(_) => Verdict::Missing(Wound::Silence, format!("cannot be asked at {address}")),
        };
        let Verdict::Missing(wound, mut why) = verdict else {
            lock(&self.healing).forget(&proxy.id);
            return Standing::Well;
        };
        self.asking.hurry(address, now);
        match report {
            Ok(report) => {
                lock(&self.healing).hurt(&proxy.id, &proxy.namespace, wound, now);
                if report.is_untagged {
                    why.push_str("; its metrics have their labels in their names: add them to extraStatTags");
                }
            }
            Err(_) => lock(&self.healing).forget(&proxy.id),
        }
        Standing::Missing(why)
    }
}
