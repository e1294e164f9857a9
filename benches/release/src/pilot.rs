//! The shipped engine in virtual time. Reading the release, judging it, its steps, its bake and what becomes of a
//! brake are the engine's own code; only the store, the push and the clock are not.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use graylane::build::{Side, Version};
use graylane::counts::Counted;
use graylane::counts::question::Asked;
use graylane::engine::decide::decide;
use graylane::engine::documents::{self, Basis};
use graylane::engine::judging::{Judging, plan};
use graylane::engine::request::{Request, Verb};
use graylane::engine::seams::{Object, Wanted};
use graylane::engine::seen::{Arrival, Replicas, Seen};
use graylane::engine::status::{Exposure, PauseReason, Phase, Status};
use graylane::engine::verdict::Failure;
use graylane::release::Release;
use graylane::release::finding::Findings;
use graylane::release::read::read_text;
use graylane::release::validate::check;
use graylane_analysis::{Outcome, Plan, Reading, Verdict};

use crate::proxies::LANE;
use crate::run::Drive;

/// What every release says. Whatever it leaves out is as shipped; without the latency objective nobody would judge
/// how slow a version is.
const HEAD: &str = "apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: suite, namespace: shop}
spec:
  lanes: [{name: canary}]
  members: [{service: front}, {service: cart}, {service: stock}]
  entry: {gateways: [{namespace: ingress}]}
  stickiness: {unit: [{header: x-user-id}]}
  analysis: {latency: [{overMs: 300, share: 95%}]}
";
/// Pods of each version.
const PODS: Replicas = Replicas { ready: 5, wanted: 5 };

/// The engine with one release.
#[derive(Debug)]
pub struct Pilot {
    object: Object,
    judging: Judging,
    seen: Seen,
    asked: Asked,
    proxies: Vec<String>,
    /// What the proxies run: the weight in 1/10,000, and how often their brakes were let go.
    in_force: (u32, u32),
    /// Whether what was decided has still to reach them.
    is_pushing: bool,
}

/// A release as it was read, and the evidence at which its brakes trip.
#[derive(Clone, Debug)]
struct Written {
    spec: Result<Release, Findings>,
    evidence: f64,
}

// === impl Pilot ===

impl Pilot {
    /// A release that has just been made; its versions have no ready pod yet.
    pub fn new(drive: Drive, proxies: Vec<String>, now: u64) -> Self {
        let release = written(drive).spec.as_ref().ok();
        let services: Vec<String> = release.iter().flat_map(|one| &one.members).map(|one| one.label.clone()).collect();
        let seen = Seen {
            generation: 1,
            arrival: arrival(proxies.len(), true),
            stable: services.into_iter().map(|service| (service, PODS)).collect(),
            ..Seen::default()
        };
        Self {
            object: object(drive, now),
            judging: Judging::default(),
            seen,
            asked: Asked::default(),
            proxies,
            in_force: (0, 0),
            is_pushing: false,
        }
    }

    /// What the lane is judged by.
    pub fn plan(&self) -> Plan {
        let release = self.object.spec.as_ref().ok();
        let judged = release.and_then(|release| Some(plan(release, release.plan.analysis.as_ref()?, LANE)));
        judged.unwrap_or_default()
    }

    /// The lane's pods are ready.
    pub fn get_ready(&mut self) {
        let version = |service: &String| Version { service: service.clone(), lane: LANE.into() };
        self.seen.versions = self.seen.stable.keys().map(|service| (version(service), PODS)).collect();
    }

    /// Takes the readings of a second, judges and decides.
    pub fn look(&mut self, readings: Vec<Reading>, now: u64) {
        self.seen.judgement = None;
        if let Ok(release) = &self.object.spec
            && Judging::applies(release, &self.object.status)
        {
            let counted = Counted { expected: self.proxies.clone(), readings, told: Vec::new() };
            self.seen.judgement = self.judging.look(&self.object, release, (counted, &self.asked), now);
        }
        self.decide(now);
    }

    /// What was decided reaches the proxies, and the engine hears that it did.
    pub fn push(&mut self, now: u64) {
        if !self.is_pushing {
            return;
        }
        let status = &self.object.status;
        let weight = if status.exposure == Exposure::Full { status.weights.get(LANE).copied() } else { None };
        self.in_force = (weight.unwrap_or(0), status.brake.unwrap_or_default().released);
        self.is_pushing = false;
        self.seen.arrival = arrival(self.proxies.len(), true);
        self.decide(now);
    }

    fn decide(&mut self, now: u64) {
        let before = Basis::of(&self.object);
        self.object.status = decide(&self.object.spec, &self.object.status, &self.seen, now).status;
        if !before.is_of(&self.object) {
            self.is_pushing = true;
            self.seen.arrival = arrival(self.proxies.len(), false);
        }
    }

    /// A person says that a pause is over.
    pub fn resume(&mut self, now: u64) {
        self.seen.request = Some(Request { id: now.to_string(), verb: Verb::Resume, step: None });
        self.decide(now);
    }

    /// The weight that proxies run, 0 to 1.
    pub fn weight(&self) -> f64 {
        f64::from(self.in_force.0) / 10_000.0
    }

    /// How often proxies have been told to let their brakes go.
    pub fn released(&self) -> u32 {
        self.in_force.1
    }

    /// Whether the engine knows that a brake holds users back.
    pub fn is_braked(&self) -> bool {
        self.seen.judgement.as_ref().is_some_and(|judgement| judgement.is_braked)
    }

    /// What has become of the release so far: taken back, handed over, paused for a person, or still open.
    pub fn outcome(&self) -> Outcome {
        let status = &self.object.status;
        match (status.phase, status.pause.as_ref().map(|pause| pause.reason)) {
            (Phase::RollingBack | Phase::RolledBack, _) => Outcome::Fail,
            (Phase::Promoting | Phase::Succeeded, _) => Outcome::Pass,
            (Phase::Paused, Some(PauseReason::Unverified)) => Outcome::Unverified,
            (Phase::Paused | Phase::Invalid, _) => Outcome::Pause,
            _ => Outcome::Wait,
        }
    }

    /// Whether all steps are done, so that only the bake is left.
    pub fn is_verified(&self) -> bool {
        self.object.status.steps > 0 && self.object.status.step >= self.object.status.steps
    }

    /// What the counts say.
    pub fn verdict(&self) -> Option<&Verdict> {
        Some(&self.seen.judgement.as_ref()?.lanes.get(LANE)?.verdict)
    }

    /// Why it was taken back, if the analysis did that.
    pub fn failure(&self) -> Option<&Failure> {
        self.object.status.failure.as_ref()
    }

    /// The last words.
    pub fn words(&self) -> String {
        let last = self.object.status.history.last();
        last.map_or_else(|| self.object.status.message.clone(), |entry| entry.message.clone())
    }
}

/// The evidence at which a proxy's brake trips, as the documents of such a release say.
pub fn brake_evidence(drive: Drive) -> f64 {
    written(drive).evidence
}

fn arrival(proxies: usize, has_arrived: bool) -> Arrival {
    let expected = u32::try_from(proxies).unwrap_or(u32::MAX);
    let acknowledged = if has_arrived { expected } else { 0 };
    Arrival { expected, acknowledged, missing: Vec::new(), known: has_arrived }
}

fn object(drive: Drive, now: u64) -> Object {
    Object { spec: written(drive).spec.clone(), ..bare(now) }
}

fn bare(now: u64) -> Object {
    Object {
        id: "shop/suite".into(),
        uid: "suite".into(),
        fence: "0".into(),
        generation: 1,
        created_ms: now,
        deleting: false,
        held: true,
        spec: Err(Findings(Vec::new())),
        paused: false,
        request: None,
        status: Status::default(),
    }
}

/// Read once: every release of the suite says the same.
fn written(drive: Drive) -> &'static Written {
    static FIXED: OnceLock<Written> = OnceLock::new();
    static AUTO: OnceLock<Written> = OnceLock::new();
    let (cell, steps) = match drive {
        Drive::Fixed => (&FIXED, "  steps: [{weight: 10%}, {analysis: {duration: 10m}}]\n"),
        Drive::Auto => (&AUTO, "  steps: [{auto: {}}]\n"),
    };
    cell.get_or_init(|| {
        let checked = read_text("suite", &format!("{HEAD}{steps}"));
        let checked = checked.and_then(|sources| check(sources, &[Side::Gateway, Side::Inbound, Side::Outbound]));
        let spec = checked.and_then(|mut all| all.pop().map(|one| one.release).ok_or(Findings(Vec::new())));
        Written { evidence: evidence(&spec), spec }
    })
}

/// Reads the evidence from the gateway's document, for seven proxies.
fn evidence(spec: &Result<Release, Findings>) -> f64 {
    let mut status = Status { exposure: Exposure::Full, phase: Phase::Progressing, ..Status::default() };
    status.proxies.expected = 7;
    let object = Object { spec: spec.clone(), status, ..bare(0) };
    let wanted =
        documents::wanted("ingress", &[Arc::new(object)], &documents::mesh_places, &BTreeMap::new(), 1_800_000_000_000);
    let brakes = wanted.into_values().filter_map(|one| match one {
        Wanted::Document(groups) => groups.into_iter().find_map(|group| group.brake),
        Wanted::Inert => None,
    });
    #[expect(clippy::cast_precision_loss, reason = "a round number")]
    brakes.map(|brake| brake.evidence as f64).next().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_releases_of_the_suite_are_right_and_have_a_brake() {
        for drive in [Drive::Fixed, Drive::Auto] {
            let written = written(drive);
            assert!(written.spec.is_ok(), "{:?}", written.spec);
            assert_eq!(written.evidence, 80_000.0);
        }
    }
}
