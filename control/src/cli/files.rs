//! `-f` as kubectl's users know it: files, folders, standard input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::release::finding::{Finding, Findings};
use crate::release::read::{Source, read_file};

/// Where releases are read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Files {
    /// File, folder with *.yaml, *.yml and *.json, or `-` for standard input; may be given several times
    #[arg(short = 'f', long = "filename", visible_alias = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// With a folder: those below it too
    #[arg(short = 'R', long)]
    recursive: bool,
}

// === impl Files ===

impl Files {
    /// Every release in them; of a file that is wrong, what is wrong with it.
    pub(super) fn read(&self) -> (Vec<Source>, Vec<Finding>) {
        let (mut sources, mut findings) = (Vec::new(), Vec::new());
        for named in &self.files {
            let files = self.below(named).unwrap_or_else(|found| {
                findings.extend(found.0);
                Vec::new()
            });
            for file in files {
                match read_file(&file) {
                    Ok(read) => sources.extend(read),
                    Err(found) => findings.extend(found.0),
                }
            }
        }
        (sources, findings)
    }

    /// The files that are meant by a name: itself, or those of a folder.
    fn below(&self, named: &Path) -> Result<Vec<PathBuf>, Findings> {
        if !named.is_dir() {
            return Ok(vec![named.to_owned()]);
        }
        let mut files = Vec::new();
        self.gather(named, &mut files)?;
        if files.is_empty() {
            return Err(Findings::of(named.display().to_string(), "holds no release", "name a folder with *.yaml"));
        }
        files.sort();
        Ok(files)
    }

    fn gather(&self, dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Findings> {
        let failed = |error: std::io::Error| {
            Findings::of(dir.display().to_string(), format!("cannot be read: {error}"), "name a readable folder")
        };
        for entry in dir.read_dir().map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_text = path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
            if path.is_dir() && self.recursive {
                self.gather(&path, files)?;
            } else if is_text && path.is_file() {
                files.push(path);
            }
        }
        Ok(())
    }
}

/// Releases that stand more than once in what was given: the later one would undo the earlier one.
pub(super) fn repeated(sources: &[Source]) -> Vec<Finding> {
    let mut places = BTreeMap::new();
    let mut findings = Vec::new();
    for source in sources {
        let metadata = &source.written.metadata;
        let id = format!("{}/{}", metadata.namespace, metadata.name);
        if let Some(file) = places.insert(id.clone(), &source.file) {
            let message = format!("release `{id}` is already in {file}");
            findings.push(source.finding("metadata.name", message, "give each release its own name"));
        }
    }
    findings
}
