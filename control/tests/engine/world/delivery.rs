//! The documents of the world, and what its proxies take of them.

use std::collections::BTreeMap;

use graylane::engine::seams::{Delivery, Place, SeamError, Wanted};
use graylane_policy::raw::{RawConfig, VERSION};

use super::{Inner, World};

impl Delivery for World {
    type Checked = (String, BTreeMap<Place, Wanted>, u64);

    fn check(&self, namespace: &str, wanted: &BTreeMap<Place, Wanted>, floor: u64) -> Result<Self::Checked, SeamError> {
        if self.lock().refused.contains(namespace) {
            return Err(SeamError::Refused { what: namespace.into(), source: "a mistake of ours".into() });
        }
        Ok((namespace.to_owned(), wanted.clone(), floor))
    }

    async fn deliver(&self, checked: Self::Checked) -> Result<BTreeMap<Place, u64>, SeamError> {
        let (namespace, wanted, floor) = (checked.0.as_str(), &checked.1, checked.2);
        if self.lock().missing.contains(namespace) {
            return Err(SeamError::Gone { what: namespace.into() });
        }
        let renews = self.lock().renewed.remove(namespace);
        let differs = |inner: &Inner, place: &Place, wanted: &Wanted| {
            renews || inner.held.get(place).is_none_or(|(_, held)| held != wanted)
        };
        let needed = wanted.iter().any(|(place, wanted)| differs(&self.lock(), place, wanted));
        let dies = if needed { self.operate(namespace).await? } else { false };
        {
            let mut inner = self.lock();
            let highest = inner.held.values().map(|(generation, _)| *generation).max().unwrap_or(0).max(floor);
            inner.writes += u32::from(needed);
            for (place, wanted) in wanted {
                if differs(&inner, place, wanted) {
                    let phase = inner.objects.get("shop/summer").map(|object| object.status.phase);
                    inner.changes.push((place.clone(), phase.unwrap_or_default()));
                    inner.held.insert(place.clone(), (highest + 1, wanted.clone()));
                }
            }
            let weights = inner.weights();
            if inner.course.last() != Some(&weights) {
                inner.course.push(weights);
            }
        }
        self.end(dies).await;
        let inner = self.lock();
        let documents = wanted.iter().filter(|(_, wanted)| matches!(wanted, Wanted::Document(_)));
        Ok(documents.filter_map(|(place, _)| Some((place.clone(), inner.held.get(place)?.0))).collect())
    }

    fn renew(&self, namespace: &str) {
        self.lock().renewed.insert(namespace.into());
    }

    fn is_stopped(&self, _: &str) -> bool {
        self.lock().stopped
    }

    fn held(&self, place: &Place) -> Option<RawConfig> {
        let inner = self.lock();
        let (generation, Wanted::Document(groups)) = inner.held.get(place)? else { return None };
        let (generation, groups) = (*generation, groups.clone());
        Some(RawConfig { version: VERSION, generation, role: place.side.role(), entry_only: false, groups })
    }

    fn places(&self) -> Vec<Place> {
        self.lock().held.keys().cloned().collect()
    }

    fn disturbed(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().disturbed).into_iter().collect()
    }
}
