//! Which hop failed.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::STABLE;
use crate::counts::{Cohort, Interval};
use crate::judge::{Arm, Evidence};
use crate::plan::{Objective, ObjectiveKind, Plan};

/// How a hop failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// It answered failures of its own.
    Own,
    /// Its callers got no answer from it: 502, 503, 504 that its proxies never saw.
    Unreachable,
    /// It was too slow.
    Slow,
    /// An objective of Prometheus: the version does its work, and the work is wrong.
    Business,
}

/// The hop, version and objective that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Requests of this hop in the lane.
    pub n: u64,
    /// Those that broke the objective.
    pub failures: u64,
}

/// Counts of one service and lane from both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Site {
    /// As callers saw it.
    pub called: Arm,
    /// Calls that nobody answered, by their status.
    pub unanswered: u64,
    /// Requests that arrived.
    pub arrived: u64,
    /// Failures of its own.
    pub own: u64,
    /// Failures that came from below.
    pub downstream: u64,
    /// Failures that may have come from below.
    pub unknown: u64,
}

/// Where failures come from: both sides' counts by service, of the lane and of stable, and who calls
/// whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sites {
    lane: BTreeMap<String, Site>,
    stable: BTreeMap<String, Site>,
    /// Services by the services they call.
    calls: BTreeMap<String, BTreeSet<String>>,
}

// === impl Sites ===

impl Sites {
    pub(crate) fn observe(&mut self, plan: &Plan, interval: &Interval) {
        for (cell, tally) in &interval.cells {
            let Some(site) = self.site(plan, &cell.service, &cell.lane) else { continue };
            if cell.cohort != Cohort::Fallback {
                site.called.add(Arm::new(tally.requests, tally.failures));
                site.unanswered += tally.unanswered;
            }
        }
        for ((service, lane), inbound) in &interval.inbound {
            let Some(site) = self.site(plan, service, lane) else { continue };
            site.arrived += inbound.requests;
            site.own += inbound.own;
            site.downstream += inbound.downstream;
            site.unknown += inbound.unknown;
        }
        for call in interval.calls.keys() {
            if let Some(from) = call.from.as_ref().filter(|from| **from != call.to) {
                self.calls.entry(from.clone()).or_default().insert(call.to.clone());
            }
        }
    }

    fn site(&mut self, plan: &Plan, service: &str, lane: &str) -> Option<&mut Site> {
        let sites = if lane == plan.lane {
            &mut self.lane
        } else if lane == STABLE {
            &mut self.stable
        } else {
            return None;
        };
        Some(sites.entry(service.to_owned()).or_default())
    }

    /// Whether one service calls another, directly or through others.
    fn reaches(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(service) = open.pop() {
            for next in self.calls.get(service).into_iter().flatten() {
                if next == to {
                    return true;
                }
                if seen.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        false
    }
}

/// Names the hop behind the objectives that failed: of the services that break one, the deepest whose
/// own failures explain those of its callers.
pub fn locate(evidence: &Evidence, plan: &Plan, failing: &[(&str, &str)]) -> Option<Fault> {
    let sites = &evidence.sites;
    let deepest = |service: &str| !failing.iter().any(|(other, _)| *other != service && sites.reaches(service, other));
    let (service, name) = failing.iter().find(|(service, _)| deepest(service)).or_else(|| failing.first())?;
    let (_, objective) = plan.objectives().find(|(of, objective)| of == service && objective.name == *name)?;
    let trial = evidence.trial(service, name)?;
    Some(Fault {
        service: (*service).to_owned(),
        lane: plan.lane.clone(),
        objective: (*name).to_owned(),
        kind: kind(sites.lane.get(*service).copied().unwrap_or_default(), objective),
        first_bad_ms: trial.first_bad_ms.unwrap_or_default(),
        n: trial.total.lane.n,
        failures: trial.total.lane.bad,
    })
}

fn kind(site: Site, objective: &Objective) -> FaultKind {
    match objective.kind {
        ObjectiveKind::Latency { .. } => FaultKind::Slow,
        ObjectiveKind::Ratio { .. } => FaultKind::Business,
        ObjectiveKind::SuccessRate { .. } => {
            let seen = site.own + site.downstream + site.unknown;
            if site.unanswered > 0 && seen.saturating_mul(2) < site.called.bad {
                FaultKind::Unreachable
            } else {
                FaultKind::Own
            }
        }
    }
}
