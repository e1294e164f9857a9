//! Releases of a folder, as the engine wants them kept: what they say in release files, what they have
//! come to in `status/`, what a person asks in `requests/`.
//!
//! The folder is locked for this process, so nothing needs a fence. A release whose file disappears is
//! withdrawn; its status goes when that is done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::{Folder, LocalError, write};
use crate::build::Side;
use crate::engine::request::Request;
use crate::engine::seams::{Object, SeamError, Store};
use crate::engine::status::Status;
use crate::release::Release;
use crate::release::finding::Findings;
use crate::release::plan::PromotionStrategy;
use crate::release::read::{self, Source};
use crate::release::validate::check;

/// The releases of a folder.
#[derive(Clone, Debug)]
pub struct Releases {
    folder: Arc<Folder>,
    sides: Vec<Side>,
}

// === impl Releases ===

impl Releases {
    /// The releases of a folder whose proxies have these sides.
    pub fn new(folder: Arc<Folder>, sides: Vec<Side>) -> Self {
        Self { folder, sides }
    }

    /// What the folder says now, and what files are wrong as a whole.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn read(&self) -> Result<(Vec<Object>, Vec<Findings>), LocalError> {
        let mut objects = BTreeMap::new();
        let mut wrong = Vec::new();
        for file in self.folder.release_files()? {
            match read::read_file(&file) {
                Ok(sources) => {
                    for source in sources {
                        let object = self.object(&file, source);
                        objects.insert(object.id.clone(), object);
                    }
                }
                Err(findings) => wrong.push(findings),
            }
        }
        // While a file cannot be read, nobody knows whether a missing release is gone or only misspelt.
        for id in self.kept()? {
            if let std::collections::btree_map::Entry::Vacant(vacant) = objects.entry(id) {
                let object = self.orphan(vacant.key(), wrong.is_empty());
                vacant.insert(object);
            }
        }
        Ok((objects.into_values().collect(), wrong))
    }

    fn object(&self, file: &Path, source: Source) -> Object {
        let metadata = &source.written.metadata;
        let id = format!("{}/{}", metadata.namespace, metadata.name);
        let status = self.status(&id);
        let changed_ms = modified_ms(file);
        Object {
            uid: id.clone(),
            fence: String::new(),
            generation: i64::try_from(changed_ms).unwrap_or(i64::MAX),
            created_ms: status.history.first().map_or(changed_ms, |entry| entry.at_ms),
            deleting: false,
            held: self.folder.status_file(&id).exists(),
            paused: source.written.spec.paused,
            request: self.request(&id),
            spec: self.checked(source),
            status,
            id,
        }
    }

    /// A release that has a status but no file.
    fn orphan(&self, id: &str, deleting: bool) -> Object {
        let status = self.status(id);
        Object {
            id: id.into(),
            uid: id.into(),
            fence: String::new(),
            generation: 0,
            created_ms: status.history.first().map_or(0, |entry| entry.at_ms),
            deleting,
            held: true,
            spec: Err(Findings::of(id, "has no release file any more", "put it back, or wait for the withdrawal")),
            paused: false,
            request: self.request(id),
            status,
        }
    }

    fn checked(&self, source: Source) -> Result<Release, Findings> {
        let no_copies = source.written.spec.promotion.strategy != PromotionStrategy::Manual;
        let finding = no_copies.then(|| {
            let mend = "write `manual`; then bring the new version to the stable services yourself and `promote`";
            source.finding("spec.promotion.strategy", "a folder has no workloads to copy a version to", mend)
        });
        let empty = source.written.spec.steps.is_empty();
        let no_steps = empty
            .then(|| source.finding("spec.steps", "there is no step", "write at least one, such as `- weight: 5%`"));
        let findings: Vec<_> = finding.into_iter().chain(no_steps).collect();
        let mut checked = check(vec![source], &self.sides)?;
        if !findings.is_empty() {
            return Err(Findings(findings));
        }
        checked.pop().map(|one| one.release).ok_or(Findings(findings))
    }

    fn kept(&self) -> Result<BTreeSet<String>, LocalError> {
        let dir = self.folder.dir().join("status");
        let entries = match dir.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(source) => return Err(LocalError::Read { file: dir, source }),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| Some(name.strip_suffix(".json")?.replacen('.', "/", 1))).collect())
    }

    /// A status that cannot be read is a new one: what is pushed can then be seen, but not who is where.
    fn status(&self, id: &str) -> Status {
        let read = std::fs::read(self.folder.status_file(id)).ok();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn request(&self, id: &str) -> Option<Request> {
        serde_json::from_slice(&std::fs::read(self.folder.request_file(id)).ok()?).ok()
    }
}

/// When a file was changed last; now, if nobody can say.
fn modified_ms(file: &Path) -> u64 {
    let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

impl Store for Releases {
    fn releases(&self) -> Vec<Object> {
        match self.read() {
            Ok((objects, wrong)) => {
                for findings in wrong {
                    tracing::debug!("{findings}");
                }
                objects
            }
            Err(error) => {
                tracing::error!("{error:#}");
                Vec::new()
            }
        }
    }

    async fn save(&self, object: &Object, status: &Status) -> Result<Object, SeamError> {
        let what = object.id.clone();
        let away = |error: LocalError| SeamError::Away { what, source: error.into() };
        write::json(&self.folder.status_file(&object.id), status).map_err(away)?;
        let from = object.status.history.last();
        let new = status.history.iter().rev().take_while(|entry| Some(*entry) != from).collect::<Vec<_>>();
        for entry in new.into_iter().rev() {
            tracing::info!(release = object.id, reason = entry.reason, "{}", entry.message);
        }
        Ok(Object { status: status.clone(), held: true, ..object.clone() })
    }

    async fn hold(&self, object: &Object) -> Result<Object, SeamError> {
        self.save(object, &object.status).await
    }

    async fn let_go(&self, object: &Object) -> Result<(), SeamError> {
        for file in [self.folder.request_file(&object.id), self.folder.status_file(&object.id)] {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(SeamError::Away { what: file.display().to_string(), source: error.into() });
                }
                _ => {}
            }
        }
        tracing::info!(release = object.id, "gone");
        Ok(())
    }
}
