//! Which hop failed.

mod sites;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::{Evidence, Trial, real};
use crate::plan::{Objective, ObjectiveKind, Plan};

pub use sites::{Site, Sites};

/// How a hop failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// It answered failures of its own.
    Own,
    /// Its callers got no answer from it: 502, 503, 504 that its proxies never saw.
    Unreachable,
    /// It hangs: its callers gave up waiting for it, and so their proxies saw no answer to count.
    Hanging,
    /// It was too slow.
    Slow,
    /// An objective of Prometheus: the version does its work, and the work is wrong.
    Business,
}

/// The hop, version and objective that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The service.
    pub service: String,
    /// The lane, that is, its version.
    pub lane: String,
    /// The objective that showed it.
    pub objective: String,
    /// How it failed.
    pub kind: FaultKind,
    /// Begin of the first interval in which it was seen, Unix milliseconds.
    pub first_bad_ms: u64,
    /// Requests of this hop in the lane; of one that hangs those too that were given up.
    pub n: u64,
    /// Those that broke the objective, or that were given up.
    pub failures: u64,
    /// Some requests that failed or were too slow there, or that failed above it where it hangs, newest first, at most
    /// five: trace ids, or where there was no trace, the `x-request-id`. Counters name none; whoever reads proxies
    /// fills it in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<String>,
}

// === impl FaultKind ===

impl FaultKind {
    /// In plain words, of the service that failed.
    pub fn words(self) -> &'static str {
        match self {
            Self::Own => "with failures of its own",
            Self::Unreachable => "which did not answer",
            Self::Hanging => "hanging: its callers gave up waiting for it",
            Self::Slow => "too slow",
            Self::Business => "whose work is wrong",
        }
    }
}

/// Names the hop behind the objectives that failed.
///
/// Failures: the service with most failures of its own beyond stable's rate, counting calls that nobody
/// answered, or that callers gave up, as its own; failures that came from below are somebody else's. Where no proxy of a called
/// service reports, and for latency, which says nothing of its origin: the deepest service with about
/// as much excess as the worst one.
pub fn locate(evidence: &Evidence, plan: &Plan, failing: &[(&str, &str)]) -> Option<Fault> {
    let (first, name) = *failing.first()?;
    let (_, objective) = plan.objectives().find(|(of, objective)| *of == first && objective.name == name)?;
    let sites = &evidence.sites;
    let by_origin = match objective.kind {
        ObjectiveKind::SuccessRate { .. } => sites.guilty(),
        _ => None,
    };
    let service = by_origin.map_or_else(|| deepest(evidence, plan, first, objective), |(service, _)| service);
    let kind = match objective.kind {
        ObjectiveKind::Latency { .. } => FaultKind::Slow,
        ObjectiveKind::Value { .. } => FaultKind::Business,
        ObjectiveKind::SuccessRate { .. } => by_origin.map_or(FaultKind::Own, |(_, kind)| kind),
    };
    let named = like(plan, service, objective);
    let trial = named.and_then(|named| evidence.trial(service, &named.name));
    let since = |trial: Option<&Trial>| trial.and_then(|trial| trial.first_bad_ms);
    let counted = trial.map(|trial| trial.total.lane).unwrap_or_default();
    // What was given up is in the total of no trial: it says nothing of an objective.
    let is_hanging = kind == FaultKind::Hanging;
    let given_up = trial.filter(|_| is_hanging).map_or(0, |trial| trial.given_up.lane.n);
    Some(Fault {
        service: service.to_owned(),
        lane: plan.lane.clone(),
        objective: named.map_or(name, |named| named.name.as_str()).to_owned(),
        kind,
        first_bad_ms: since(trial).or_else(|| since(evidence.trial(first, name))).unwrap_or_default(),
        n: counted.n + given_up,
        failures: if given_up > 0 { given_up } else { counted.bad },
        traces: Vec::new(),
    })
}

/// The service with most excess, or the deepest one below it with at least half as much; `worst` where nobody has any.
///
/// Of failures that is what may be a service's own: those above it may have told of theirs, and where they came from,
/// before the proxies of the one to blame are read.
fn deepest<'a>(evidence: &Evidence, plan: &'a Plan, worst: &'a str, objective: &Objective) -> &'a str {
    let is_rate = matches!(objective.kind, ObjectiveKind::SuccessRate { .. });
    let excess = |service: &str| {
        let trial = evidence.trial(service, &like(plan, service, objective)?.name)?;
        let (lane, stable) = trial.rates()?;
        Some((lane - stable) * real(trial.total.lane.n))
    };
    let excesses = |of: &dyn Fn(&str) -> f64| -> Vec<(&'a str, f64)> {
        let services = plan.services.iter().map(|service| service.service.as_str());
        let found = services.filter_map(|service| Some((service, excess(service)? * of(service))));
        found.filter(|(_, excess)| *excess > 0.0).collect()
    };
    let mut blamed = excesses(&|service| if is_rate { evidence.sites.own_share(service) } else { 1.0 });
    if blamed.is_empty() {
        blamed = excesses(&|_| 1.0);
    }
    let Some(&(mut found, most)) = blamed.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else { return worst };
    for (service, _) in blamed.iter().filter(|(_, excess)| *excess >= most / 2.0) {
        if evidence.sites.reaches(found, service) {
            found = service;
        }
    }
    found
}

/// The objective of a service that is like one of another service: the one of that name, or the first of that kind.
fn like<'a>(plan: &'a Plan, service: &str, objective: &Objective) -> Option<&'a Objective> {
    let of_service = || plan.objectives().filter(|(of, _)| *of == service).map(|(_, other)| other);
    let same_name = |other: &&Objective| other.name == objective.name;
    of_service().find(same_name).or_else(|| of_service().find(|other| same_kind(other, objective)))
}

fn same_kind(one: &Objective, other: &Objective) -> bool {
    std::mem::discriminant(&one.kind) == std::mem::discriminant(&other.kind)
}

#[cfg(test)]
mod tests;
