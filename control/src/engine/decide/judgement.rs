//! What follows from a verdict.

use graylane_analysis::{Fault, FaultKind, Finding, Outcome, Verdict};

use super::Machine;
use crate::engine::Millis;
use crate::engine::judging::{Judgement, told};
use crate::engine::status::{PauseReason, Phase, Status, WaitReason};
use crate::engine::verdict::{Failure, LaneAnalysis};
use crate::release::plan::{Auto, OnFailure};
use crate::release::units::percent;
use crate::release::{OnNoData, Release};

/// The evidence is written down this often.
const CHECKPOINT_MS: Millis = 10_000;
/// A judgement is looked at again after this.
const AGAIN_MS: Millis = 1_000;
/// A weight that grows by itself at least grows by this factor, of 100: each change is a push.
const GROWTH: u32 = 150;
/// A brake that is not confirmed for so long is released. What was on its way has been counted by then, and nothing
/// more comes; a version that was only cold has had its warm-up.
const BRAKED_MS: Millis = 10_000;
/// So often in one attempt.
const RELEASES: u32 = 3;
/// So many traces are told in one sentence; the status has more.
const TOLD_TRACES: usize = 3;
/// The last requests of a lane are waited for this long after the lane is gone.
const LAST_REQUESTS_MS: Millis = 5_000;

// === impl Machine ===

impl<'a> Machine<'a> {
    /// What the counts say. What was counted before a person resumed or tried again says nothing any more.
    fn judgement(&self) -> Option<&'a Judgement> {
        let run = (self.status.attempt, self.status.judged_since_ms);
        self.seen.judgement.as_ref().filter(|judgement| judgement.run == run)
    }

    /// Takes a verdict up. True when it ends the way of the release for now.
    pub(super) fn judge(&mut self, release: &Release) -> bool {
        let Some(judgement) = self.judgement() else { return false };
        self.note_judgement(judgement);
        self.wake_by(self.now.saturating_add(AGAIN_MS));
        if let Some((lane, judged)) = judgement.first(Outcome::Fail) {
            return self.fail(release, lane, &judged.verdict);
        }
        self.note_brake(judgement);
        let stopped = self.status.pause.as_ref().is_some_and(|pause| {
            matches!(pause.reason, PauseReason::Failure | PauseReason::Asked | PauseReason::Judgement)
        });
        if let Some((lane, judged)) = judgement.first(Outcome::Pause)
            && !stopped
            && self.status.phase != Phase::Promoting
        {
            self.pause(PauseReason::Judgement, format!("{lane}: {}", judged.verdict.reason), None);
            return true;
        }
        false
    }

    /// A brake stops what looks like harm to one proxy. All counts together confirm it soon, or it is
    /// released; when it trips again and again, a person has to look.
    fn note_brake(&mut self, judgement: &Judgement) {
        let mut brake = self.status.brake.unwrap_or_default();
        match (brake.since_ms, judgement.is_braked) {
            (None, true) => {
                brake.since_ms = Some(self.now);
                self.note("Braked", "a proxy keeps its users out of the lane: it saw them fail there");
            }
            (Some(since), true) if self.now >= since.saturating_add(BRAKED_MS) => {
                brake.since_ms = None;
                brake.released += 1;
                self.note("BrakeReleased", "all counts together do not confirm what the proxy saw");
            }
            (Some(_), false) => brake.since_ms = None,
            _ => {}
        }
        if self.status.brake.unwrap_or_default() != brake {
            self.status.brake = Some(brake);
        }
        let again = "brakes of proxies trip again and again, and all counts together do not confirm them";
        if brake.released > RELEASES && self.status.pause.is_none() {
            self.pause(PauseReason::Judgement, again, None);
        }
    }

    fn fail(&mut self, release: &Release, lane: &str, verdict: &Verdict) -> bool {
        if self.status.pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Failure) {
            return true;
        }
        let message = format!("{lane}: {}", blame(verdict));
        self.status.failure = Some(Failure {
            lane: lane.to_owned(),
            message: message.clone(),
            fault: verdict.fault.clone(),
            decided_ms: self.now,
            confirmed_ms: None,
            last_lane_ms: None,
        });
        let told = format!("{message}{}", examples(verdict));
        match release.plan.on_failure {
            OnFailure::Rollback => self.roll_back("AnalysisFailed", told),
            OnFailure::Pause => {
                self.note("AnalysisFailed", told);
                self.pause(PauseReason::Failure, message, None);
            }
        }
        true
    }

    /// Keeps what was found; evidence that grows is written down only now and then.
    fn note_judgement(&mut self, judgement: &Judgement) {
        if let Some(by) = judgement.turned_back {
            self.note("ClockTurnedBack", format!("by {} s: counting begins anew", by / 1000));
        }
        for (lane, judged) in &judgement.lanes {
            let verdict = &judged.verdict;
            let outcome = told(&self.status, verdict.outcome);
            let before = self.status.analysis.get(lane);
            let same = before.filter(|before| before.outcome == outcome);
            let same_silence = |before: &&LaneAnalysis| before.no_data_since_ms == verdict.no_data_since_ms;
            // The clock may have been turned back since.
            let is_new = |at_ms: Millis| (at_ms..at_ms.saturating_add(CHECKPOINT_MS)).contains(&self.now);
            if same.filter(same_silence).is_some_and(|before| is_new(before.at_ms)) {
                continue;
            }
            let since_ms = same.map_or(self.now, |before| before.since_ms);
            let kept = LaneAnalysis {
                outcome,
                reason: verdict.reason.clone(),
                since_ms,
                at_ms: self.now,
                no_data_since_ms: verdict.no_data_since_ms,
                findings: verdict.findings.clone(),
                evidence: judged.evidence.clone(),
            };
            self.status.analysis.insert(lane.clone(), kept);
        }
    }

    /// Where the status is written anyway, what is known goes with it.
    pub(super) fn refresh_judgement(&mut self, before: &Status) {
        let Some(judgement) = self.judgement() else { return };
        let after = &self.status;
        if (before.phase, before.step, &before.weights) == (after.phase, after.step, &after.weights) {
            return;
        }
        for (lane, kept) in &mut self.status.analysis {
            if let Some(judged) = judgement.lanes.get(lane) {
                kept.reason.clone_from(&judged.verdict.reason);
                kept.findings.clone_from(&judged.verdict.findings);
                kept.evidence = judged.evidence.clone();
                kept.at_ms = self.now;
            }
        }
    }

    /// A step that ends when every lane has passed.
    pub(super) fn verify(&mut self, release: &Release, millis: u64) {
        if self.is_verified() {
            self.note("Verified", "the lane keeps its objectives");
            self.end_pause();
            return self.go_to_step(self.status.step + 1);
        }
        self.await_verdict(release, self.status.step_since_ms.saturating_add(millis));
    }

    /// Whether nothing more has to be shown.
    pub(super) fn is_verified(&self) -> bool {
        self.status.full || self.judgement().is_some_and(Judgement::has_passed)
    }

    /// Waits for the evidence until a time; then nobody can say that the release is good.
    pub(super) fn await_verdict(&mut self, release: &Release, until: Millis) {
        let reason = self.reason();
        if self.now >= until {
            return self.give_up(format!("unverified: {reason}"));
        }
        let silent = self.judgement().is_some_and(Judgement::is_silent);
        if silent && release.plan.analysis.as_ref().is_some_and(|analysis| analysis.on_no_data == OnNoData::Pause) {
            return self.give_up(format!("no data: {reason}"));
        }
        self.status.phase = Phase::Progressing;
        self.status.pause = None;
        self.wait(WaitReason::Evidence, reason);
        self.wake_by(until);
    }

    /// Nobody can say that the release is good, and nothing more is waited for.
    fn give_up(&mut self, reason: String) {
        self.pause(PauseReason::Unverified, reason, None);
        for lane in self.status.analysis.values_mut().filter(|lane| lane.outcome == Outcome::Wait) {
            (lane.outcome, lane.since_ms) = (Outcome::Unverified, self.now);
        }
    }

    /// Why not every lane has passed, as of what is written down: words that change with every request
    /// would be written with every request.
    fn reason(&self) -> String {
        let open = self.status.analysis.iter().filter(|(_, lane)| lane.outcome != Outcome::Pass);
        let texts: Vec<String> = open.map(|(lane, kept)| format!("{lane}: {}", kept.reason)).collect();
        if texts.is_empty() { "nothing has been counted yet".into() } else { texts.join("; ") }
    }

    /// Lets a weight grow as far as the evidence bears it.
    pub(super) fn ramp(&mut self, release: &Release, auto: &Auto) {
        let have = self.status.weights.get(&auto.lane).copied().unwrap_or(0);
        let most = auto.to.min(crate::release::units::WHOLE.saturating_sub(release.plan.holdback));
        let borne = self.judgement().and_then(|judgement| judgement.lanes.get(&auto.lane));
        let borne = borne.map_or(0, |judged| judged.verdict.allowed_weight);
        let grown = if self.status.full { most } else { borne.clamp(auto.from.min(most), most) };
        let is_worth = have == 0 || grown == most || grown.saturating_mul(100) >= have.saturating_mul(GROWTH);
        let is_braked = self.status.brake.is_some_and(|brake| brake.since_ms.is_some());
        if grown > have && is_worth && !is_braked && self.is_taken_up(release) {
            return self.weigh_to(release, &[(auto.lane.clone(), grown)].into());
        }
        if !self.is_taken_up(release) {
            return self.await_proxies(release);
        }
        if have >= most && self.is_verified() {
            self.note("Verified", format!("{} keeps its objectives at {}", auto.lane, percent(have)));
            return self.go_to_step(self.status.step + 1);
        }
        let deadline = release.plan.analysis.as_ref().map_or(0, |analysis| analysis.deadline_ms);
        self.await_verdict(release, self.status.step_since_ms.saturating_add(deadline));
    }

    /// After a failure: notes when proxies have confirmed, and waits a little for the lane's last requests.
    pub(super) fn await_last_requests(&mut self) -> bool {
        let (now, judgement) = (self.now, self.judgement());
        let Some(failure) = &mut self.status.failure else { return false };
        let confirmed = *failure.confirmed_ms.get_or_insert(now);
        let Some(judgement) = judgement else { return false };
        failure.last_lane_ms = judgement.last_lane_ms;
        let is_quiet = judgement.closed_ms >= confirmed.saturating_add(AGAIN_MS);
        let deadline = confirmed.saturating_add(LAST_REQUESTS_MS);
        if is_quiet || now >= deadline {
            return false;
        }
        self.wake_by(now.saturating_add(AGAIN_MS));
        true
    }

    /// How long the way back took, in words.
    pub(super) fn times(&self) -> String {
        let Some(failure) = &self.status.failure else { return String::new() };
        let seconds = |from: Millis, to: Millis| {
            format!("{}.{} s", to.saturating_sub(from) / 1000, to.saturating_sub(from) % 1000 / 100)
        };
        let first = failure.fault.as_ref().map(|fault| fault.first_bad_ms).filter(|first| *first > 0);
        let mut texts = Vec::new();
        texts.extend(
            first.map(|first| format!("decided {} after the first bad request", seconds(first, failure.decided_ms))),
        );
        texts.extend(failure.confirmed_ms.map(|at| format!("confirmed {} later", seconds(failure.decided_ms, at))));
        texts.extend(
            failure
                .last_lane_ms
                .map(|at| format!("the lane served until {} after the decision", seconds(failure.decided_ms, at))),
        );
        texts.join(", ")
    }
}

/// Where to look for single requests, in words: some of those that failed.
fn examples(verdict: &Verdict) -> String {
    let traces = verdict.fault.iter().flat_map(|fault| &fault.traces).take(TOLD_TRACES);
    let traces: Vec<&str> = traces.map(String::as_str).collect();
    if traces.is_empty() { String::new() } else { format!("; see traces {}", traces.join(", ")) }
}

/// What is wrong, said of the hop that is to blame.
fn blame(verdict: &Verdict) -> String {
    if let Some(fault) = verdict.fault.as_ref().filter(|fault| fault.kind == FaultKind::Hanging) {
        // Its own finding knows only those calls that were answered.
        let Fault { service, failures, n, .. } = fault;
        return format!("{service} hangs: its callers gave up on {failures} of {n} calls before any answer");
    }
    let found = verdict.fault.as_ref().and_then(|fault| {
        let is_it = |finding: &&Finding| finding.service == fault.service && finding.objective == fault.objective;
        verdict.findings.iter().find(is_it)
    });
    found.map_or(&verdict.reason, |finding| &finding.reason).clone()
}
