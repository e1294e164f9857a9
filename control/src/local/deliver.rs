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

/// What the files of one side shall hold, checked.
#[derive(Debug)]
pub struct Made {
    side: Side,
    response: Value,
    /// Of the document, where there is one.
    generation: Option<u64>,
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

    /// What one side's files shall hold, and the generation of its document.
    fn make(&self, side: Side, wanted: &Wanted, next: u64, renew: bool) -> Result<Made, SeamError> {
        let Wanted::Document(groups) = wanted else {
            return Ok(Made { side, response: inert_response(side, 0), generation: None });
        };
        let (role, entry_only) = (side.role(), side.chooses() && side != Side::Gateway);
        let mut document = RawConfig { version: VERSION, generation: next, role, entry_only, groups: groups.clone() };
        if let Some(held) = self.held(&place(side)).filter(|held| !renew && held.groups == *groups) {
            document.generation = held.generation;
        }
        // Releases are checked before; this guards against a mistake of ours.
        Policy::check(&document)
            .map_err(|error| SeamError::Refused { what: side.filter_name().into(), source: Box::new(error) })?;
        let response = discovery_response(side, &self.proxies.module, &document);
        Ok(Made { side, response, generation: Some(document.generation) })
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

impl Delivery for Files {
    type Checked = Vec<Made>;

    fn check(&self, _: &str, wanted: &BTreeMap<Place, Wanted>, floor: u64) -> Result<Vec<Made>, SeamError> {
        let next = self.highest().max(floor) + 1;
        let renew = self.memory().renew;
        wanted.iter().map(|(place, wanted)| self.make(place.side, wanted, next, renew)).collect()
    }

    async fn deliver(&self, checked: Vec<Made>) -> Result<BTreeMap<Place, u64>, SeamError> {
        let mut generations = BTreeMap::new();
        for Made { side, response, generation } in checked {
            for filter in self.filters(side) {
                self.put(&filter.ecds, &response)?;
            }
            generations.extend(generation.map(|generation| (place(side), generation)));
        }
        self.memory().renew = false;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{self, Running};
    use crate::release::read::read_text;
    use crate::release::validate;

    const PROXIES: &str = "
module: filter.wasm
proxies:
- {name: gateway, admin: '127.0.0.1:1', filters: [{role: gateway, ecds: gateway.json}]}
- name: orders
  admin: '127.0.0.1:2'
  filters: [{role: inbound, ecds: orders-in.json}, {role: outbound, ecds: orders-out.json}]
";
    const SIDES: [Side; 3] = [Side::Gateway, Side::Inbound, Side::Outbound];

    fn files(dir: &std::path::Path) -> Files {
        std::fs::write(dir.join("filter.wasm"), "").unwrap();
        std::fs::write(dir.join("proxies.yaml"), PROXIES).unwrap();
        let folder = Arc::new(Folder::open(dir).unwrap());
        let proxies = Arc::new(folder.proxies().unwrap());
        Files::new(folder, proxies)
    }

    /// The documents of a release that carries its lanes in a header; those of `spoilt` in something else.
    fn wanted(header: &str, spoilt: Option<Side>) -> BTreeMap<Place, Wanted> {
        let text = format!(
            "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {{name: r, namespace: shop}}\n\
             spec: {{carriedHeader: {header}, lanes: [{{name: canary}}], members: [{{service: orders}}]}}\n"
        );
        let release = validate::check(read_text("r", &text).unwrap(), &SIDES).unwrap().remove(0).release;
        let running = Running::new(release);
        let document = |side: Side| {
            let mut group = build::group(side, &running);
            if spoilt == Some(side) {
                group.carried_header = "not a header".into();
            }
            (place(side), Wanted::Document(vec![group]))
        };
        SIDES.map(document).into()
    }

    async fn bring(files: &Files, wanted: &BTreeMap<Place, Wanted>) -> Result<BTreeMap<Place, u64>, SeamError> {
        files.deliver(files.check("", wanted, 0)?).await
    }

    fn contents(dir: &std::path::Path) -> Vec<String> {
        ["gateway.json", "orders-in.json", "orders-out.json"]
            .map(|name| std::fs::read_to_string(dir.join(name)).unwrap_or_default())
            .to_vec()
    }

    #[tokio::test]
    async fn a_document_that_no_proxy_would_take_leaves_every_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let first = bring(&files, &wanted("x-a", None)).await.unwrap();
        assert_eq!(first.into_values().collect::<Vec<_>>(), [1, 1, 1]);
        let before = contents(dir.path());
        assert!(before.iter().all(|content| content.contains("x-a")), "{before:?}");
        for side in SIDES {
            let refused = bring(&files, &wanted("x-b", Some(side))).await.unwrap_err();
            assert!(matches!(&refused, SeamError::Refused { what, .. } if what == side.filter_name()), "{refused:?}");
            assert_eq!(contents(dir.path()), before, "{side:?}");
        }
        bring(&files, &wanted("x-b", None)).await.unwrap();
        assert!(contents(dir.path()).iter().all(|content| content.contains("x-b")));
    }

    #[tokio::test]
    async fn a_new_generation_that_was_asked_for_is_not_forgotten_when_a_document_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        bring(&files, &wanted("x-a", None)).await.unwrap();
        files.renew("");
        bring(&files, &wanted("x-a", Some(Side::Outbound))).await.unwrap_err();
        let renewed = bring(&files, &wanted("x-a", None)).await.unwrap();
        assert_eq!(renewed.into_values().collect::<Vec<_>>(), [2, 2, 2]);
        let same = bring(&files, &wanted("x-a", None)).await.unwrap();
        assert_eq!(same.into_values().collect::<Vec<_>>(), [2, 2, 2]);
    }
}
