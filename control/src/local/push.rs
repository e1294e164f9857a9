//! Brings a wish into the folder: decide, build, check everything, and only then write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use graylane_policy::raw::RawConfig;
use graylane_policy::slots::evolve;
use serde_json::Value;

use super::proxies::{Filter, Proxies};
use super::state::State;
use super::{Folder, LocalError, write};
use crate::ack::{Expected, ExpectedFilter};
use crate::build::ecds::{discovery_response, document_text};
use crate::build::{self, Running, Side, Version};
use crate::engine::status::{Exposure, Phase, Status};
use crate::release::finding::{Finding, Findings};
use crate::release::units::Weight;
use crate::release::validate::{Checked, check};
use crate::release::{Member, Release};

/// What a push is asked to change; the default only brings the files up to date.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// New weights.
    pub weights: Vec<WeightWish>,
    /// Versions that must not be used from now on.
    pub not_ready: Vec<VersionWish>,
    /// Versions that may be used again.
    pub ready: Vec<VersionWish>,
    /// Give every document a new generation, changed or not. This brings a filter back that crashed.
    pub force: bool,
}

/// A new weight: `[RELEASE/]LANE=WEIGHT`.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightWish {
    /// Name of the release, when several have this lane.
    pub release: Option<String>,
    /// The lane.
    pub lane: String,
    /// The weight.
    pub weight: Weight,
}

/// A version: `SERVICE/LANE`.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionWish {
    /// Name of the service, with or without its namespace.
    pub service: String,
    /// The lane.
    pub lane: String,
}

/// Everything that will be written, checked.
#[derive(Debug)]
pub struct Plan {
    state: State,
    writes: Vec<(PathBuf, Value)>,
    expected: Vec<Expected>,
}

/// Decides what has to be written.
///
/// # Errors
/// When an input is wrong; nothing has been written then.
pub fn plan(folder: &Folder, wish: &Wish) -> Result<Plan, LocalError> {
    refuse_what_runs(folder)?;
    let proxies = folder.proxies()?;
    let checked = check(folder.sources()?, &proxies.sides())?;
    let mut state = folder.state()?;
    let running = decide(&mut state, &checked, wish)?;
    let generation = highest_generation(&state, &proxies) + 1;
    let documents = documents(generation, &running, &proxies)?;
    let mut plan = Plan { state, writes: Vec::new(), expected: Vec::new() };
    for proxy in &proxies.proxies {
        let mut filters = Vec::new();
        for filter in &proxy.filters {
            let Some(document) = documents.get(&filter.side) else { continue };
            let generation = plan.add(filter, &proxies.module, document, wish.force);
            filters.push(ExpectedFilter { side: filter.side, generation });
        }
        plan.expected.push(Expected {
            proxy: proxy.name.clone(),
            admin: proxy.admin.clone(),
            workers: u64::from(proxy.concurrency) + 1,
            filters,
        });
    }
    if !plan.writes.is_empty() {
        plan.state.generation = generation;
    }
    plan.state.remember(&running);
    Ok(plan)
}

/// A release that `graylane run` has begun is its alone, also while it is not up: who pushed would move
/// users whom it moves back when it is started again.
fn refuse_what_runs(folder: &Folder) -> Result<(), LocalError> {
    let mut findings = Vec::new();
    for id in folder.status_ids()? {
        let file = folder.status_file(&id);
        let read = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Status>(&bytes).ok());
        let stands = match read {
            Some(status) if status.exposure == Exposure::Absent && status.phase != Phase::RollingBack => continue,
            Some(status) => status.message,
            None => "its status cannot be read".into(),
        };
        let message = format!("`graylane run` has begun release `{id}` and not ended it ({stands})");
        let mend = "start `graylane run --local` again and ask it to `abort`; \
            or remove this file and push, which begins with the weights that were pushed last";
        findings.push(Finding {
            file: file.display().to_string(),
            line: None,
            path: String::new(),
            message,
            mend: mend.into(),
        });
    }
    if findings.is_empty() { Ok(()) } else { Err(Findings(findings).into()) }
}

/// The releases as they shall run.
fn decide(state: &mut State, checked: &[Checked], wish: &Wish) -> Result<Vec<Running>, Findings> {
    let releases: Vec<Release> = checked.iter().map(|one| one.release.clone()).collect();
    let mut findings = Vec::new();
    for (wishes, ready) in [(&wish.not_ready, false), (&wish.ready, true)] {
        for wanted in wishes {
            match version(&releases, wanted) {
                Ok(version) if ready => drop(state.not_ready.remove(&version)),
                Ok(version) => drop(state.not_ready.insert(version)),
                Err(finding) => findings.push(finding),
            }
        }
    }
    let overrides = overrides(&releases, &wish.weights).unwrap_or_else(|found| {
        findings.extend(found);
        BTreeMap::new()
    });
    let mut running = state.running(&releases);
    for (index, one) in running.iter_mut().enumerate() {
        let mut weights = wanted_weights(state, one);
        weights.extend(overrides.get(&index).cloned().unwrap_or_default());
        match evolve(&one.table, &weights) {
            Ok(table) => one.table = table,
            Err(error) => findings.push(option("--weight", error.to_string(), "lower another lane in the same push")),
        }
    }
    if findings.is_empty() { Ok(running) } else { Err(Findings(findings)) }
}

/// The weights before this push's own: those of the file when somebody changed them there, else those
/// that run. A lane that the release no longer has loses its users to stable.
fn wanted_weights(state: &State, running: &Running) -> BTreeMap<String, u32> {
    let release = &running.release;
    if state.file_weights_changed(release) {
        return release.weights.clone();
    }
    let runs = running.table.weights().into_iter();
    runs.filter(|(lane, _)| release.lanes.contains(lane)).collect()
}

/// The weights given on the command line, by index of their release.
fn overrides(
    releases: &[Release],
    wishes: &[WeightWish],
) -> Result<BTreeMap<usize, BTreeMap<String, u32>>, Vec<Finding>> {
    let mut overrides: BTreeMap<usize, BTreeMap<String, u32>> = BTreeMap::new();
    let mut findings = Vec::new();
    for wish in wishes {
        let named =
            |release: &Release| wish.release.as_ref().is_none_or(|name| *name == release.name || *name == release.id());
        let has_lane = |release: &Release| named(release) && release.lanes.contains(&wish.lane);
        let found: Vec<usize> = (0..releases.len()).filter(|&index| has_lane(&releases[index])).collect();
        match (found.as_slice(), wish.weight.parts()) {
            (_, Err(error)) => findings.push(option("--weight", error.to_string(), "write it like `canary=5%`")),
            ([index], Ok(parts)) => drop(overrides.entry(*index).or_default().insert(wish.lane.clone(), parts)),
            ([], _) => {
                let known = releases
                    .iter()
                    .flat_map(|release| release.lanes.iter().map(move |lane| format!("{}/{lane}", release.name)));
                let mend = format!("name one of: {}", known.collect::<Vec<_>>().join(", "));
                findings.push(option("--weight", format!("no such lane: `{}`", wish.lane), mend));
            }
            (_, _) => {
                let message = format!("several releases have a lane `{}`", wish.lane);
                findings.push(option("--weight", message, format!("write RELEASE/{}=WEIGHT", wish.lane)));
            }
        }
    }
    if findings.is_empty() { Ok(overrides) } else { Err(findings) }
}

fn version(releases: &[Release], wanted: &VersionWish) -> Result<Version, Finding> {
    let members = || releases.iter().flat_map(|release| &release.members);
    let named = |member: &&Member| member.service == wanted.service || member.label == wanted.service;
    let found = members().find(|member| named(member) && member.lanes.contains(&wanted.lane));
    found.map(|member| Version { service: member.label.clone(), lane: wanted.lane.clone() }).ok_or_else(|| {
        let known =
            members().flat_map(|member| member.lanes.iter().map(move |lane| format!("{}/{lane}", member.service)));
        let mend = format!("name one of: {}", known.collect::<Vec<_>>().join(", "));
        option("--ready, --not-ready", format!("no such version: `{}/{}`", wanted.service, wanted.lane), mend)
    })
}

/// One document per side, each accepted by the code that the filter runs. The files were checked
/// before; this guards against a mistake of ours.
fn documents(generation: u64, running: &[Running], proxies: &Proxies) -> Result<BTreeMap<Side, RawConfig>, Findings> {
    let mut documents = BTreeMap::new();
    for side in proxies.sides() {
        let document = build::document(generation, side, running);
        graylane_policy::Policy::check(&document).map_err(|error| {
            Findings::of(side.filter_name(), error.to_string(), "this is a bug of graylane; nothing was written")
        })?;
        documents.insert(side, document);
    }
    Ok(documents)
}

fn option(name: &str, message: String, mend: impl Into<String>) -> Finding {
    Finding { file: name.into(), line: None, path: String::new(), message, mend: mend.into() }
}

// === impl Plan ===

impl Plan {
    /// Plans one filter's file and returns the generation it will have. A file whose document stays
    /// the same keeps its generation and is not written: each write costs every worker a new config.
    fn add(&mut self, filter: &Filter, module: &Path, document: &RawConfig, force: bool) -> u64 {
        if !force && let Some(generation) = kept_generation(filter, module, document) {
            return generation;
        }
        self.writes.push((filter.ecds.clone(), discovery_response(filter.side, module, document)));
        document.generation
    }

    /// What each proxy will report once it runs the plan.
    pub fn expected(&self) -> &[Expected] {
        &self.expected
    }

    /// How many files will change.
    pub fn changes(&self) -> usize {
        self.writes.len()
    }

    /// Writes the plan. The state comes first: a generation that may have been seen by a proxy is
    /// never used again, even if this process dies between two files.
    ///
    /// # Errors
    /// When a file cannot be written; a further push completes what was begun.
    pub fn carry_out(&self, folder: &Folder) -> Result<(), LocalError> {
        folder.keep(&self.state)?;
        self.writes.iter().try_for_each(|(file, response)| write::json(file, response))
    }
}

/// The highest generation that a proxy may be running: what the state remembers, and what the files
/// hold. A folder whose state was lost, or that came with rendered files, has only the latter; a push
/// that used one of them again would be acknowledged by the document before it.
fn highest_generation(state: &State, proxies: &Proxies) -> u64 {
    let filters = proxies.proxies.iter().flat_map(|proxy| &proxy.filters);
    let held = filters.filter_map(|filter| Some(held_document(filter)?.1.generation));
    held.max().unwrap_or(0).max(state.generation)
}

/// The file of a filter as it is, and the document in it.
fn held_document(filter: &Filter) -> Option<(Value, RawConfig)> {
    let now: Value = serde_json::from_slice(&std::fs::read(&filter.ecds).ok()?).ok()?;
    let document = serde_json::from_str(document_text(&now)?).ok()?;
    Some((now, document))
}

/// The generation of the file as it is, when a new one would differ in nothing else.
fn kept_generation(filter: &Filter, module: &Path, document: &RawConfig) -> Option<u64> {
    let (now, old) = held_document(filter)?;
    let same = RawConfig { generation: old.generation, ..document.clone() };
    (now == discovery_response(filter.side, module, &same)).then_some(old.generation)
}
