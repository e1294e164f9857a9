//! What the evidence says, in words and numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::{Arm, Pair};
use super::{Evidence, Trial, bound, family, ramp};
use crate::locate::{self, Fault};
use crate::plan::{Method, Objective, ObjectiveKind, Plan};

/// What to do with the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Every objective is verified.
    Pass,
    /// The lane does harm: take it back.
    Fail,
    /// Nothing is decided yet, or there is nothing to decide by.
    Wait,
    /// The horizon passed, and the traffic was too little to verify every objective.
    Unverified,
    /// Something else is wrong; the weights stay and a person decides.
    Pause,
}

/// Why a release is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PauseCause {
    /// Lane and stable break the same objective.
    SharedOutage,
    /// The lane's share of the traffic is far from its weight.
    BrokenRouting,
    /// Stable serves more of the lane's requests than the budget allows.
    Fallbacks,
    /// A workload loses the lane.
    Integrity,
}

/// How an objective stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FindingState {
    /// Verified.
    Kept,
    /// Broken by the lane.
    Broken,
    /// Broken by lane and stable alike.
    BrokenByBoth,
    /// Not decided.
    Open,
    /// No request of the lane yet.
    NoData,
}

/// How one objective of one service stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The service.
    pub service: String,
    /// The objective.
    pub objective: String,
    /// How it stands.
    pub state: FindingState,
    /// The lane's requests that were compared.
    pub n: u64,
    /// Those that broke the objective.
    pub failures: u64,
    /// Stable's requests in the same time.
    pub stable_n: u64,
    /// Those that broke the objective.
    pub stable_failures: u64,
    /// 95% confidence sequence of the lane's rate of failures: valid at all times at once.
    #[schemars(with = "[f64; 2]")]
    pub interval: (f64, f64),
    /// Natural logarithm of the e-value against "the lane is no worse than stable".
    pub log_harm: f64,
    /// Natural logarithm of the e-value against "the lane breaks the objective".
    pub log_kept: f64,
    /// How much more failures scatter than independent ones.
    pub dispersion: f64,
    /// The state in words.
    pub reason: String,
}

/// The verdict on a lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What to do.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub reason: String,
    /// Why it is paused, when it is.
    pub pause: Option<PauseCause>,
    /// Since when there is nothing to judge by, Unix milliseconds.
    pub no_data_since_ms: Option<u64>,
    /// One finding for every service and objective, in the order of the plan.
    pub findings: Vec<Finding>,
    /// Which hop failed, when one did.
    pub fault: Option<Fault>,
    /// The largest weight that the evidence allows, in 1/10,000.
    pub allowed_weight: u32,
}

/// The verdict on evidence.
pub fn of(evidence: &Evidence, plan: &Plan, now: u64) -> Verdict {
    let failing = failing(evidence, plan);
    let findings = findings(evidence, plan, &failing);
    let silent = silence(evidence, plan, now);
    let (outcome, pause, reason) = decide(evidence, plan, &findings, silent, now);
    let fault = (outcome == Outcome::Fail).then(|| locate::locate(evidence, plan, &failing)).flatten();
    let allowed_weight = if outcome == Outcome::Fail { 0 } else { ramp::allowed(evidence, plan) };
    Verdict { outcome, reason, pause, no_data_since_ms: silent, findings, fault, allowed_weight }
}

fn failing<'a>(evidence: &'a Evidence, plan: &'a Plan) -> Vec<(&'a str, &'a str)> {
    let in_a_row = |service: &str, objective: &Objective| {
        let counts = plan.method == Method::Consecutive || objective.is_value();
        counts && evidence.trial(service, &objective.name).is_some_and(Trial::failed_windows)
    };
    let windows = plan.objectives().filter(|(service, objective)| in_a_row(service, objective));
    let mut failing: Vec<_> = windows.map(|(service, objective)| (service, objective.name.as_str())).collect();
    if plan.method == Method::Sequential {
        failing.extend(family::failing(evidence, plan));
    }
    failing
}

fn silence(evidence: &Evidence, plan: &Plan, now: u64) -> Option<u64> {
    let health = &evidence.health;
    let since = match (health.silent_since_ms, health.last_ms) {
        (Some(since), _) => since,
        (None, Some(last)) => last,
        (None, None) => return None,
    };
    (now.saturating_sub(since) > plan.silence_ms).then_some(since)
}

fn decide(
    evidence: &Evidence,
    plan: &Plan,
    findings: &[Finding],
    silent: Option<u64>,
    now: u64,
) -> (Outcome, Option<PauseCause>, String) {
    let broken = |state: FindingState| findings.iter().find(|finding| finding.state == state);
    if let Some(finding) = broken(FindingState::Broken) {
        return (Outcome::Fail, None, finding.reason.clone());
    }
    if let Some((cause, reason)) = pause(evidence, plan, broken(FindingState::BrokenByBoth)) {
        return (Outcome::Pause, Some(cause), reason);
    }
    if silent.is_some() {
        let missing = &evidence.health.missing;
        let who = if missing.is_empty() { "any proxy".to_owned() } else { missing.join(", ") };
        return (Outcome::Wait, None, format!("no reports from {who}"));
    }
    if !findings.is_empty() && findings.iter().all(|finding| finding.state == FindingState::Kept) {
        return (Outcome::Pass, None, "every objective is verified".into());
    }
    let open = findings.iter().find(|finding| finding.state != FindingState::Kept);
    let reason = open.map_or_else(|| "there is no objective".into(), |finding| finding.reason.clone());
    let first = evidence.trials.values().flat_map(|trials| trials.values()).filter_map(|trial| trial.first_ms).min();
    let over = first.is_some_and(|first| plan.horizon_ms > 0 && now >= first.saturating_add(plan.horizon_ms));
    (if over { Outcome::Unverified } else { Outcome::Wait }, None, reason)
}

fn pause(evidence: &Evidence, plan: &Plan, both: Option<&Finding>) -> Option<(PauseCause, String)> {
    if let Some(finding) = both {
        return Some((PauseCause::SharedOutage, finding.reason.clone()));
    }
    if let Some(service) = evidence.health.falling_back() {
        return Some((
            PauseCause::Fallbacks,
            format!("{service}: too many of the lane's requests are served by stable"),
        ));
    }
    if let Some(workload) = evidence.health.losing() {
        return Some((PauseCause::Integrity, format!("{workload} does not hand the lane on")));
    }
    // Last, because what falls back or gets lost is missing in the lane as well.
    let reason = evidence.health.routing(plan)?;
    Some((PauseCause::BrokenRouting, reason.to_owned()))
}

fn findings(evidence: &Evidence, plan: &Plan, failing: &[(&str, &str)]) -> Vec<Finding> {
    let empty = Trial::default();
    let finding = |(service, objective): (&str, &Objective)| {
        let trial = evidence.trial(service, &objective.name).unwrap_or(&empty);
        let is_failing = failing.contains(&(service, objective.name.as_str()));
        let state = state(plan, trial, objective, is_failing);
        let dispersion = trial.dispersion();
        Finding {
            service: service.to_owned(),
            objective: objective.name.clone(),
            state,
            n: trial.total.lane.n,
            failures: trial.total.lane.bad,
            stable_n: trial.total.stable.n,
            stable_failures: trial.total.stable.bad,
            interval: bound::interval(trial.total.lane, dispersion, 0.05),
            log_harm: trial.harm(),
            log_kept: trial.keep(),
            dispersion,
            reason: words(plan, service, objective, trial, state),
        }
    };
    plan.objectives().map(finding).collect()
}

fn state(plan: &Plan, trial: &Trial, objective: &Objective, is_failing: bool) -> FindingState {
    if is_failing {
        return FindingState::Broken;
    }
    if let ObjectiveKind::Value { .. } = objective.kind {
        return windows(trial);
    }
    if plan.method == Method::Consecutive {
        return match windows(trial) {
            FindingState::NoData if trial.total.lane.n > 0 => FindingState::Open,
            state => state,
        };
    }
    if trial.total.lane.n == 0 {
        return FindingState::NoData;
    }
    let now = trial.recent.sum();
    let breaks = |arm: Arm| bound::is_above(arm, objective.allowed(), trial.dispersion(), 0.001);
    let both_break = trial.both_break(plan, objective, family::needed(plan, objective));
    if both_break || (breaks(now.lane) && breaks(now.stable)) {
        return FindingState::BrokenByBoth;
    }
    let enough = trial.total.lane.n >= plan.min_requests && trial.keep() >= f64::ln(1.0 / plan.alpha_pass);
    let is_suspect = trial.against(plan, objective).is_some_and(|against| against >= f64::ln(20.0));
    if enough && !is_suspect { FindingState::Kept } else { FindingState::Open }
}

/// How stands what is judged by windows.
fn windows(trial: &Trial) -> FindingState {
    let windows = trial.windows;
    if windows.failed() {
        FindingState::BrokenByBoth
    } else if windows.judged == 0 {
        FindingState::NoData
    } else if windows.good >= super::IN_A_ROW {
        FindingState::Kept
    } else {
        FindingState::Open
    }
}

fn window_words(lane: &str, service: &str, name: &str, trial: &Trial, state: FindingState) -> String {
    let windows = trial.windows;
    match state {
        FindingState::Kept => format!("{service} keeps {name}: {} windows in a row were good in {lane}", windows.good),
        FindingState::Broken => format!("{service} breaks {name}: {} windows in a row were bad in {lane}", windows.bad),
        FindingState::BrokenByBoth => {
            let bad = windows.bad;
            format!("{service} breaks {name} in {lane} and in stable alike: {bad} windows in a row; a shared outage")
        }
        FindingState::Open => {
            format!("{service} is not decided on {name}: {} windows judged in {lane}", windows.judged)
        }
        FindingState::NoData => format!("{service} has no window of {name} in {lane} yet"),
    }
}

fn words(plan: &Plan, service: &str, objective: &Objective, trial: &Trial, state: FindingState) -> String {
    if let ObjectiveKind::Value { .. } = objective.kind {
        return window_words(&plan.lane, service, &objective.name, trial, state);
    }
    let (lane, stable) = (trial.total.lane, trial.total.stable);
    let few = if trial.lone > 0 { format!(" ({} by few users)", trial.lone) } else { String::new() };
    let counts =
        format!("{} of {} in {}{few} against {} of {} in stable", lane.bad, lane.n, plan.lane, stable.bad, stable.n);
    let counts = match trial.given_up {
        Pair { lane: Arm { n: 0, .. }, .. } => counts,
        given_up => format!("{counts}, and callers gave up on {} more against {}", given_up.lane.n, given_up.stable.n),
    };
    let name = &objective.name;
    match state {
        FindingState::Kept => format!("{service} keeps {name}: {counts} broke it"),
        FindingState::Broken => format!("{service} breaks {name}: {counts}"),
        FindingState::BrokenByBoth => {
            format!("{service} breaks {name} in {} and in stable alike: {counts}; a shared outage", plan.lane)
        }
        FindingState::Open => format!("{service} is not decided on {name}: {counts} broke it"),
        FindingState::NoData => format!("{service} has served no request in {}", plan.lane),
    }
}
