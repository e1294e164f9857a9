//! A folder as the place where releases live and where proxies get their config, for Envoys without a
//! cluster: release files, `proxies.yaml`, `state.json`, and the ECDS files that the Envoys watch.
//!
//! Files are written in one step each, so that neither an Envoy nor another `graylane` ever reads half
//! of one.

pub mod asks;
pub mod deliver;
pub mod ground;
pub mod holder;
pub mod kept;
pub mod proxies;
pub mod push;
pub mod run;
pub mod state;
pub mod stop;
pub mod store;
mod write;
pub mod written;

use std::fs::File;
use std::path::{Path, PathBuf};

use self::holder::Holder;
use self::proxies::Proxies;
use self::state::State;
use crate::release::finding::Findings;
use crate::release::read::{self, Source};

const PROXIES: &str = "proxies.yaml";
const STATE: &str = "state.json";

/// A folder that this process alone writes to while it holds the value.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    _lock: File,
}

/// Why the folder cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The folder cannot be opened or locked.
    #[error("folder {} cannot be used", .dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("{} is in use by {}; {}", .dir.display(), holder_text(.holder.as_ref()), way_out(.holder.as_ref()))]
    Busy {
        /// The folder.
        dir: PathBuf,
        /// Which process, if that can be found out.
        holder: Option<Holder>,
    },
    /// An input is wrong; every problem is listed.
    #[error(transparent)]
    Input(#[from] Findings),
    /// A file cannot be read.
    #[error("{} cannot be read", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

// === impl Folder ===

impl Folder {
    /// Opens a folder and keeps other processes from writing to it.
    ///
    /// # Errors
    /// When it is no folder, cannot be written to, or is in use.
    pub fn open(dir: &Path) -> Result<Self, LocalError> {
        let failed = |source| LocalError::Folder { dir: dir.into(), source };
        let real = dir.canonicalize().map_err(failed)?;
        // The folder itself is locked, so no lock file is left lying about.
        let lock = File::open(&real).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: real, _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(LocalError::Busy { dir: dir.into(), holder: Holder::of(&lock) })
            }
            Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The releases of the folder: every `*.yaml` and `*.yml` but `proxies.yaml`, in order of name.
    ///
    /// # Errors
    /// When a file cannot be read or is no release, or when there is none.
    pub fn sources(&self) -> Result<Vec<Source>, LocalError> {
        let mut sources = Vec::new();
        let mut findings = Vec::new();
        for file in self.release_files()? {
            match read::read_file(&file) {
                Ok(read) => sources.extend(read),
                Err(found) => findings.extend(found.0),
            }
        }
        if !findings.is_empty() {
            return Err(Findings(findings).into());
        }
        if sources.is_empty() {
            let mend = "put a release file there, such as release.yaml";
            return Err(Findings::of(self.dir.display().to_string(), "holds no release", mend).into());
        }
        Ok(sources)
    }

    fn release_files(&self) -> Result<Vec<PathBuf>, LocalError> {
        kept::release_files(&self.dir)
    }

    /// The proxies of the folder.
    ///
    /// # Errors
    /// When `proxies.yaml` cannot be read or makes no sense.
    pub fn proxies(&self) -> Result<Proxies, LocalError> {
        Ok(proxies::read(&self.dir.join(PROXIES))?)
    }

    /// What was pushed last; the beginning if nothing was.
    ///
    /// # Errors
    /// When `state.json` cannot be read or was changed by hand into something else.
    pub fn state(&self) -> Result<State, LocalError> {
        state::read(&self.dir.join(STATE))
    }

    /// Keeps the state, so that it outlives this process and a crash of the machine.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, state: &State) -> Result<(), LocalError> {
        write::json(&self.dir.join(STATE), state)
    }

    /// Where the status of a release is kept: `status/<namespace>.<name>.json`.
    pub fn status_file(&self, id: &str) -> PathBuf {
        kept::status_file(&self.dir, id)
    }

    /// Where a person asks something of a release: `requests/<namespace>.<name>.json`.
    pub fn request_file(&self, id: &str) -> PathBuf {
        kept::request_file(&self.dir, id)
    }

    /// The releases that have a status, as `namespace/name`.
    ///
    /// # Errors
    /// When the folder `status` is there and cannot be read.
    pub fn status_ids(&self) -> Result<Vec<String>, LocalError> {
        let dir = self.dir.join("status");
        let entries = match dir.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(LocalError::Read { file: dir, source }),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut ids: Vec<String> =
            names.filter_map(|name| Some(name.strip_suffix(".json")?.replacen('.', "/", 1))).collect();
        ids.sort();
        Ok(ids)
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn holder_text(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another graylane".into(), ToString::to_string)
}

/// What somebody can do who wants the folder.
fn way_out(holder: Option<&Holder>) -> &'static str {
    match holder {
        Some(holder) if holder.stays() => "ask things of it by requests, or end it first",
        _ => "wait for it to end",
    }
}
