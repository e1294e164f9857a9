//! `state.json`: what was pushed last. It alone decides who is in which lane, so a `graylane` that
//! starts again moves nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use graylane_policy::raw::RawRun;
use graylane_policy::slots::SlotTable;
use serde::{Deserialize, Serialize};

use super::LocalError;
use crate::build::{Running, Version};
use crate::release::Release;
use crate::release::finding::Findings;

/// What was pushed last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// Highest generation that was ever written.
    pub generation: u64,
    /// Slot tables, by `namespace/name` of the release.
    #[serde(default)]
    pub releases: BTreeMap<String, ReleaseState>,
    /// Versions declared not ready.
    #[serde(default)]
    pub not_ready: BTreeSet<Version>,
}

/// How far a release has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseState {
    /// Salt of the attempt.
    pub salt: String,
    /// The slot table.
    pub runs: Vec<RawRun>,
    /// The weights that stood in the release file, to notice when somebody changes them there.
    pub file_weights: BTreeMap<String, u32>,
}

/// Reads the state; the beginning if there is no file.
pub(super) fn read(file: &Path) -> Result<State, LocalError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(State::default()),
        Err(source) => return Err(LocalError::Read { file: file.into(), source }),
    };
    let mend = "restore it from a backup; without it, users may change lanes";
    let bad = |message: String| Findings::of(file.display().to_string(), message, mend);
    let state: State = serde_json::from_str(&text).map_err(|error| bad(format!("has the wrong shape: {error}")))?;
    for (id, release) in &state.releases {
        SlotTable::from_runs(&release.runs).map_err(|error| bad(format!("releases.{id}.runs: {error}")))?;
    }
    Ok(state)
}

// === impl State ===

impl State {
    /// The releases as they run: slot tables from the state, or from the beginning for a new release.
    pub fn running(&self, releases: &[Release]) -> Vec<Running> {
        let running = |release: &Release| {
            let mut running = Running::new(release.clone());
            running.not_ready = self.not_ready.clone();
            if let Some(state) = self.releases.get(&release.id()) {
                running.salt = state.salt.clone();
                if let Ok(table) = SlotTable::from_runs(&state.runs) {
                    running.table = table;
                }
            }
            running
        };
        releases.iter().map(running).collect()
    }

    /// Keeps what runs now.
    pub fn remember(&mut self, running: &[Running]) {
        for one in running {
            let state = ReleaseState {
                salt: one.salt.clone(),
                runs: one.table.to_runs(),
                file_weights: one.release.weights.clone(),
            };
            self.releases.insert(one.release.id(), state);
        }
    }

    /// Whether the weights of the release file have changed since the last push, or were never pushed.
    pub fn file_weights_changed(&self, release: &Release) -> bool {
        self.releases.get(&release.id()).is_none_or(|state| state.file_weights != release.weights)
    }
}
