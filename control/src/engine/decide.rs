//! Decides what becomes of a release: pure, with the time passed in. From a status and what is seen it
//! makes the next status, what has to be done, and when to look again.
//!
//! One call makes at most the transitions that need no further look at the world; the caller writes the
//! status down before it acts on it, so that a controller killed anywhere goes on where it was. The same
//! input always gives the same output, and deciding again on one's own output changes nothing.

mod argo;
mod conditions;
mod gates;
mod handover;
mod judgement;
mod leave;
mod requests;
mod steps;
mod streams;
mod words;

use graylane_policy::slots::SlotTable;

use super::Millis;
use super::seen::Seen;
use super::status::{Exposure, Handover, HandoverStage, Pause, PauseReason, Phase, Status, WaitReason, Waiting};
use crate::release::Release;
use crate::release::finding::{Finding, Findings};

/// What has been decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The next status.
    pub status: Status,
    /// What has to be done once the status is kept, in order.
    pub actions: Vec<Action>,
    /// When to decide again even if nothing is heard.
    pub wake_at: Option<Millis>,
}

/// Something to be done. Each can be done twice without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keep the object from disappearing.
    Hold,
    /// Let the deleted object disappear.
    LetGo,
    /// Give the stable workload of a service the promoted lane's version.
    CopyTemplate {
        /// The service.
        service: String,
    },
    /// Give the stable workload of a service the version it had.
    Restore {
        /// The service.
        service: String,
        /// What it had.
        revision: String,
    },
    /// Make the new version of a member's Rollout stable, whatever steps it has left.
    PromoteRollout {
        /// The service.
        service: String,
    },
    /// Give everything back to the stable version of a member's Rollout.
    AbortRollout {
        /// The service.
        service: String,
    },
}

/// Decides.
///
/// `spec` is what the release says, or what is wrong with it.
pub fn decide(spec: &Result<Release, Findings>, status: &Status, seen: &Seen, now: Millis) -> Decision {
    let leader = spec.as_ref().ok().and_then(|release| release.plan.leader.as_deref());
    let mut machine = Machine {
        leader,
        seen,
        now,
        status: status.clone(),
        actions: Vec::new(),
        wake_at: None,
        begins_handover: false,
        begins_rollback: false,
    };
    machine.status.proxies = machine.proxies();
    match spec {
        _ if seen.deleting => machine.withdraw(spec.as_ref().ok()),
        Err(findings) => machine.refuse(findings),
        Ok(release) => machine.go_on(release),
    }
    machine.refresh_judgement(status);
    machine.count_streams(status, spec.as_ref().ok());
    machine.abort_rollouts();
    machine.status.message = words::message(spec.as_ref().ok(), &machine.status);
    conditions::set(&mut machine.status, spec, now);
    Decision { status: machine.status, actions: machine.actions, wake_at: machine.wake_at }
}

/// The status at work.
struct Machine<'a> {
    seen: &'a Seen,
    now: Millis,
    status: Status,
    actions: Vec<Action>,
    wake_at: Option<Millis>,
    /// The Rollout that leads, if one does.
    leader: Option<&'a str>,
    /// True when a handover begins with this decision: what is seen of workloads is not about it yet.
    begins_handover: bool,
    /// True when the way back begins with this decision: what proxies are seen to run still has the lanes.
    begins_rollback: bool,
}

/// How many proxies a status names.
const NAMED: usize = 10;
/// Whether Prometheus understands the questions is looked at again after this.
const UNASKED_MS: Millis = 250;

// === impl Machine ===

impl Machine<'_> {
    /// A release whose spec is right.
    fn go_on(&mut self, release: &Release) {
        self.status.observed_generation = self.seen.generation;
        if release.plan.leader.is_none() {
            self.status.steps = u32::try_from(release.plan.steps.len()).unwrap_or(u32::MAX);
        }
        self.status.last_versions.clear();
        self.note_readiness(release);
        self.answer();
        match self.status.phase {
            Phase::Pending | Phase::Invalid => self.begin(release),
            Phase::Progressing | Phase::Paused => {
                if !(self.heed_rollouts(release) || self.judge(release)) {
                    self.progress(release);
                }
            }
            Phase::Promoting if self.begins_handover => {}
            Phase::Promoting => {
                let may_go_back = self.status.may_take_back_handover() && !self.has_promoted_rollout();
                if !(self.heed_rollouts(release) || may_go_back && self.judge(release)) {
                    self.hand_over(release);
                }
            }
            Phase::RollingBack if self.begins_rollback => {}
            Phase::RollingBack => self.finish_rollback(Some(release)),
            Phase::RolledBack | Phase::Succeeded => self.begin_again(release),
        }
    }

    /// A release whose spec is wrong. One that has not moved waits for a better one. One that runs keeps
    /// its weights and its config, the last that was right, as far as its versions can serve; it can be taken
    /// back all the same.
    fn refuse(&mut self, findings: &Findings) {
        self.status.observed_generation = self.seen.generation;
        self.status.last_versions = self.seen.versions.keys().cloned().collect();
        self.note_unready(self.seen.versions.keys().cloned());
        self.answer_abort();
        match self.status.phase {
            Phase::Pending | Phase::Invalid => self.is_invalid(findings.to_string()),
            Phase::RollingBack if self.begins_rollback => {}
            Phase::RollingBack => self.finish_rollback(None),
            _ => {}
        }
    }

    /// It cannot begin. Who mends one thing hears of the next.
    fn is_invalid(&mut self, why: String) {
        let told = self.status.history.iter().rev().find(|entry| entry.reason == "Invalid");
        if self.status.phase != Phase::Invalid || told.is_none_or(|entry| entry.message != why) {
            self.note("Invalid", why);
        }
        self.status.phase = Phase::Invalid;
        self.status.waiting = None;
    }

    fn begin(&mut self, release: &Release) {
        if !self.seen.problems.is_empty() {
            return self.is_invalid(lines(&self.seen.problems));
        }
        self.status.phase = Phase::Pending;
        if let Some(unasked) = &self.seen.unasked {
            self.wake_by(self.now.saturating_add(UNASKED_MS));
            return self.wait(WaitReason::Evidence, unasked.clone());
        }
        if let Some(other) = &self.seen.busy {
            let message = format!("release {other} has the group `{}`; this one waits for its end", release.group);
            return self.wait(WaitReason::GroupBusy, message);
        }
        if self.seen.stopped {
            return self.wait_for_stop();
        }
        if self.awaits_new_version(release) {
            return;
        }
        self.actions.push(Action::Hold);
        self.start_attempt(release);
        self.progress(release);
    }

    fn start_attempt(&mut self, release: &Release) {
        self.status.attempt += 1;
        self.status.salt = crate::build::salt(release, self.status.attempt);
        self.status.set_table(&SlotTable::all_stable());
        self.status.exposure = Exposure::Full;
        self.status.phase = Phase::Progressing;
        self.status.handover = None;
        self.status.pause = None;
        self.status.full = false;
        self.status.judged_since_ms = self.now;
        self.status.analysis.clear();
        self.status.failure = None;
        self.status.brake = None;
        self.note_versions();
        self.go_to_step(0);
        let attempt = self.status.attempt;
        self.note("Started", format!("attempt {attempt}: everybody is on stable, rules are in force"));
    }

    /// What of the lanes can serve now. It goes into the config as it comes, in every phase.
    fn note_readiness(&mut self, release: &Release) {
        let versions = release.members.iter().flat_map(|member| {
            member.lanes.iter().map(|lane| crate::build::Version { service: member.label.clone(), lane: lane.clone() })
        });
        self.note_unready(versions);
    }

    fn note_unready(&mut self, versions: impl Iterator<Item = crate::build::Version>) {
        let is_ready = |version: &crate::build::Version| {
            self.seen.versions.get(version).is_some_and(|replicas| replicas.ready > 0)
        };
        self.status.not_ready = versions.filter(|version| !is_ready(version)).collect();
    }

    fn proxies(&self) -> super::status::ProxyCount {
        let arrival = &self.seen.arrival;
        if !arrival.known {
            return self.status.proxies.clone();
        }
        super::status::ProxyCount {
            expected: arrival.expected,
            acknowledged: arrival.acknowledged,
            missing: arrival.missing.iter().take(NAMED).cloned().collect(),
        }
    }

    fn go_to_step(&mut self, step: u32) {
        self.status.step = step;
        self.status.step_since_ms = self.now;
        self.status.waiting = None;
    }

    /// Waits, and remembers since when as long as the reason stays.
    fn wait(&mut self, reason: WaitReason, message: String) {
        let since_ms = match &self.status.waiting {
            Some(waiting) if waiting.reason == reason => waiting.since_ms,
            _ => self.now,
        };
        self.status.waiting = Some(Waiting { reason, message, since_ms });
    }

    fn wait_for_stop(&mut self) {
        let mend = "the config of its proxies was stopped by hand; `graylane stop --undo` with the `-n`, `--release` or \
                    `--local` that it was stopped by lifts that";
        self.wait(WaitReason::Stopped, mend.into());
    }

    fn pause(&mut self, reason: PauseReason, message: impl Into<String>, until_ms: Option<Millis>) {
        let message = message.into();
        if self.status.pause.as_ref().is_none_or(|pause| pause.reason != reason) {
            self.note("Paused", message.clone());
            self.status.pause = Some(Pause { reason, message, since_ms: self.now, until_ms });
        }
        self.status.phase = Phase::Paused;
        self.status.waiting = None;
    }

    fn end_pause(&mut self) {
        self.status.pause = None;
        self.status.phase = Phase::Progressing;
    }

    fn begin_handover(&mut self, undo: bool) {
        let before = self.status.handover.take().unwrap_or_default();
        let revisions = if undo { before.revisions } else { Default::default() };
        let lanes_left_ms = match (undo, self.status.phase) {
            (false, _) => 0,
            // An undo that is asked for once more goes on.
            (true, _) if before.undo => before.lanes_left_ms,
            (true, Phase::Promoting) => self.now,
            (true, _) => 0,
        };
        self.status.handover = Some(Handover { stage: HandoverStage::Copying, revisions, undo, lanes_left_ms });
        self.status.phase = Phase::Promoting;
        self.begins_handover = true;
        self.status.pause = None;
        self.status.waiting = None;
        self.status.step_since_ms = self.now;
    }

    /// Has the release looked at again at this time, if not sooner.
    fn wake_by(&mut self, at: Millis) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }

    fn note(&mut self, reason: &str, message: impl Into<String>) {
        self.status.note(self.now, reason, message);
    }
}

/// Problems on one line each, as they stand in a condition.
fn lines(findings: &[Finding]) -> String {
    Findings(findings.to_vec()).to_string()
}
