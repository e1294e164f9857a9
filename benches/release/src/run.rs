//! One release: the shipped engine steers and judges it, and the other rules judge the same users.

use graylane_analysis::{Outcome, Plan};

use crate::brake::Brake;
use crate::others::Others;
use crate::pilot::{Pilot, brake_evidence};
use crate::record::Record;
use crate::scenario::{Scenario, Truth};
use crate::share::real;
use crate::trace::Trace;
use crate::truth::{self, Facts};
use crate::world::Flow;

/// When everything begins, in Unix milliseconds.
pub const START_MS: u64 = 1_800_000_000_000;
/// The release waits for so long until its pods are ready; stable is counted meanwhile.
pub const LEAD_S: u64 = 30;
/// The rules other than ours decide within the handbook's flow of four minutes.
pub const RIVAL_S: u64 = 240;
/// A release that is not verified by then is unverified; on the ramp half of it. Pauses do not count.
pub const HORIZON_S: u64 = 600;
/// Weight while a release is judged at one weight.
pub const WEIGHT: f64 = 0.1;
/// One that is verified has so much longer for its bake.
const BAKE_S: u64 = 120;
/// A person resumes a paused release when it has had nothing to say against it for so long.
const CALM_S: u64 = 60;
/// A change reaches the proxies after so long; also the length of a step of the traffic.
const HALF_MS: u64 = 500;

/// How the weight moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// 10% until it is handed over, so that all rules see the same.
    Fixed,
    /// A step `auto`: as far as the evidence allows, up to all but the holdback.
    Auto,
}

/// Runs a release.
pub fn run(scenario: &Scenario, drive: Drive) -> Record {
    let mut run = Run::new(scenario, drive);
    let mut second = 0;
    while !run.is_over(second) {
        run.second(second);
        second += 1;
    }
    run.finish()
}

struct Run {
    scenario: Scenario,
    drive: Drive,
    plan: Plan,
    pilot: Pilot,
    ours: Trace,
    brake: Brake,
    others: Others,
    facts: Facts,
    opened_ms: Option<u64>,
    verified_s: Option<f64>,
    decided_s: Option<f64>,
    /// Half seconds until what was decided is in force.
    lasts: u32,
    /// Seconds it was paused for a person, and since when there has been no reason.
    paused_s: u64,
    calm_s: u64,
    weight: f64,
    failed: u64,
    requests: u64,
    now_ms: u64,
}

// === impl Run ===

impl Run {
    fn new(scenario: &Scenario, drive: Drive) -> Self {
        let ours = Trace::new(scenario);
        let pilot = Pilot::new(drive, ours.proxies.names(), START_MS);
        Self {
            scenario: scenario.clone(),
            drive,
            plan: pilot.plan(),
            pilot,
            ours,
            brake: Brake::new(scenario, brake_evidence(drive)),
            others: Others::new(scenario, drive),
            facts: Facts::default(),
            opened_ms: None,
            verified_s: None,
            decided_s: None,
            lasts: 0,
            paused_s: 0,
            calm_s: 0,
            weight: 0.0,
            failed: 0,
            requests: 0,
            now_ms: START_MS,
        }
    }

    /// Traffic and readings, then verdict and decision.
    fn second(&mut self, second: u64) {
        let mut readings = Vec::new();
        for half in [0, 1] {
            let from_ms = START_MS + second * 1000 + half * HALF_MS;
            if half == 1 && self.decided_s.is_none() {
                self.pilot.push(from_ms);
                self.note_weight(from_ms);
            }
            self.half(from_ms);
            if self.decided_s.is_none() {
                readings.extend(self.ours.read(from_ms + HALF_MS, half == 0));
            }
        }
        self.others.close();
        self.now_ms = START_MS + (second + 1) * 1000;
        if self.decided_s.is_none() {
            if second + 1 >= LEAD_S && self.opened_ms.is_none() {
                self.pilot.get_ready();
            }
            self.pilot.look(readings, self.now_ms);
            self.heed();
        }
    }

    fn note_weight(&mut self, now_ms: u64) {
        if self.pilot.weight() > 0.0 {
            self.opened_ms.get_or_insert(now_ms);
            self.others.open();
        }
        self.weight = self.weight.max(self.pilot.weight());
    }

    /// Half a second of traffic.
    fn half(&mut self, from_ms: u64) {
        let at_s = real(from_ms - START_MS) / 1000.0 - real(LEAD_S);
        let mut seen = None;
        if self.decided_s.is_none() || self.lasts > 0 {
            self.lasts = self.lasts.saturating_sub(1);
            let flows = self.ours.step(at_s, self.pilot.weight(), self.brake.is_on());
            if self.opened_ms.is_some() {
                self.failed += flows[0][0].failed();
                self.requests += flows[0][0].called + flows[1][0].called;
                self.mind_brake(&flows, from_ms + HALF_MS);
            }
            seen = Some(flows);
        }
        let theirs = self.others.step(at_s, seen.as_ref());
        // What a brake or a decision of ours has changed is no fact of the version.
        if let Some(flows) = theirs.or(seen.filter(|_| !self.others.are_apart()))
            && self.opened_ms.is_some()
        {
            self.facts.add(&flows, !self.scenario.has_outage(at_s));
        }
    }

    fn mind_brake(&mut self, flows: &[Flow; 2], now_ms: u64) {
        self.brake.follow(self.pilot.released(), self.ours.proxies.gateway_began_ms(), now_ms);
        self.brake.watch(flows, &self.ours.users, now_ms);
        if self.brake.is_on() {
            self.others.part(&self.ours.world);
        }
    }

    /// What has become of it with this second.
    fn heed(&mut self) {
        let outcome = self.pilot.outcome();
        if outcome == Outcome::Pause {
            self.look_after();
        }
        if self.pilot.is_verified() {
            let since = self.since_s(self.now_ms);
            self.verified_s.get_or_insert(since);
        }
        if matches!(outcome, Outcome::Pass | Outcome::Fail) {
            self.decided_s = Some(self.since_s(self.now_ms));
            self.lasts = u32::from(outcome == Outcome::Fail);
            self.others.part(&self.ours.world);
        }
    }

    /// The person who is called when a release is paused.
    fn look_after(&mut self) {
        self.paused_s += 1;
        let has_reason = self.pilot.verdict().is_none_or(|verdict| verdict.outcome == Outcome::Pause);
        self.calm_s = if has_reason { 0 } else { self.calm_s + 1 };
        if self.calm_s >= CALM_S {
            self.calm_s = 0;
            self.pilot.resume(self.now_ms);
        }
    }

    /// Seconds from the lane's first request.
    fn since_s(&self, at_ms: u64) -> f64 {
        real(at_ms.saturating_sub(self.opened_ms.unwrap_or(at_ms))) / 1000.0
    }

    fn is_over(&self, second: u64) -> bool {
        let horizon = LEAD_S + if self.drive == Drive::Fixed { HORIZON_S } else { HORIZON_S / 2 };
        let last = horizon + self.paused_s.min(horizon) + if self.verified_s.is_some() { BAKE_S } else { 0 };
        let is_clear = self.scenario.truth == Truth::Bad && self.others.have_decided();
        second >= last || (self.decided_s.is_some() && self.lasts == 0 && (is_clear || self.others.are_done()))
    }

    fn finish(self) -> Record {
        let outcome = match self.pilot.outcome() {
            Outcome::Wait => Outcome::Unverified,
            outcome => outcome,
        };
        let failure = self.pilot.failure();
        let fault = failure.and_then(|failure| failure.fault.as_ref());
        Record {
            outcome,
            decided_s: self.decided_s.unwrap_or_else(|| self.since_s(self.now_ms)),
            verified_s: self.verified_s,
            reason: failure.map_or_else(|| self.pilot.words(), |failure| failure.message.clone()),
            pause: self.pilot.verdict().and_then(|verdict| verdict.pause),
            was_paused: self.paused_s > 0,
            located: failure.map(|_| truth::located(&self.scenario, fault)),
            named_late_ms: fault.and_then(|fault| truth::named_late_ms(fault, &self.ours.world)),
            braked_s: self.brake.tripped_ms.map(|at| self.since_s(at)),
            is_braked: self.pilot.is_braked(),
            released: self.pilot.released(),
            weight: self.weight,
            failed: self.failed,
            requests: self.requests,
            needs: truth::needs(&self.scenario, &self.facts, &self.plan, &self.ours.world),
            is_above: truth::is_above(&self.scenario, &self.facts),
            rivals: self.others.end(),
            scenario: self.scenario,
        }
    }
}
