//! The engine on a folder: it looks whenever a proxy or a version answers something new, when a file
//! changes, and when it said that it would.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::asks::Answers;
use super::deliver::Files;
use super::ground::Machines;
use super::store::Releases;
use super::{Folder, LocalError};
use crate::engine::Millis;
use crate::engine::run::{Engine, Pass};

/// How often the files of the folder are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Files with their sizes and times.
type Look = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// A folder at work.
#[derive(Debug)]
pub struct Run {
    folder: Arc<Folder>,
    answers: Answers,
    engine: Engine<Releases, Files, Machines>,
}

// === impl Run ===

impl Run {
    /// Takes a folder over. Needs a tokio runtime, on which proxies are asked from now on.
    ///
    /// # Errors
    /// When the folder is in use, or its proxies or releases make no sense: nothing has been written then.
    pub fn open(dir: &Path) -> Result<Self, LocalError> {
        let folder = Arc::new(Folder::open(dir)?);
        let proxies = Arc::new(folder.proxies()?);
        let store = Releases::new(folder.clone(), proxies.sides());
        let (_, wrong) = store.read()?;
        if let Some(findings) = wrong.into_iter().next() {
            return Err(findings.into());
        }
        let answers = Answers::begin(&proxies);
        let delivery = Files::new(folder.clone(), proxies.clone());
        let ground = Machines::new(proxies, answers.clone());
        Ok(Self { folder, answers, engine: Engine::new(store, delivery, ground) })
    }

    /// Runs until the end of the process.
    pub async fn go(&mut self) {
        loop {
            // Looked at before the pass, so that what changes during it is not missed.
            let files = self.look();
            let pass = self.engine.pass(now_ms()).await;
            report(&pass);
            self.answers.be_eager(pass.awaits_proxies);
            if !pass.changed {
                self.wait(pass.wake_at, &files).await;
            }
        }
    }

    async fn wait(&self, wake_at: Option<Millis>, files: &Look) {
        let until = wake_at.map_or(Duration::MAX, |at| Duration::from_millis(at.saturating_sub(now_ms())));
        // A distant time is as good as none; timers overflow on the largest.
        let until = until.min(Duration::from_secs(3600));
        tokio::select! {
            () = self.answers.news() => {}
            () = tokio::time::sleep(until) => {}
            () = self.change(files) => {}
        }
    }

    /// Waits until a file of the folder is not what it was.
    async fn change(&self, before: &Look) {
        while self.look() == *before {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The files that matter, with their sizes and times.
    fn look(&self) -> Look {
        let dirs = ["", "requests", "ecds"].map(|sub| self.folder.dir().join(sub));
        let entries = dirs.iter().filter_map(|dir| dir.read_dir().ok()).flatten().filter_map(Result::ok);
        let mut seen: Vec<_> = entries
            .filter_map(|entry| {
                let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
                Some((entry.path(), metadata.len(), metadata.modified().ok()))
            })
            .collect();
        seen.sort();
        seen
    }
}

fn report(pass: &Pass) {
    for (what, error) in &pass.errors {
        tracing::warn!("{what}: {:#}", anyhow::anyhow!("{error}"));
    }
    for _ in &pass.healed {
        tracing::warn!("a filter has crashed; every proxy gets its config again");
    }
}

/// The time. The engine itself knows no clock.
fn now_ms() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
