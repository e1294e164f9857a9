//! Documents as the ECDS files of a folder's Envoys.
//!
//! Every release runs on every proxy of the folder, so all places lie in one nameless namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use graylane_policy::Policy;
use graylane_policy::raw::{RawConfig, VERSION};
use serde_json::Value;

use super::proxies::{Filter, Proxies};
use super::stop::STOPPED;
use super::{Folder, write};
use crate::build::Side;
use crate::build::ecds::{discovery_response, document_text, inert_response};
use crate::engine::seams::{Delivery, Place, SeamError, Wanted};
use crate::release::Release;

/// The ECDS files of a folder.
#[derive(Clone, Debug)]
pub struct Files {
    folder: Arc<Folder>,
    proxies: Arc<Proxies>,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    renew: bool,
    last_write: Option<Instant>,
    written: BTreeMap<std::path::PathBuf, Value>,
}

// === impl Files ===

impl Files {
    /// The files that these proxies watch.
    pub fn new(folder: Arc<Folder>, proxies: Arc<Proxies>) -> Self {
        Self { folder, proxies, memory: Arc::default() }
    }

    /// Whether a file was written within this time, so that proxies may be about to take it up.
    pub fn has_written_within(&self, time: Duration) -> bool {
        self.memory().last_write.is_some_and(|at| at.elapsed() < time)
    }

    fn filters(&self, side: Side) -> impl Iterator<Item = &Filter> {
        self.proxies.proxies.iter().flat_map(|proxy| &proxy.filters).filter(move |filter| filter.side == side)
    }

    fn sides(&self) -> BTreeSet<Side> {
        self.proxies.sides().into_iter().collect()
    }

    /// The highest generation in any file, or of any push before.
    fn highest(&self) -> u64 {
        let held = self.sides().into_iter().filter_map(|side| self.held(&place(side)));
        let pushed = self.folder.state().map_or(0, |state| state.generation);
        held.map(|document| document.generation).max().unwrap_or(0).max(pushed)
    }

    /// Writes one side's file wherever it differs, and returns the generation it has.
    fn bring(&self, side: Side, wanted: &Wanted, next: u64, renew: bool) -> Result<Option<u64>, SeamError> {
        let (response, generation) = match wanted {
            Wanted::Inert => (inert_response(side, 0), None),
            Wanted::Document(groups) => {
                let (role, entry_only) = (side.role(), side.chooses() && side != Side::Gateway);
                let mut document =
                    RawConfig { version: VERSION, generation: next, role, entry_only, groups: groups.clone() };
                if let Some(held) = self.held(&place(side)).filter(|held| !renew && held.groups == *groups) {
                    document.generation = held.generation;
                }
                check(side, &document)?;
                (discovery_response(side, &self.proxies.module, &document), Some(document.generation))
            }
        };
        for filter in self.filters(side) {
            self.put(&filter.ecds, &response)?;
        }
        Ok(generation)
    }

    fn put(&self, file: &std::path::Path, response: &Value) -> Result<(), SeamError> {
        if read(file).as_ref() != Some(response) {
            let what = file.display().to_string();
            write::json(file, response).map_err(|error| SeamError::Away { what, source: error.into() })?;
            self.memory().last_write = Some(Instant::now());
        }
        self.memory().written.insert(file.into(), response.clone());
        Ok(())
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        // What is in there is whole after every statement.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(side: Side) -> Place {
    Place { namespace: String::new(), side }
}

fn read(file: &std::path::Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Releases are checked before; this guards against a mistake of ours, and nothing is written then.
fn check(side: Side, document: &RawConfig) -> Result<(), SeamError> {
    let refused = |error| SeamError::Refused { what: side.filter_name().into(), source: Box::new(error) };
    Policy::check(document).map(drop).map_err(refused)
}

impl Delivery for Files {
    async fn deliver(
        &self,
        _: &str,
        wanted: &BTreeMap<Place, Wanted>,
        floor: u64,
    ) -> Result<BTreeMap<Place, u64>, SeamError> {
        let next = self.highest().max(floor) + 1;
        let renew = std::mem::take(&mut self.memory().renew);
        let mut generations = BTreeMap::new();
        for (place, wanted) in wanted {
            if let Some(generation) = self.bring(place.side, wanted, next, renew)? {
                generations.insert(place.clone(), generation);
            }
        }
        Ok(generations)
    }

    fn renew(&self, _: &str) {
        self.memory().renew = true;
    }

    fn is_stopped(&self, _: &str) -> bool {
        self.folder.dir().join(STOPPED).exists()
    }

    fn held(&self, place: &Place) -> Option<RawConfig> {
        let responses = self.filters(place.side).filter_map(|filter| read(&filter.ecds));
        let documents = responses.filter_map(|response| serde_json::from_str(document_text(&response)?).ok());
        documents.max_by_key(|document: &RawConfig| document.generation)
    }

    fn places_of(&self, _: &Release) -> BTreeSet<Place> {
        self.sides().into_iter().map(place).collect()
    }

    fn places(&self) -> Vec<Place> {
        self.sides().into_iter().map(place).collect()
    }

    fn disturbed(&self) -> Vec<String> {
        let memory = self.memory();
        let disturbed = memory.written.iter().any(|(file, written)| read(file).as_ref() != Some(written));
        if disturbed && !self.folder.dir().join(STOPPED).exists() { vec![String::new()] } else { Vec::new() }
    }
}
