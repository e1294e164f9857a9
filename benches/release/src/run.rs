//! One release under all rules, on one trace.

use graylane_analysis::judge::{Arm, PauseCause};
use graylane_analysis::{Evidence, Interval, Ledger, Objective, ObjectiveKind, Outcome, Plan, ServicePlan, Verdict};

use crate::brake::Brake;
use crate::proxies::{LANE, Proxies};
use crate::rivals::{KINDS, Rival};
use crate::scenario::{FAST, SERVICES, SLOW_MS, SUCCESS, Scenario, Truth};
use crate::truth;
use crate::units::Units;
use crate::world::{Flow, STEP_S, World};

/// Stable is watched for so long before the lane opens: its pods are being started meanwhile.
pub const LEAD_S: u64 = 30;
/// The rules other than ours decide within the handbook's flow of four minutes.
pub const RIVAL_S: u64 = 240;
/// A release that is not decided by then is unverified.
pub const HORIZON_S: u64 = 600;
/// A verified release is watched for so long before it counts as promoted: the least duration of an
/// analysis at one weight, and the bake after a ramp.
pub const BAKE_S: u64 = 60;
/// Weight while a release is judged at one weight.
pub const WEIGHT: f64 = 0.1;

/// The largest weight: the rest is the holdback.
pub const TOP: f64 = 0.98;

/// How the weight moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// 10% all the time, so that all rules see the same.
    Fixed,
    /// As far as the evidence allows, up to 98%; a change is in force 1 s after the verdict.
    Auto,
}

/// What became of a release.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its scenario.
    pub scenario: Scenario,
    /// Our last word.
    pub outcome: Outcome,
    /// Seconds from the lane's first request to it.
    pub decided_s: u64,
    /// Seconds to the first verdict "pass" at the last weight.
    pub verified_s: Option<u64>,
    /// The verdict in words.
    pub reason: String,
    /// Why it is paused.
    pub pause: Option<PauseCause>,
    /// Whether it was paused at any time.
    pub was_paused: bool,
    /// The faulty hop was named, with how it failed.
    pub located: Option<bool>,
    /// Milliseconds from the lane's first request until the gateway's brake would have tripped.
    pub braked_ms: Option<u64>,
    /// The largest weight that was reached.
    pub weight: f64,
    /// Users' requests that the lane failed until our decision.
    pub failed: u64,
    /// Users' requests in that time.
    pub requests: u64,
    /// For every other rule: when it took the lane back, and the failures until then or its end.
    pub rivals: Vec<(Option<u64>, u64)>,
    /// Requests that the verdict needs on average at the true rates, as a share of those the horizon has.
    pub needs: f64,
}

/// Runs a release.
pub fn run(scenario: &Scenario, drive: Drive) -> Record {
    let mut run = Run::new(scenario, drive);
    let last = LEAD_S + if drive == Drive::Fixed { HORIZON_S } else { HORIZON_S / 2 };
    for second in 0..last {
        run.second(second);
        if run.is_over(second) {
            break;
        }
    }
    run.finish()
}

/// The plan of every release.
pub fn plan() -> Plan {
    let objectives = || {
        let success = Objective { name: "success".into(), kind: ObjectiveKind::SuccessRate { at_least: SUCCESS } };
        let kind = ObjectiveKind::Latency { over_ms: SLOW_MS, at_least: FAST };
        vec![success, Objective { name: "p95".into(), kind }]
    };
    let service = |name: &&str| ServicePlan { service: (*name).to_owned(), objectives: objectives() };
    Plan { lane: LANE.into(), services: SERVICES.iter().map(service).collect(), ..Plan::default() }
}

pub(crate) struct Run {
    pub(crate) scenario: Scenario,
    drive: Drive,
    pub(crate) plan: Plan,
    pub(crate) world: World,
    proxies: Proxies,
    units: Units,
    ledger: Ledger,
    evidence: Evidence,
    brake: Brake,
    rivals: Vec<Rival>,
    rival_failed: Vec<u64>,
    weight: f64,
    wanted: f64,
    top_weight: f64,
    changed: bool,
    decided: Option<(u64, Verdict)>,
    verified_s: Option<u64>,
    last: Option<Verdict>,
    was_paused: bool,
    failed: u64,
    requests: u64,
    pub(crate) truth: [[Arm; 2]; SERVICES.len()],
    pub(crate) lane_requests: [u64; SERVICES.len()],
    pub(crate) seconds: u64,
}

// === impl Run ===

impl Run {
    fn new(scenario: &Scenario, drive: Drive) -> Self {
        let before = (scenario.rps, scenario.rps * scenario.base.iter().sum::<f64>());
        let proxies = Proxies::new(scenario);
        let mut ledger = Ledger::new(0);
        ledger.expect(proxies.names());
        Self {
            scenario: scenario.clone(),
            drive,
            plan: plan(),
            world: World::new(scenario),
            proxies,
            units: Units::new(scenario),
            ledger,
            evidence: Evidence::default(),
            brake: Brake::new(scenario),
            rivals: KINDS.iter().map(|kind| Rival::new(*kind, before)).collect(),
            rival_failed: vec![0; KINDS.len()],
            weight: 0.0,
            wanted: 0.0,
            top_weight: 0.0,
            changed: true,
            decided: None,
            verified_s: None,
            last: None,
            was_paused: false,
            failed: 0,
            requests: 0,
            truth: Default::default(),
            lane_requests: Default::default(),
            seconds: 0,
        }
    }

    /// One second: traffic, readings, verdict, weight.
    fn second(&mut self, second: u64) {
        self.steer(second);
        for half in 0..2_u32 {
            let at_s = at(second) - at(LEAD_S) + f64::from(half) * STEP_S;
            let flows = self.world.step(at_s, self.weight);
            self.proxies.count(&flows);
            let users = self.world.failing_users(self.weight, at_s);
            self.proxies.count_units(&self.units.of(&self.world, self.weight, &flows[0][0], &users));
            self.account(&flows, at_s);
            let at_ms = second * 1000 + 500 * u64::from(half + 1);
            if self.weight > 0.0 && self.decided.is_none() {
                self.brake.watch(&flows, &users, at_ms);
            }
            self.proxies.read(at_ms, half == 0).into_iter().for_each(|reading| self.ledger.take(reading));
        }
        let now = (second + 1) * 1000;
        let mut interval = self.ledger.close(now);
        if !self.changed {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a weight")]
            interval.weights.insert(LANE.into(), (self.weight * 10_000.0) as u32);
        }
        self.judge(&interval, second, now);
    }

    fn steer(&mut self, second: u64) {
        let weight = match self.drive {
            _ if second < LEAD_S => 0.0,
            Drive::Fixed => WEIGHT,
            Drive::Auto if self.weight == 0.0 => 0.01,
            Drive::Auto => self.wanted.max(self.weight),
        };
        self.changed = (weight - self.weight).abs() > f64::EPSILON;
        self.weight = weight;
        self.top_weight = self.top_weight.max(weight);
    }

    fn judge(&mut self, interval: &Interval, second: u64, now: u64) {
        if self.weight > 0.0 {
            self.seconds = second + 1 - LEAD_S;
            if self.seconds <= RIVAL_S {
                self.rivals.iter_mut().for_each(|rival| rival.observe(interval));
            }
        }
        if self.decided.is_some() {
            return;
        }
        self.evidence.observe(&self.plan, interval);
        let verdict = self.evidence.verdict(&self.plan, now);
        self.was_paused |= verdict.outcome == Outcome::Pause;
        if self.drive == Drive::Auto && self.weight > 0.0 && verdict.outcome != Outcome::Pause {
            let allowed = f64::from(verdict.allowed_weight) / 10_000.0;
            // A change that is hardly one is not worth a push.
            let is_worth = allowed >= 1.2 * self.weight || allowed >= TOP;
            self.wanted = if is_worth { allowed.min(TOP) } else { self.weight };
        }
        let passes = verdict.outcome == Outcome::Pass && (self.drive == Drive::Fixed || self.weight >= TOP);
        if passes {
            self.verified_s.get_or_insert(self.seconds);
        }
        let watched_s =
            self.seconds - if self.drive == Drive::Fixed { 0 } else { self.verified_s.unwrap_or(0).min(self.seconds) };
        if verdict.outcome == Outcome::Fail || (passes && watched_s >= BAKE_S) {
            self.decided = Some((self.seconds, verdict));
        } else {
            self.last = Some(verdict);
        }
    }

    /// The truth, for the figures only.
    fn account(&mut self, flows: &[Flow; 2], at_s: f64) {
        if self.weight == 0.0 {
            return;
        }
        let natural = !self.scenario.has_outage(at_s);
        for (hop, (lane, stable)) in flows[0].iter().zip(&flows[1]).enumerate() {
            self.lane_requests[hop] += lane.called;
            if natural {
                self.truth[hop][0].add(Arm::new(stable.called, stable.failed()));
                self.truth[hop][1].add(Arm::new(stable.called, stable.slow));
            }
        }
        let lane = flows[0][0];
        if self.decided.is_none() {
            self.failed += lane.failed();
            self.requests += lane.called + flows[1][0].called;
        }
        for (rival, failed) in self.rivals.iter().zip(&mut self.rival_failed) {
            if rival.decided_s.is_none() && self.seconds < RIVAL_S {
                *failed += lane.failed();
            }
        }
    }

    fn is_over(&self, second: u64) -> bool {
        let rivals = self.drive == Drive::Auto
            || second + 1 >= LEAD_S + RIVAL_S
            || (self.scenario.truth == Truth::Bad && self.rivals.iter().all(|rival| rival.decided_s.is_some()));
        self.decided.is_some() && rivals
    }

    fn finish(self) -> Record {
        let needs = truth::needs(&self);
        let (decided_s, verdict) = match (self.decided, self.last) {
            (Some((at, verdict)), _) => (at, Some(verdict)),
            (None, last) => (self.seconds, last),
        };
        let outcome = match verdict.as_ref().map(|verdict| verdict.outcome) {
            Some(Outcome::Wait) | None => Outcome::Unverified,
            Some(outcome) => outcome,
        };
        Record {
            located: verdict
                .as_ref()
                .filter(|_| outcome == Outcome::Fail)
                .map(|verdict| truth::located(&self.scenario, verdict)),
            braked_ms: self.brake.tripped_ms.map(|at| at.saturating_sub(LEAD_S * 1000)),
            pause: verdict.as_ref().and_then(|verdict| verdict.pause),
            reason: verdict.as_ref().map(|verdict| verdict.reason.clone()).unwrap_or_default(),
            scenario: self.scenario,
            outcome,
            decided_s,
            was_paused: self.was_paused,
            verified_s: self.verified_s,
            weight: self.top_weight,
            failed: self.failed,
            requests: self.requests,
            rivals: self.rivals.iter().map(|rival| rival.decided_s).zip(self.rival_failed).collect(),
            needs,
        }
    }
}

pub(crate) fn at(seconds: u64) -> f64 {
    real(seconds)
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}
