//! The folder of a bed, and the programs it runs.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::stage::show_logs;

/// A folder for logs and files of one bed; it goes with the bed unless a test fails.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    data: PathBuf,
    keep: bool,
}

/// The folder that `scripts/components.sh` fills; `GRAYLANE_COMPONENTS` names another one.
///
/// # Errors
/// When it is not there, or this process is in no namespaces of its own.
pub(super) fn components() -> Result<PathBuf> {
    if env::var_os("GRAYLANE_IN_BED").is_none() {
        bail!("a test bed runs in namespaces of its own: run `make test-cluster` or `make test-mesh`");
    }
    let folder =
        env::var_os("GRAYLANE_COMPONENTS").map_or_else(|| paths::root().join("target/components"), PathBuf::from);
    if !folder.join("bin").is_dir() {
        bail!("{} holds no programs: run `make test-cluster` or `make test-mesh`", folder.display());
    }
    Ok(folder)
}

/// A program of the bed.
///
/// # Errors
/// When it has not been built.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    let path = components()?.join("bin").join(name);
    if !path.is_file() {
        bail!("{} is missing: run `make test-mesh`, which builds it", path.display());
    }
    Ok(path)
}

// === impl Folder ===

impl Folder {
    pub(super) fn new(number: u8) -> Result<Self> {
        // Process ids begin anew in each process namespace, so they name nothing.
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let name = format!("{now}-{number}");
        let root = paths::root().join("target/beds").join(&name);
        fs::create_dir_all(&root).with_context(|| format!("make {}", root.display()))?;
        // In memory in a bed's namespaces, so that etcd waits for no disk.
        let data = Path::new("/run/graylane-bed").join(name);
        fs::create_dir_all(&data).with_context(|| format!("make {}", data.display()))?;
        // Until the bed stands, its logs are wanted.
        Ok(Self { root, data, keep: true })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// For data of servers, in memory.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    pub(super) fn keep(&mut self, keep: bool) {
        self.keep = keep;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over is only untidy.
        let _ = fs::remove_dir_all(&self.data);
        if self.keep {
            show_logs(&self.root);
            eprintln!("the logs are in {}", self.root.display());
        } else {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}
