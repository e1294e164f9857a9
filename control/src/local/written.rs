//! What the release files of a folder say, read again only when one of them has changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::store::modified_ms;
use super::{Folder, LocalError};
use crate::build::Side;
use crate::release::Release;
use crate::release::finding::Findings;
use crate::release::plan::PromotionStrategy;
use crate::release::read::{self, Source};
use crate::release::validate::check;

/// A file that was changed this recently may be changed again without its time showing it.
const RACY: Duration = Duration::from_secs(1);

/// What the release files of a folder say.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The releases, by `namespace/name`.
    pub releases: BTreeMap<String, One>,
    /// Files that cannot be read as a whole: which releases they hold is not known.
    pub wrong: Vec<Findings>,
    stamps: Vec<Stamp>,
    is_settled: bool,
}

/// A release as its file has it.
#[derive(Clone, Debug)]
pub struct One {
    /// What it says, or what is wrong with it.
    pub spec: Result<Release, Findings>,
    /// `spec.paused`.
    pub paused: bool,
    /// When its file was changed, in milliseconds since the Unix epoch.
    pub changed_ms: u64,
    source: Source,
}

/// A file with its size and time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    file: PathBuf,
    size: u64,
    changed: Option<SystemTime>,
}

// === impl Written ===

impl Written {
    /// Reads the folder, or gives back what was read before if nothing has changed since.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn read(folder: &Folder, sides: &[Side], before: &Self) -> Result<Self, LocalError> {
        let files = folder.release_files()?;
        let stamps: Vec<Stamp> = files.iter().map(|file| Stamp::of(file)).collect();
        if before.is_settled && before.stamps == stamps {
            return Ok(before.clone());
        }
        let is_settled = stamps.iter().all(Stamp::is_settled);
        let mut written = Self { stamps, is_settled, ..Self::default() };
        for file in &files {
            match read::read_file(file) {
                Ok(sources) => sources.into_iter().for_each(|source| written.add(file, source, sides)),
                Err(findings) => written.wrong.push(findings),
            }
        }
        written.find_clashes(sides);
        Ok(written)
    }

    fn add(&mut self, file: &Path, source: Source, sides: &[Side]) {
        let metadata = &source.written.metadata;
        let id = format!("{}/{}", metadata.namespace, metadata.name);
        if let Some(other) = self.releases.get_mut(&id) {
            let message = format!("release `{id}` is already in {}", other.source.file);
            let finding = source.finding("metadata.name", message, "give each release its own name");
            // Which of the two is meant, nobody knows.
            other.spec = Err(Findings(vec![finding]));
            return;
        }
        let spec = checked(&source, sides);
        let one = One { spec, paused: source.written.spec.paused, changed_ms: modified_ms(file), source };
        self.releases.insert(id, one);
    }

    /// Releases of different groups meet in one document: there, no two may want the same service or
    /// header. The later one by name gives way. Those of one group take turns.
    fn find_clashes(&mut self, sides: &[Side]) {
        let mut accepted: Vec<(String, Source)> = Vec::new();
        for one in self.releases.values_mut() {
            let Ok(release) = &one.spec else { continue };
            let group = release.group.clone();
            let others = accepted.iter().filter(|(other, _)| *other != group).map(|(_, source)| source.clone());
            let together: Vec<Source> = others.chain([one.source.clone()]).collect();
            match check(together, sides) {
                Ok(_) if accepted.iter().any(|(other, _)| *other == group) => {}
                Ok(_) => accepted.push((group, one.source.clone())),
                Err(findings) => one.spec = Err(findings),
            }
        }
    }
}

/// What the engine can do with a release of a folder.
fn checked(source: &Source, sides: &[Side]) -> Result<Release, Findings> {
    let spec = &source.written.spec;
    let mut findings = Vec::new();
    if spec.promotion.strategy != PromotionStrategy::Manual {
        let mend = "write `manual`; then bring the new version to the stable services yourself and `promote`";
        let message = "a folder has no workloads to copy a version to";
        findings.push(source.finding("spec.promotion.strategy", message, mend));
    }
    if spec.argo.is_some() {
        let mend = "leave it out, and write steps";
        findings.push(source.finding("spec.argo", "a folder has no Rollouts", mend));
    }
    if spec.steps.is_empty() && spec.argo.is_none() {
        let mend = "write at least one, such as `- weight: 5%`";
        findings.push(source.finding("spec.steps", "there is no step", mend));
    }
    match check(vec![source.clone()], sides) {
        Err(found) => findings.extend(found.0),
        Ok(mut checked) if findings.is_empty() => {
            if let Some(one) = checked.pop() {
                return Ok(one.release);
            }
        }
        Ok(_) => {}
    }
    Err(Findings(findings))
}

// === impl Stamp ===

impl Stamp {
    fn of(file: &Path) -> Self {
        let metadata = file.metadata().ok();
        let changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        Self { file: file.into(), size: metadata.map_or(0, |metadata| metadata.len()), changed }
    }

    fn is_settled(&self) -> bool {
        self.changed.and_then(|changed| changed.elapsed().ok()).is_some_and(|age| age > RACY)
    }
}
