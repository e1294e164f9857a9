//! The place where one test is told: a folder of its own and one Envoy release.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::{env, process};

use anyhow::Result;

use crate::paths::{self, Release};
use crate::scenario::Scenario;

static STAGES: AtomicU32 = AtomicU32::new(0);

/// One test's folder and Envoy release. The folder goes when the test passes; when it fails the logs
/// in it are shown and it stays.
#[derive(Debug)]
pub struct Stage {
    /// The Envoy release the test runs on.
    pub release: Release,
    folder: PathBuf,
}

/// Runs a test on one Envoy release, or says why it cannot.
///
/// # Panics
/// When the test fails, and when something it needs is missing while `CI` is set.
pub fn tell(release: Release, story: impl FnOnce(&Stage) -> Result<()>) {
    if let Err(missing) = paths::filter().and_then(|_| paths::envoy(release)) {
        assert!(env::var_os("CI").is_none(), "{missing:?}");
        eprintln!("skipped: {missing:?}");
        return;
    }
    let stage = Stage::new(release).unwrap_or_else(|error| panic!("{error:#}"));
    // The panic comes while the stage is alive, so that dropping it shows the logs.
    story(&stage).unwrap_or_else(|error| panic!("{error:#}"));
}

/// Makes of each story a test on the newest and one on the oldest supported Envoy.
#[macro_export]
macro_rules! on_every_envoy {
    ($($story:ident),* $(,)?) => { $(
        mod $story {
            use $crate::paths::Release;
            use $crate::stage::tell;

            #[test]
            fn newest() {
                tell(Release::Newest, super::$story);
            }

            #[test]
            fn oldest() {
                tell(Release::Oldest, super::$story);
            }
        }
    )* };
}

/// Runs the part of a story that holds several connections at once.
///
/// # Errors
/// What the story says.
pub fn at_once<T>(story: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Runtime::new()?.block_on(story)
}

// === impl Stage ===

impl Stage {
    fn new(release: Release) -> Result<Self> {
        let stage = format!("{}-{}", process::id(), STAGES.fetch_add(1, Ordering::Relaxed));
        let folder = paths::root().join("target/stages").join(stage);
        fs::create_dir_all(&folder)?;
        Ok(Self { release, folder })
    }

    /// A copy of `envoy-configs/<name>` with the shipped module and free ports.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn copy(&self, name: &str) -> Result<Scenario> {
        self.copy_with(name, &paths::filter()?, |_, text| text)
    }

    /// The same with an edited `envoy.yaml`.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn copy_bootstrap(&self, name: &str, edit: impl Fn(&str) -> String) -> Result<Scenario> {
        self.copy_with(name, &paths::filter()?, |file, text| if file == "envoy.yaml" { edit(&text) } else { text })
    }

    /// The same with another module, and with `edit` applied to the text of each file, by name.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn copy_with(&self, name: &str, module: &Path, edit: impl Fn(&str, String) -> String) -> Result<Scenario> {
        let folder = self.folder.join(STAGES.fetch_add(1, Ordering::Relaxed).to_string());
        let module = module.display().to_string();
        Scenario::copy(name, folder, self.release, &|file, text| {
            edit(file, MODULE.iter().fold(text, |text, path| text.replace(path, &module)))
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if thread::panicking() {
            show_logs(&self.folder);
        } else {
            // What is left over is only untidy; the next run uses a folder of its own.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// What the scenarios call the shipped module, as seen from their `release` folders and from the
/// folder their Envoy is started in. The longer path holds the shorter one.
const MODULE: [&str; 2] = ["../../../target/filter/graylane_filter.wasm", "../../target/filter/graylane_filter.wasm"];

/// Prints the end of every log in a folder and the folders in it.
pub(crate) fn show_logs(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            show_logs(&path);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            let text = fs::read(&path).unwrap_or_default();
            let last = text.len().saturating_sub(3_000);
            let shown = String::from_utf8_lossy(text.get(last..).unwrap_or_default()).into_owned();
            eprintln!("--- {}\n{shown}", path.display());
        }
    }
}
