//! What a release is judged by, checked.

mod check;

use serde::{Deserialize, Serialize};

pub use check::PlanProblem;

/// How the lane is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Method {
    /// E-processes: the verdict comes as soon as the counts carry it.
    #[default]
    Sequential,
    /// The handbook's rule: windows of 30 s, and two in a row below an objective fail.
    Consecutive,
}

/// What an objective measures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ObjectiveKind {
    /// Share of requests that did not fail, at least; 0.99 for "99%".
    SuccessRate {
        /// Between 0 and 1, both left out.
        at_least: f64,
    },
    /// Share of requests that were not slower than a time, at least; p95 under 300 ms is 0.95 at 300.
    Latency {
        /// The time in milliseconds; the filter has to count it.
        over_ms: u32,
        /// Between 0 and 1, both left out.
        at_least: f64,
    },
    /// A number from Prometheus, between bounds. Judged by windows under either method: two in a row outside fail,
    /// unless stable's are outside as well. It says nothing of how many events it rests on, so it has no share in alpha.
    Value {
        /// The least number that is good.
        at_least: Option<f64>,
        /// The greatest number that is good.
        at_most: Option<f64>,
    },
}

/// One objective of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// Its name, unique within the service; the verdict names it.
    pub name: String,
    /// What it measures.
    pub kind: ObjectiveKind,
}

/// A service and what it has to keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePlan {
    /// The `service` label: `name.namespace`.
    pub service: String,
    /// Its objectives.
    pub objectives: Vec<Objective>,
}

/// The checked settings of one lane's judgement.
///
/// `Default` is the only source of defaults, those of `spec.analysis` in a release file too; [`Plan::new`] is the usual
/// way to one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The lane that is judged.
    pub lane: String,
    /// How.
    pub method: Method,
    /// Chance that a good release is ever called bad, over all services and objectives but numbers of Prometheus;
    /// default 0.0005.
    pub alpha: f64,
    /// Chance that a release that breaks an objective is ever called verified; default 0.001.
    pub alpha_pass: f64,
    /// Harm that is accepted, as a factor of stable's rate; default 1.2.
    pub margin: f64,
    /// Harm that is accepted on top of it, as a share of requests; default 0.003. Less is reported and
    /// never rolled back. See [`Plan::floor_of`] for latency.
    pub floor: f64,
    /// Requests of the lane before anything but a failure is said of an objective; default 100.
    pub min_requests: u64,
    /// Failures of the lane without which it is never rolled back; default 3.
    pub min_failures: u64,
    /// Intervals that have to agree before a rollback, at least; default 3. One burst is one interval.
    pub confirmations: u32,
    /// Time after a service's first request in the lane, and after pods of it became ready, during which it may be
    /// slow, in milliseconds; default 10,000. For half of it after the first request failures count only when they
    /// are many.
    pub warm_up_ms: u64,
    /// Share of the expected proxies that have to report; below it nothing is passed. Default 0.8.
    pub quorum: f64,
    /// Time without enough reports after which the verdict says that there is no data; default 3,000.
    pub silence_ms: u64,
    /// Time after the lane's first request until an undecided release is called unverified; 0 is
    /// never, and the default.
    pub horizon_ms: u64,
    /// Share of a service's lane requests that may be served by stable instead; default 0.05.
    pub fallback_budget: f64,
    /// Share of a workload's lane calls that must keep the lane, by what stable's calls lead one to expect; default 0.55,
    /// because a new version may call less often than the old one, which looks the same.
    pub integrity_floor: f64,
    /// Whether a lane that gets far less than its weight counts as broken routing; the default. Not where sidecars choose
    /// and send what has no unit to stable: that is among what they could have put into the lane.
    pub expects_share: bool,
    /// Share of all user requests that may be expected to fail because of the lane while it grows;
    /// default 0.01. Bounds the `auto` ramp.
    pub ramp_budget: f64,
    /// The ramp's first weight, in 1/10,000; default 100 (1%).
    pub ramp_start: u32,
    /// The services and their objectives.
    pub services: Vec<ServicePlan>,
}

// === impl Plan ===

impl Default for Plan {
    fn default() -> Self {
        Self {
            lane: "canary".into(),
            method: Method::default(),
            alpha: 0.0005,
            alpha_pass: 0.001,
            margin: 1.2,
            floor: 0.003,
            min_requests: 100,
            min_failures: 3,
            confirmations: 3,
            warm_up_ms: 10_000,
            quorum: 0.8,
            silence_ms: 3_000,
            horizon_ms: 0,
            fallback_budget: 0.05,
            integrity_floor: 0.55,
            expects_share: true,
            ramp_budget: 0.01,
            ramp_start: 100,
            services: Vec::new(),
        }
    }
}

impl Plan {
    /// A plan with defaults for a lane and its services.
    ///
    /// # Errors
    /// All problems of the settings, as [`Plan::check`] finds them.
    pub fn new(lane: &str, services: Vec<ServicePlan>) -> Result<Self, Vec<PlanProblem>> {
        let plan = Self { lane: lane.to_owned(), services, ..Self::default() };
        plan.check()?;
        Ok(plan)
    }

    /// Harm that is accepted beyond the margin for an objective. Far more requests may be slow than may
    /// fail, so for latency it is at least three tenths of what the objective allows.
    pub fn floor_of(&self, objective: &Objective) -> f64 {
        match objective.kind {
            ObjectiveKind::Latency { .. } => self.floor.max(0.3 * objective.allowed()),
            _ => self.floor,
        }
    }

    /// The share of bad requests above which an objective is broken whatever stable does: what it allows, and three
    /// tenths of that, or the floor where that is less. Between the two a lane is neither taken back nor verified.
    pub fn limit_of(&self, objective: &Objective) -> f64 {
        let allowed = objective.allowed();
        let beyond = match objective.kind {
            ObjectiveKind::Latency { .. } => 0.3 * allowed,
            _ => self.floor.min(0.3 * allowed),
        };
        allowed + beyond
    }

    /// Every pair of service and objective, in the order of the plan.
    pub fn objectives(&self) -> impl Iterator<Item = (&str, &Objective)> {
        self.services
            .iter()
            .flat_map(|service| service.objectives.iter().map(move |objective| (service.service.as_str(), objective)))
    }
}

// === impl Objective ===

impl Objective {
    /// The share of successes it asks for.
    pub fn at_least(&self) -> f64 {
        match self.kind {
            ObjectiveKind::SuccessRate { at_least } | ObjectiveKind::Latency { at_least, .. } => at_least,
            // A number of any unit asks for no share.
            ObjectiveKind::Value { .. } => 0.0,
        }
    }

    /// Whether a number of Prometheus is good enough.
    pub fn is_kept_by(&self, value: f64) -> bool {
        match self.kind {
            ObjectiveKind::Value { at_least, at_most } => {
                at_least.is_none_or(|least| value >= least) && at_most.is_none_or(|most| value <= most)
            }
            _ => value >= self.at_least(),
        }
    }

    /// Whether it is judged by numbers that somebody else made of what happened in a window.
    pub fn is_value(&self) -> bool {
        matches!(self.kind, ObjectiveKind::Value { .. })
    }

    /// The share of failures it allows.
    pub fn allowed(&self) -> f64 {
        1.0 - self.at_least()
    }
}
