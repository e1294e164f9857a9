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
    /// Requests of this hop in the lane.
    pub n: u64,
    /// Those that broke the objective.
    pub failures: u64,
    /// Some requests that failed there, newest first, at most five: trace ids, or where there was no trace,
    /// the `x-request-id`. Counters name none; whoever reads proxies fills it in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<String>,
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

    /// The service with most failures of its own beyond what stable's rate explains, and how it failed.
    fn guilty(&self) -> Option<(&str, FaultKind)> {
        let beyond = |lane: u64, stable: u64, site: &Site, base: &Site| {
            let scale = if base.called.n == 0 { 0.0 } else { real(site.called.n) / real(base.called.n) };
            real(lane) - real(stable) * scale
        };
        let blame = |(service, site): (&'_ String, &Site)| {
            let base = self.stable.get(service).copied().unwrap_or_default();
            let own = beyond(site.own, base.own, site, &base);
            // Calls that failed and that no proxy of the service saw fail.
            let unseen = |site: &Site| site.called.bad.saturating_sub(site.own + site.downstream + site.unknown);
            let unanswered = |site: &Site| site.unanswered.min(unseen(site));
            let silent = beyond(unanswered(site), unanswered(&base), site, &base);
            let kind = if silent > own { FaultKind::Unreachable } else { FaultKind::Own };
            (service.clone(), kind, own.max(0.0) + silent.max(0.0))
        };
        let most =
            self.lane.iter().map(blame).max_by(|a, b| a.2.total_cmp(&b.2)).filter(|(_, _, most)| *most >= 1.0)?;
        self.lane.get_key_value(&most.0).map(|(service, _)| (service.as_str(), most.1))
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

/// Names the hop behind the objectives that failed.
///
/// Failures: the service with most failures of its own beyond stable's rate, counting calls that nobody
/// answered as its own; failures that came from below are somebody else's. Where no proxy of a called
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
        ObjectiveKind::Ratio { .. } | ObjectiveKind::Value { .. } => FaultKind::Business,
        ObjectiveKind::SuccessRate { .. } => by_origin.map_or(FaultKind::Own, |(_, kind)| kind),
    };
    let named = plan.objectives().find(|(of, other)| *of == service && same_kind(other, objective));
    let trial = named.and_then(|(_, objective)| evidence.trial(service, &objective.name));
    let site = sites.lane.get(service).copied().unwrap_or_default();
    Some(Fault {
        service: service.to_owned(),
        lane: plan.lane.clone(),
        objective: named.map_or(name, |(_, objective)| objective.name.as_str()).to_owned(),
        kind,
        first_bad_ms: trial.or(evidence.trial(first, name)).and_then(|trial| trial.first_bad_ms).unwrap_or_default(),
        n: trial.map_or(site.called.n, |trial| trial.total.lane.n),
        failures: trial.map_or(site.called.bad, |trial| trial.total.lane.bad),
        traces: Vec::new(),
    })
}

/// The deepest service below the worst one, or the worst one itself, with at least half of its excess.
fn deepest<'a>(evidence: &Evidence, plan: &'a Plan, worst: &'a str, objective: &Objective) -> &'a str {
    let excess = |service: &str| {
        let (_, other) = plan.objectives().find(|(of, other)| *of == service && same_kind(other, objective))?;
        let trial = evidence.trial(service, &other.name)?;
        let (lane, stable) = trial.rates()?;
        Some((lane - stable) * real(trial.total.lane.n))
    };
    let Some(most) = excess(worst) else { return worst };
    let guilty = |service: &&str| excess(service).is_some_and(|excess| excess >= most / 2.0);
    let mut found = worst;
    for service in plan.services.iter().map(|service| service.service.as_str()).filter(guilty) {
        if evidence.sites.reaches(found, service) {
            found = service;
        }
    }
    found
}

fn same_kind(one: &Objective, other: &Objective) -> bool {
    std::mem::discriminant(&one.kind) == std::mem::discriminant(&other.kind)
}

/// A count as a real number.
#[expect(clippy::cast_precision_loss, reason = "counts of requests stay far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}
