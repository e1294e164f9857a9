//! The engine on a folder: it looks whenever a proxy or a version answers something new, when a file
//! changes, and when it said that it would.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::asks::Asking;
use super::deliver::Files;
use super::ground::Machines;
use super::proxies::Proxies;
use super::store::Releases;
use super::{Folder, LocalError};
use crate::api::record::Record;
use crate::causes::chain;
use crate::clock::now_ms;
use crate::engine::Millis;
use crate::engine::run::{Engine, Pass};
use crate::notify::Notices;

/// How often the files of the folder are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// It looks this often even if nothing is heard: some things show only in how long they last.
const REST: Duration = Duration::from_secs(1);
/// Proxies are asked often for this long after a file of theirs was written.
const TAKING_UP: Duration = Duration::from_secs(3);

/// Files with their sizes and times.
type Look = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// A folder at work. It ends when dropped; proxies keep what they have.
#[derive(Debug)]
pub struct Run {
    folder: Arc<Folder>,
    world: World,
    /// Where it keeps what it counts, and whom it tells what becomes of releases.
    offered: (Record, Option<Notices>),
    /// What was said last, so that nothing is said over and over.
    said: BTreeSet<String>,
}

/// What follows from `proxies.yaml`.
#[derive(Debug)]
struct World {
    proxies: Arc<Proxies>,
    asking: Asking,
    store: Releases,
    files: Files,
    engine: Engine<Releases, Files, Machines>,
}

// === impl Run ===

impl Run {
    /// Takes a folder over. Needs a tokio runtime, on which proxies are asked from now on.
    ///
    /// # Errors
    /// When the folder is in use or its proxies make no sense, and when a release is wrong while none has
    /// been begun: nothing has been written then. Where one has been begun, it goes on in any case.
    pub fn open(dir: &Path) -> Result<Self, LocalError> {
        Self::offering(dir, (Record::default(), None))
    }

    /// The same with a record of what is counted, and with somebody who is told what becomes of releases.
    ///
    /// # Errors
    /// As [`Run::open`].
    pub fn offering(dir: &Path, offered: (Record, Option<Notices>)) -> Result<Self, LocalError> {
        let folder = Arc::new(Folder::open(dir)?);
        let world = World::new(&folder, folder.proxies()?, &offered);
        if folder.status_ids()?.is_empty() {
            world.store.check()?;
        }
        Ok(Self { folder, world, offered, said: BTreeSet::new() })
    }

    /// Runs without end.
    pub async fn go(&mut self) {
        self.world.asking.know_versions().await;
        loop {
            // Looked at before the pass, so that what changes during it is not missed.
            let files = self.look();
            let mut said = self.follow_proxies().await;
            said.extend(self.world.store.problems());
            let pass = self.world.engine.pass(now_ms()).await;
            said.extend(words(&pass));
            self.say(said);
            let eager = pass.awaits_proxies || self.world.files.has_written_within(TAKING_UP);
            self.world.asking.answers.be_eager(eager);
            if !pass.changed {
                self.wait(pass.wake_at, &files).await;
            }
        }
    }

    /// Takes up a changed `proxies.yaml`. While it makes no sense, the old one holds.
    async fn follow_proxies(&mut self) -> BTreeSet<String> {
        match self.folder.proxies() {
            Ok(proxies) if proxies == *self.world.proxies => {}
            Ok(proxies) => {
                tracing::info!("proxies.yaml has changed: {} proxies", proxies.proxies.len());
                self.world = World::new(&self.folder, proxies, &self.offered);
                self.world.asking.know_versions().await;
            }
            Err(error) => return BTreeSet::from([error.to_string()]),
        }
        BTreeSet::new()
    }

    fn say(&mut self, said: BTreeSet<String>) {
        for words in said.difference(&self.said) {
            tracing::warn!("{words}");
        }
        self.said = said;
    }

    async fn wait(&self, wake_at: Option<Millis>, files: &Look) {
        let until = wake_at.map_or(REST, |at| Duration::from_millis(at.saturating_sub(now_ms())));
        tokio::select! {
            () = self.world.asking.answers.news() => {}
            () = tokio::time::sleep(until.min(REST)) => {}
            () = self.change(files) => {}
        }
    }

    /// Waits until a file is not what it was.
    async fn change(&self, before: &Look) {
        while self.look() == *before {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The files that matter, with their sizes and times: those of the folder and those that Envoys watch.
    fn look(&self) -> Look {
        let dirs = ["", "requests"].map(|sub| self.folder.dir().join(sub));
        let entries = dirs.iter().filter_map(|dir| dir.read_dir().ok()).flatten().filter_map(Result::ok);
        let watched = self.world.proxies.proxies.iter().flat_map(|proxy| &proxy.filters).map(|filter| &filter.ecds);
        let files = entries.map(|entry| entry.path()).chain(watched.cloned());
        let mut seen: Vec<_> = files
            .filter_map(|file| {
                let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
                Some((file, metadata.len(), metadata.modified().ok()))
            })
            .collect();
        seen.sort();
        seen
    }
}

// === impl World ===

impl World {
    fn new(folder: &Arc<Folder>, proxies: Proxies, offered: &(Record, Option<Notices>)) -> Self {
        let proxies = Arc::new(proxies);
        let asking = Asking::begin(&proxies);
        let store = Releases::new(folder.clone(), proxies.sides());
        let files = Files::new(folder.clone(), proxies.clone());
        let ground = Machines::new(proxies.clone(), asking.answers.clone());
        let engine =
            Engine::new(store.clone(), files.clone(), ground).recording(offered.0.clone()).telling(offered.1.clone());
        Self { proxies, asking, store, files, engine }
    }
}

/// What went wrong in a pass, or had to be put right.
fn words(pass: &Pass) -> BTreeSet<String> {
    if !pass.healed.is_empty() {
        tracing::warn!("a filter has crashed; every proxy gets its config again");
    }
    pass.errors.iter().map(|(what, error)| format!("{what}: {}", chain(error))).collect()
}
