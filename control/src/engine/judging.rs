//! The memory of the analysis: the counts of each release that is judged, and the evidence in them.
//!
//! Counters come as they are read; about once a second the interval since is closed and added to the
//! evidence. The evidence is kept in the status now and then, so that a controller that starts again has
//! lost some seconds of counts, which makes it slower and never wrong.

mod answers;
mod examples;

use std::collections::{BTreeMap, BTreeSet};

use graylane_analysis::counts::Pick;
use graylane_analysis::{
    Evidence, Interval, Ledger, Objective, ObjectiveKind, Outcome, Plan, Reading, ServicePlan, Verdict,
};
use graylane_policy::raw::NoUnit;

use self::answers::Answers;
use self::examples::Examples;
use super::Millis;
use super::seams::Object;
use super::seen::Seen;
use super::status::{Exposure, PauseReason, Phase, Status, WaitReason};
use crate::api::record::Record;
use crate::counts::Counted;
use crate::counts::question::Asked;
use crate::release::analysis::{Analysis, Method};
use crate::release::units::WHOLE;
use crate::release::{Release, STABLE};

/// What the counts of all proxies have to carry beside a brake that has tripped.
const BRAKED_ALPHA: f64 = 0.05;
/// Length of an interval.
const INTERVAL_MS: Millis = 1_000;

/// What the counts of a release say, by lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// The attempt, and since when its evidence counts: that of the status it is about.
    pub run: (u32, Millis),
    /// The verdict of each lane.
    pub lanes: BTreeMap<String, LaneJudgement>,
    /// End of the last interval.
    pub closed_ms: Millis,
    /// Whether some proxy held users back from a lane in the last interval.
    pub is_braked: bool,
    /// End of the last interval in which a lane served.
    pub last_lane_ms: Option<Millis>,
    /// By how much the clock has just been turned back, where it has been.
    pub turned_back: Option<Millis>,
}

/// What the counts say of a lane.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneJudgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What it rests on.
    pub evidence: Evidence,
    /// Why nothing is concluded for now: a question to Prometheus has no answer, and since when.
    pub unanswered: Option<String>,
}

/// The memory, by the object's uid. All of it may be lost.
#[derive(Debug, Default)]
pub struct Judging {
    judged: BTreeMap<String, Judged>,
    /// Where intervals are kept for those who ask.
    record: Record,
}

#[derive(Debug)]
struct Judged {
    ledger: Ledger,
    evidence: BTreeMap<String, Evidence>,
    /// What was wanted when the interval began, once the proxies had it.
    weights: Option<BTreeMap<String, u32>>,
    judgement: Judgement,
    answers: Answers,
    examples: Examples,
    /// Ready pods of each version, as service and lane.
    ready: BTreeMap<Versioned, u32>,
    /// Versions of which more have become ready in the open interval.
    started: BTreeSet<Versioned>,
}

/// A service and a lane.
type Versioned = (String, String);

// === impl Judging ===

impl Judging {
    /// One that keeps a record.
    pub fn with(record: Record) -> Self {
        Self { judged: BTreeMap::new(), record }
    }

    /// Whether anything is judged at a status: somebody is, or has just been, in a lane.
    pub fn applies(release: &Release, status: &Status) -> bool {
        let moves = matches!(status.phase, Phase::Progressing | Phase::Paused) && status.exposure == Exposure::Full;
        let ends = status.phase == Phase::RollingBack && status.failure.is_some();
        release.plan.analysis.is_some() && (moves || ends || status.may_take_back_handover())
    }

    /// Tells those who ask which attempt of a release is judged. What Argo Rollouts has been told of, by an
    /// abort that it has seen, is not its verdict any more: it may try the same version again.
    pub fn begin(&self, object: &Object) {
        let Some(release) = object.spec.as_ref().ok().filter(|release| release.plan.analysis.is_some()) else { return };
        let status = &object.status;
        let is_over = status.phase.is_finished() || matches!(status.phase, Phase::Pending | Phase::Invalid);
        let open = status.rollouts.values().filter(|rollout| rollout.abort || !is_over);
        let versions = open.map(|rollout| rollout.version.clone()).collect();
        self.record.begin(&object.uid, release, status.attempt, versions);
    }

    /// When the next interval ends.
    pub fn due(&self, uid: &str) -> Option<Millis> {
        self.judged.get(uid).map(|judged| judged.judgement.closed_ms.saturating_add(INTERVAL_MS))
    }

    /// Notes which versions have more ready pods than before, where a release is judged.
    pub fn note_pods(&mut self, uid: &str, seen: &Seen) {
        if let Some(judged) = self.judged.get_mut(uid) {
            judged.note_pods(seen);
        }
    }

    /// Takes what was counted and says what follows.
    pub fn look(
        &mut self,
        object: &Object,
        release: &Release,
        seen: (Counted, &Asked),
        now: Millis,
    ) -> Option<Judgement> {
        let analysis = release.plan.analysis.as_ref()?;
        let (counted, asked) = seen;
        let status = &object.status;
        let run = (status.attempt, status.judged_since_ms);
        if self.judged.get(&object.uid).is_none_or(|judged| judged.judgement.run != run) {
            self.judged.insert(object.uid.clone(), Judged::new(status, now));
        }
        let judged = self.judged.get_mut(&object.uid)?;
        judged.examples.take(counted.told, &counted.expected);
        if now.saturating_add(INTERVAL_MS) < judged.judgement.closed_ms {
            judged.turn_back(now);
        }
        judged.ledger.expect(counted.expected);
        // A reading of a time to come was taken before the clock was turned back, and would hide all later ones.
        let is_past = |reading: &Reading| reading.at_ms <= now.saturating_add(INTERVAL_MS);
        counted.readings.into_iter().filter(is_past).for_each(|reading| judged.ledger.take(reading));
        if now >= judged.judgement.closed_ms.saturating_add(INTERVAL_MS) {
            let interval = judged.close(release, analysis, (status, asked), now);
            self.record.take(&object.uid, release, &interval, (&judged.judgement, asked));
        }
        let judgement = judged.judgement.clone();
        judged.judgement.turned_back = None;
        Some(judgement)
    }

    /// Forgets whatever is not among these.
    pub fn retain(&mut self, uids: &BTreeSet<&str>) {
        self.judged.retain(|uid, _| uids.contains(uid.as_str()));
        self.record.retain(uids);
    }
}

// === impl Judged ===

impl Judged {
    fn new(status: &Status, now: Millis) -> Self {
        let kept = status.analysis.iter().map(|(lane, kept)| (lane.clone(), kept.evidence.clone()));
        Self {
            ledger: Ledger::new(now),
            evidence: kept.collect(),
            weights: None,
            judgement: Judgement {
                run: (status.attempt, status.judged_since_ms),
                closed_ms: now,
                ..Judgement::default()
            },
            answers: Answers::default(),
            examples: Examples::new(now),
            ready: BTreeMap::new(),
            started: BTreeSet::new(),
        }
    }

    /// Notes which versions have more ready pods than before.
    fn note_pods(&mut self, world: &Seen) {
        let lanes = world.versions.iter().map(|(version, pods)| (version.service.clone(), version.lane.clone(), pods));
        let stable = world.stable.iter().map(|(service, pods)| (service.clone(), STABLE.to_owned(), pods));
        for (service, lane, pods) in lanes.chain(stable) {
            let version = (service, lane);
            if self.ready.insert(version.clone(), pods.ready).is_some_and(|before| pods.ready > before) {
                self.started.insert(version);
            }
        }
    }

    /// The clock was turned back: the open interval would end when it has caught up, and what was concluded would be
    /// believed until then. So counting begins anew, and nothing is allowed before the next interval ends. What was
    /// counted stays evidence.
    fn turn_back(&mut self, now: Millis) {
        let by = self.judgement.closed_ms - now;
        self.ledger = Ledger::new(now);
        (self.weights, self.answers) = (None, Answers::default());
        let judgement = &mut self.judgement;
        (judgement.closed_ms, judgement.is_braked, judgement.turned_back) = (now, false, Some(by));
        judgement.last_lane_ms = judgement.last_lane_ms.map(|at| at.min(now));
        for LaneJudgement { verdict, .. } in judgement.lanes.values_mut() {
            verdict.allowed_weight = 0;
            if matches!(verdict.outcome, Outcome::Pass | Outcome::Unverified) {
                verdict.outcome = Outcome::Wait;
                verdict.reason = format!("the clock was turned back by {} s: counting begins anew", by / 1000);
            }
        }
    }

    fn close(&mut self, release: &Release, analysis: &Analysis, seen: (&Status, &Asked), now: Millis) -> Interval {
        let (status, asked) = seen;
        let mut interval = self.ledger.close(now);
        interval.started = std::mem::take(&mut self.started);
        let weights = settled(status);
        let is_picked = |(lane, pick): &(String, Pick)| *pick == Pick::Slot && release.lanes.contains(lane);
        let is_held_back = interval.picks.keys().any(|(_, pick)| *pick == Pick::Brake);
        // In a second in which nobody would have come to a lane, a brake holds as it did before.
        let holds = self.judgement.is_braked && !interval.picks.keys().any(is_picked);
        self.judgement.is_braked = is_held_back || holds;
        // Where the weight has moved meanwhile, or a brake has, nobody can say which share was meant.
        if self.weights == weights && !self.judgement.is_braked {
            interval.weights = weights.clone().unwrap_or_default();
        }
        self.weights = weights;
        self.judgement.closed_ms = now;
        if interval.cells.iter().any(|(cell, tally)| release.lanes.contains(&cell.lane) && tally.requests > 0) {
            self.judgement.last_lane_ms = Some(now);
        }
        self.answers.put(&mut interval, release, analysis, (status, asked));
        for lane in &release.lanes {
            let plan = plan(release, analysis, lane);
            let evidence = self.evidence.entry(lane.clone()).or_default();
            observe(evidence, &plan, &interval, status);
            // Nobody new reaches a lane that is braked, so what is known has to do. Both witnesses err together
            // no more often than the brake alone: one attempt in 10,000 where failures are independent. The suite of
            // releases runs both on each other's traffic, bursts and all.
            let braked = self.judgement.is_braked.then(|| Plan { alpha: BRAKED_ALPHA, ..plan.clone() });
            let mut verdict = evidence.verdict(braked.as_ref().unwrap_or(&plan), now);
            answers::say(&mut verdict, release, analysis, asked, lane);
            if let Some(fault) = &mut verdict.fault {
                fault.traces = self.examples.of(fault, &plan);
            }
            let unanswered = self.answers.hold(&mut verdict, analysis, asked, lane, now);
            verdict.outcome = told(status, verdict.outcome);
            let judgement = LaneJudgement { verdict, evidence: evidence.clone(), unanswered };
            self.judgement.lanes.insert(lane.clone(), judgement);
        }
        interval
    }
}

/// What comes after a decision to roll back is no evidence any more.
fn observe(evidence: &mut Evidence, plan: &Plan, interval: &Interval, status: &Status) {
    if status.phase != Phase::RollingBack {
        evidence.observe(plan, interval);
    }
}

/// What is told of an outcome: while a release is paused because its time was over, nothing is waited for any more.
pub fn told(status: &Status, outcome: Outcome) -> Outcome {
    let is_over = status.pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Unverified);
    if is_over && outcome == Outcome::Wait { Outcome::Unverified } else { outcome }
}

/// The weights, once every proxy has them. A release that waits for evidence waits for nothing that moves them.
fn settled(status: &Status) -> Option<BTreeMap<String, u32>> {
    let is_still = status.waiting.as_ref().is_none_or(|waiting| waiting.reason == WaitReason::Evidence);
    let arrived = is_still && status.proxies.acknowledged >= status.proxies.expected;
    arrived.then(|| status.weights.clone())
}

/// What a lane of a release is judged by.
pub fn plan(release: &Release, analysis: &Analysis, lane: &str) -> Plan {
    let share = |parts: u32| f64::from(parts) / f64::from(WHOLE);
    let members = release.members.iter().filter(|member| member.lanes.iter().any(|known| known == lane));
    let services = members.map(|member| {
        let success = Objective {
            name: "success rate".into(),
            kind: ObjectiveKind::SuccessRate { at_least: share(analysis.success_rate) },
        };
        let latency = analysis.latency.iter().map(|(over_ms, parts)| Objective {
            name: format!("at most {over_ms} ms"),
            kind: ObjectiveKind::Latency { over_ms: *over_ms, at_least: share(*parts) },
        });
        ServicePlan { service: member.label.clone(), objectives: std::iter::once(success).chain(latency).collect() }
    });
    let defaults = Plan::default();
    // All lanes together may take back no more good releases than one would.
    let lanes = f64::from(u32::try_from(release.lanes.len()).unwrap_or(1).max(1));
    Plan {
        lane: lane.to_owned(),
        method: match analysis.method {
            Method::Sequential => graylane_analysis::Method::Sequential,
            Method::Consecutive => graylane_analysis::Method::Consecutive,
        },
        alpha: defaults.alpha / lanes,
        margin: 1.0 + share(analysis.relative),
        floor: share(analysis.absolute),
        min_requests: analysis.min_requests.into(),
        warm_up_ms: analysis.warmup_ms,
        expects_share: !sends_strangers_to_stable(release),
        fallback_budget: share(analysis.fallbacks),
        integrity_floor: share(analysis.integrity),
        services: services.chain(answers::plan(release, analysis)).collect(),
        ..defaults
    }
}

/// Whether sidecars choose lanes and send what has no unit to stable: then fewer are chosen than the weight says.
fn sends_strangers_to_stable(release: &Release) -> bool {
    let entry = &release.plan.entry;
    let has_sidecars = !entry.inbound.is_empty() || !entry.outbound.is_empty();
    has_sidecars && release.stickiness.no_unit == NoUnit::Stable
}

// === impl Judgement ===

impl Judgement {
    /// Whether every lane has passed.
    pub fn has_passed(&self) -> bool {
        !self.lanes.is_empty() && self.lanes.values().all(|lane| lane.verdict.outcome == Outcome::Pass)
    }

    /// The first lane with an outcome.
    pub fn first(&self, outcome: Outcome) -> Option<(&str, &LaneJudgement)> {
        let mut lanes = self.lanes.iter().filter(|(_, judged)| judged.verdict.outcome == outcome);
        lanes.next().map(|(lane, judged)| (lane.as_str(), judged))
    }

    /// Why no weight may grow for want of answers, if so.
    pub fn unanswered(&self) -> Option<&str> {
        self.lanes.values().find_map(|judged| judged.unanswered.as_deref())
    }

    /// Whether some lane has had nothing to be judged by for a while.
    pub fn is_silent(&self) -> bool {
        self.lanes.values().any(|judged| judged.verdict.no_data_since_ms.is_some())
    }
}
