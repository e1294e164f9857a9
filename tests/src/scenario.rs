//! A folder of `envoy-configs/`, copied to a place of its own with free ports.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::admin::Admin;
use crate::envoy::{Envoy, Start};
use crate::group::Group;
use crate::paths::{self, Release};
use crate::poll::{self, PATIENCE};
use crate::{console, ports};

/// What stands before a port number in the files of a scenario.
const BEFORE_PORT: [&str; 2] = ["127.0.0.1:", "port_value: "];

/// Changes the text of a file, given its name in the folder.
pub type Edit<'a> = &'a dyn Fn(&str, String) -> String;

/// A copy of a scenario folder.
#[derive(Debug)]
pub struct Scenario {
    /// Where the copy is.
    pub folder: PathBuf,
    release: Release,
    ports: BTreeMap<u16, u16>,
}

// === impl Scenario ===

impl Scenario {
    /// Copies `envoy-configs/<name>` to `folder`, each file's text changed by `edit`.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn copy(name: &str, folder: PathBuf, release: Release, edit: Edit<'_>) -> Result<Self> {
        let mut scenario = Self { folder, release, ports: BTreeMap::new() };
        let source = paths::root().join("envoy-configs").join(name);
        scenario.copy_folder(&source, Path::new(""), edit)?;
        Ok(scenario)
    }

    /// The free port that stands for this one of the files.
    #[must_use]
    pub fn port(&self, written: u16) -> u16 {
        self.ports.get(&written).copied().unwrap_or(written)
    }

    /// The admin listener whose port is written so in the files.
    #[must_use]
    pub fn admin(&self, written: u16) -> Admin {
        Admin { at: self.port(written).into() }
    }

    /// Starts the Envoy of `envoy.yaml` with one worker.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(&self) -> Result<Envoy> {
        self.how("envoy.yaml", 9901, 1)?.ready()
    }

    /// How to start the Envoy of one of the files, whose admin port is written there as `admin`.
    ///
    /// # Errors
    /// When there is no Envoy binary.
    pub fn how(&self, config: &str, admin: u16, concurrency: u32) -> Result<Start> {
        Ok(Start {
            binary: paths::envoy(self.release)?,
            config: self.folder.join(config),
            admin: self.port(admin),
            concurrency,
        })
    }

    /// Runs `start.sh` and waits until the proxies with these admin ports are ready.
    ///
    /// # Errors
    /// When one does not become ready.
    pub fn start_all(&self, admins: &[u16]) -> Result<Group> {
        let graylane = paths::graylane_dir()?.join("graylane");
        let mut script = Command::new("bash");
        script.arg("start.sh").current_dir(&self.folder);
        script.env("ENVOY", paths::envoy(self.release)?).env("GRAYLANE", graylane);
        let mut group = Group::start(&mut script, &self.folder.join("start.log"))?;
        for admin in admins {
            poll::until("every proxy to be ready", PATIENCE, || {
                ensure!(group.is_running()?, "start.sh ended");
                self.admin(*admin).ready()
            })?;
        }
        Ok(group)
    }

    /// Runs every `console` block of the README.
    ///
    /// # Errors
    /// At the first command that prints something else.
    pub fn run_readme(&self) -> Result<()> {
        let text = fs::read_to_string(self.folder.join("README.md"))?;
        let steps = console::steps(&text);
        ensure!(!steps.is_empty(), "the README has no console block");
        let bins: Vec<PathBuf> = paths::graylane_dir().into_iter().collect();
        console::run(&steps, &self.folder, &bins)
    }

    fn copy_folder(&mut self, source: &Path, inner: &Path, edit: Edit<'_>) -> Result<()> {
        fs::create_dir_all(self.folder.join(inner))?;
        let listing = source.join(inner);
        for entry in fs::read_dir(&listing).with_context(|| listing.display().to_string())? {
            let entry = entry?;
            let inner = inner.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.copy_folder(source, &inner, edit)?;
            } else {
                let text = fs::read_to_string(entry.path())?;
                let text = edit(&inner.display().to_string(), text);
                fs::write(self.folder.join(&inner), self.with_free_ports(&text))?;
            }
        }
        Ok(())
    }

    fn with_free_ports(&mut self, text: &str) -> String {
        BEFORE_PORT.iter().fold(text.to_owned(), |text, before| self.replace_after(before, &text))
    }

    fn replace_after(&mut self, before: &str, text: &str) -> String {
        let mut parts = text.split(before);
        let mut replaced = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (port, rest) = part.split_at(digits);
            replaced.push_str(before);
            match port.parse::<u16>() {
                Ok(written) => {
                    let free = *self.ports.entry(written).or_insert_with(ports::free);
                    replaced.push_str(&free.to_string());
                }
                Err(_) => replaced.push_str(port),
            }
            replaced.push_str(rest);
        }
        replaced
    }
}
