//! Releases of a folder, as the engine wants them kept: what they say in release files, what they have
//! come to in `status/`, what a person asks in `requests/`.
//!
//! The folder is locked for this process, so nothing needs a fence. A release whose file disappears is
//! withdrawn; its status goes when that is done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::de::DeserializeOwned;

use super::written::{One, Written};
use super::{Folder, LocalError, write};
use crate::build::Side;
use crate::engine::request::Request;
use crate::engine::seams::{Object, SeamError, Store};
use crate::engine::status::{Exposure, Phase, Status};
use crate::release::Release;
use crate::release::finding::Findings;
use crate::release::plan::{EntrySpec, OnFailure, Plan, PromotionStrategy};
use crate::release::units::WHOLE;

/// A release file has to be gone for this long: editors take a file away for a moment to replace it.
const GONE: Duration = Duration::from_secs(1);

/// The releases of a folder.
#[derive(Clone, Debug)]
pub struct Releases {
    folder: Arc<Folder>,
    sides: Vec<Side>,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    written: Written,
    /// As last given out or kept, for when the folder cannot be read.
    objects: BTreeMap<String, Object>,
    /// Since when a release with a status has no file.
    missing: BTreeMap<String, Instant>,
}

// === impl Releases ===

impl Releases {
    /// The releases of a folder whose proxies have these sides.
    pub fn new(folder: Arc<Folder>, sides: Vec<Side>) -> Self {
        Self { folder, sides, memory: Arc::default() }
    }

    /// Checks that every release of the folder can be run.
    ///
    /// # Errors
    /// When the folder cannot be read, and every problem of every release.
    pub fn check(&self) -> Result<(), LocalError> {
        let written = Written::read(&self.folder, &self.sides, &Written::default())?;
        let bad = written.releases.values().filter_map(|one| one.spec.as_ref().err());
        let findings: Vec<_> = written.wrong.iter().chain(bad).flat_map(|findings| findings.0.clone()).collect();
        if findings.is_empty() { Ok(()) } else { Err(Findings(findings).into()) }
    }

    /// Every problem of the folder, each in words.
    pub fn problems(&self) -> Vec<String> {
        match self.read() {
            Ok((_, problems)) => problems,
            Err(error) => vec![format!("{:#}", anyhow::anyhow!(error))],
        }
    }

    /// What the folder says now, and every problem that was met in it, each in words.
    fn read(&self) -> Result<(Vec<Object>, Vec<String>), LocalError> {
        let kept = self.kept()?;
        let mut memory = self.memory();
        memory.written = Written::read(&self.folder, &self.sides, &memory.written)?;
        let written = memory.written.clone();
        let mut problems: Vec<String> = written.wrong.iter().map(ToString::to_string).collect();
        let mut objects = BTreeMap::new();
        for (id, one) in &written.releases {
            memory.missing.remove(id);
            problems.extend(one.spec.as_ref().err().map(ToString::to_string));
            objects.insert(id.clone(), self.object(id, one, &mut problems));
        }
        for id in kept.iter().filter(|id| !written.releases.contains_key(*id)) {
            let object = self.orphan(id, &written.wrong, &mut memory, &mut problems);
            objects.insert(id.clone(), object);
        }
        memory.objects = objects.clone();
        Ok((objects.into_values().collect(), problems))
    }

    fn object(&self, id: &str, one: &One, problems: &mut Vec<String>) -> Object {
        let (status, damage) = self.status(id, problems);
        Object {
            id: id.into(),
            uid: id.into(),
            fence: String::new(),
            generation: i64::try_from(one.changed_ms).unwrap_or(i64::MAX),
            created_ms: status.history.first().map_or(one.changed_ms, |entry| entry.at_ms),
            deleting: false,
            held: self.folder.status_file(id).exists(),
            spec: damage.map_or_else(|| one.spec.clone(), Err),
            paused: one.paused,
            request: self.request(id, problems),
            status,
        }
    }

    /// A release that has a status but no file. While a file cannot be read, nobody knows whether the
    /// release is gone or only misspelt.
    fn orphan(&self, id: &str, wrong: &[Findings], memory: &mut Memory, problems: &mut Vec<String>) -> Object {
        let (status, damage) = self.status(id, problems);
        let since = *memory.missing.entry(id.into()).or_insert_with(Instant::now);
        let deleting = wrong.is_empty() && since.elapsed() >= GONE;
        let findings = match damage {
            Some(damage) => damage,
            None if wrong.is_empty() => Findings::of(id, "has no release file any more", "put it back to keep it"),
            None => Findings(wrong.iter().flat_map(|findings| findings.0.clone()).collect()),
        };
        let last = memory.objects.get(id).and_then(|object| object.spec.clone().ok());
        Object {
            id: id.into(),
            uid: id.into(),
            fence: String::new(),
            generation: status.observed_generation,
            created_ms: status.history.first().map_or(0, |entry| entry.at_ms),
            deleting,
            held: true,
            // To withdraw it, it is enough to know which one it is.
            spec: if deleting { Ok(last.unwrap_or_else(|| bare(id))) } else { Err(findings) },
            paused: false,
            request: self.request(id, problems),
            status,
        }
    }

    fn kept(&self) -> Result<BTreeSet<String>, LocalError> {
        let ids = self.folder.status_ids()?;
        Ok(ids.into_iter().collect())
    }

    /// The status of a release. With one that cannot be read, what its proxies run is left as it is:
    /// nobody can say who is in which lane, or whether stable is the new version already.
    fn status(&self, id: &str, problems: &mut Vec<String>) -> (Status, Option<Findings>) {
        let file = self.folder.status_file(id);
        match read::<Status>(&file) {
            Ok(status) => (status.unwrap_or_default(), None),
            Err(error) => {
                let mend = "restore it from a backup, or remove it to begin again with everybody on stable";
                let findings = Findings::of(file.display().to_string(), error, mend);
                problems.push(findings.to_string());
                let status =
                    Status { exposure: Exposure::Full, phase: Phase::Progressing, attempt: 1, ..Status::default() };
                (status, Some(findings))
            }
        }
    }

    fn request(&self, id: &str, problems: &mut Vec<String>) -> Option<Request> {
        let file = self.folder.request_file(id);
        read(&file).unwrap_or_else(|error| {
            let mend = r#"write it like {"id": "1", "verb": "promote"}"#;
            problems.push(Findings::of(file.display().to_string(), error, mend).to_string());
            None
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // What is in there is whole after every statement.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a file was changed last; the beginning of time if nobody can say.
pub(crate) fn modified_ms(file: &Path) -> u64 {
    let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

/// Reads a file that may be absent; an error is told in words.
fn read<T: DeserializeOwned>(file: &Path) -> Result<Option<T>, String> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("has the wrong shape: {error}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// A release of which only the name is known.
fn bare(id: &str) -> Release {
    let (namespace, name) = id.split_once('/').unwrap_or(("", id));
    let plan = Plan {
        entry: EntrySpec::default(),
        carriers: Vec::new(),
        steps: Vec::new(),
        leader: None,
        promotion: PromotionStrategy::Manual,
        promoted: String::new(),
        holdback: 0,
        bake_ms: 0,
        on_failure: OnFailure::Rollback,
        drain_after_ms: None,
        quorum: WHOLE,
        ack_timeout_ms: 0,
        capacity_floor: 0,
        analysis: None,
    };
    Release {
        namespace: namespace.into(),
        name: name.into(),
        group: format!("{id} without its file"),
        carried_header: String::new(),
        lanes: Vec::new(),
        members: Vec::new(),
        markers: None,
        rules: Vec::new(),
        stickiness: Default::default(),
        claims: Default::default(),
        baggage: false,
        trace: None,
        client_marks: None,
        peer_marks: None,
        weights: BTreeMap::new(),
        plan,
    }
}

impl Store for Releases {
    /// A folder that cannot be read for a moment withdraws nothing.
    fn releases(&self) -> Vec<Arc<Object>> {
        let objects = match self.read() {
            Ok((objects, _)) => objects,
            // `problems` tells why.
            Err(_) => self.memory().objects.values().cloned().collect(),
        };
        objects.into_iter().map(Arc::new).collect()
    }

    async fn save(&self, object: &Object, status: &Status) -> Result<Object, SeamError> {
        let file = self.folder.status_file(&object.id);
        if let Err(error) = read::<Status>(&file) {
            // It may still be of use to whoever mends it.
            return Err(SeamError::Refused { what: file.display().to_string(), source: error.into() });
        }
        let what = object.id.clone();
        write::json(&file, status).map_err(|error| SeamError::Away { what, source: error.into() })?;
        let from = object.status.history.last();
        let new = status.history.iter().rev().take_while(|entry| Some(*entry) != from).collect::<Vec<_>>();
        for entry in new.into_iter().rev() {
            tracing::info!(release = object.id, reason = entry.reason, "{}", entry.message);
        }
        let object = Object { status: status.clone(), held: true, ..object.clone() };
        self.memory().objects.insert(object.id.clone(), object.clone());
        Ok(object)
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
