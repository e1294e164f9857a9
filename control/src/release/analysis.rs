//! How a release is judged: first as a person writes it, then what it becomes once checked.

use std::collections::BTreeSet;

use graylane_analysis::PlanProblem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::Step;
use super::rules;
use super::units::{Span, WHOLE, Weight, percent};
use super::validate::Checker;
use super::{OnNoData, Release, Spec};
use crate::engine::judging;

/// How the lanes are judged. Without it, and without a step that judges, nobody judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AnalysisSpec {
    /// The rule by which counts become a verdict.
    pub method: Method,
    /// Share of the requests to each member's version that has to succeed; 50% to 99.99%.
    pub success_rate: Weight,
    /// How many of them have to be quick.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<LatencySpec>,
    /// What only the application's own metrics know, asked of Prometheus.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objectives: Vec<ObjectiveSpec>,
    /// Where Prometheus is; needed by `objectives`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSpec>,
    /// How much worse than stable a lane may be before it is harm.
    pub tolerance: ToleranceSpec,
    /// Requests of a lane to a member before it can pass.
    pub min_requests: u32,
    /// How long a version may be slow after its first requests in a lane, and again after pods of it, or of stable, have
    /// become ready; twelve times at most. Failures always count; in the first half of the time only where they are many.
    pub warmup: Span,
    /// How long a step waits for a verdict; then the release is paused as unverified.
    pub deadline: Span,
    /// Share of a lane's requests that stable may serve in its place, where the member has that lane.
    pub fallbacks: Weight,
    /// Share of the calls with a lane that have to keep it on their way through a workload, by what stable's calls lead one
    /// to expect. A version may also call less often than stable, which looks the same: ask for more where it does not.
    pub integrity: Weight,
}

/// A rule by which counts become a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Method {
    /// Evidence is weighed with each request; about one good release in 2,000 is taken back at worst.
    #[default]
    Sequential,
    /// Every 30 s; two windows in a row below an objective fail.
    Consecutive,
}

/// How many requests have to be quick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LatencySpec {
    /// A request that takes longer is slow; in milliseconds.
    pub over_ms: u32,
    /// Share of the requests that must not be slow; 50% to 99.99%.
    pub share: Weight,
}

/// A question to Prometheus with the answers that are good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectiveSpec {
    /// Name in verdicts.
    pub name: String,
    /// PromQL that gives one number. `$selector` stands for matchers of release and lane, `$lane` for one of the lane
    /// alone.
    pub query: String,
    /// The least number that is good, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
    /// The greatest number that is good, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<String>,
}

/// Where Prometheus is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusSpec {
    /// Such as `http://prometheus.monitoring:9090`.
    pub address: String,
}

/// How much worse than stable is no harm. What is within either is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ToleranceSpec {
    /// Of stable's own share of failures: 20% lets 1.2% stand beside 1%.
    pub relative: Weight,
    /// Of all requests: 0.3% lets 0.4% stand beside 0.1%.
    pub absolute: Weight,
}

/// The checked analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// The rule.
    pub method: Method,
    /// Share of 10,000 that has to succeed.
    pub success_rate: u32,
    /// Milliseconds, and the share of 10,000 that must not take longer.
    pub latency: Vec<(u32, u32)>,
    /// Questions to Prometheus.
    pub objectives: Vec<Objective>,
    /// Where Prometheus is.
    pub prometheus: Option<String>,
    /// Share of 10,000 of stable's failures that is tolerated beyond them.
    pub relative: u32,
    /// Share of 10,000 of all requests that is tolerated beyond stable's failures.
    pub absolute: u32,
    /// Requests before anything can pass.
    pub min_requests: u32,
    /// Milliseconds.
    pub warmup_ms: u64,
    /// Milliseconds.
    pub deadline_ms: u64,
    /// Share of 10,000 that stable may serve in a lane's place.
    pub fallbacks: u32,
    /// Share of 10,000 that has to keep its lane.
    pub integrity: u32,
    /// What happens while there is nothing to judge by.
    pub on_no_data: OnNoData,
}

/// A checked question to Prometheus.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// Name in verdicts.
    pub name: String,
    /// PromQL, still with `$selector`.
    pub query: String,
    /// The least number that is good.
    pub at_least: Option<f64>,
    /// The greatest number that is good.
    pub at_most: Option<f64>,
}

/// The most distinct latencies: each costs a counter for every version in every proxy.
const MAX_LATENCIES: usize = 4;

// === impl Checker ===

impl Checker<'_> {
    /// Checks how a release is judged. One that has a step which judges is judged.
    pub(super) fn analysis(&mut self, spec: &Spec, steps: &[Step]) -> Option<Analysis> {
        let judges = steps.iter().any(|step| matches!(step, Step::Analysis(_) | Step::Auto(_)));
        let written = match &spec.analysis {
            Some(written) => written.clone(),
            None if judges => AnalysisSpec::default(),
            None => return None,
        };
        let path = |field: &str| format!("spec.analysis.{field}");
        if written.latency.len() > MAX_LATENCIES {
            self.refuse(&path("latency"), &rules::MANY_LATENCIES, &[]);
        }
        if has_twice(written.latency.iter().map(|one| one.over_ms)) {
            self.refuse(&path("latency"), &rules::LATENCY_TWICE, &[]);
        }
        if has_twice(written.objectives.iter().map(|one| &one.name)) {
            self.refuse(&path("objectives"), &rules::OBJECTIVE_TWICE, &[]);
        }
        let latency =
            written.latency.iter().enumerate().map(|(at, one)| {
                (one.over_ms, self.objective_share(&path(&format!("latency[{at}].share")), &one.share))
            });
        let latency = latency.collect();
        let objectives = written.objectives.iter().enumerate();
        let objectives = objectives.map(|(at, one)| self.objective(&path(&format!("objectives[{at}]")), one)).collect();
        if !written.objectives.is_empty() && written.prometheus.is_none() {
            self.refuse(&path("prometheus"), &rules::NO_PROMETHEUS, &[]);
        }
        if let Some(prometheus) = &written.prometheus
            && !prometheus.address.starts_with("http://")
        {
            self.refuse(&path("prometheus.address"), &rules::PROMETHEUS_ADDRESS, &[("value", &prometheus.address)]);
        }
        Some(Analysis {
            method: written.method,
            success_rate: self.objective_share(&path("successRate"), &written.success_rate),
            latency,
            objectives,
            prometheus: written.prometheus.map(|prometheus| prometheus.address),
            relative: self.weight(&path("tolerance.relative"), &written.tolerance.relative),
            absolute: self.weight(&path("tolerance.absolute"), &written.tolerance.absolute),
            min_requests: written.min_requests,
            warmup_ms: self.span(&path("warmup"), &written.warmup),
            deadline_ms: self.span(&path("deadline"), &written.deadline),
            fallbacks: self.weight(&path("fallbacks"), &written.fallbacks),
            integrity: self.weight(&path("integrity"), &written.integrity),
            on_no_data: spec.on_no_data.unwrap_or_default(),
        })
    }

    /// A share that can be tested: none of which everything, or only the half, would do.
    fn objective_share(&mut self, path: &str, share: &Weight) -> u32 {
        let parts = self.weight(path, share);
        if share.parts().is_ok() && !(5_000..=9_999).contains(&parts) {
            self.refuse(path, &rules::OBJECTIVE, &[("value", &share.0)]);
        }
        parts
    }

    fn objective(&mut self, path: &str, written: &ObjectiveSpec) -> Objective {
        if written.at_least.is_none() && written.at_most.is_none() {
            self.refuse(path, &rules::NO_THRESHOLD, &[]);
        }
        if written.name.trim().is_empty() {
            self.add(&format!("{path}.name"), "an objective has no name", "name it; the verdict will");
        }
        let mut number = |field: &str, text: &Option<String>| {
            let text = text.as_ref()?;
            let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            if number.is_none() {
                self.refuse(&format!("{path}.{field}"), &rules::NUMBER, &[("value", text)]);
            }
            number
        };
        let (at_least, at_most) = (number("atLeast", &written.at_least), number("atMost", &written.at_most));
        if at_least.zip(at_most).is_some_and(|(least, most)| least > most) {
            self.refuse(path, &rules::NO_NUMBER, &[]);
        }
        Objective { name: written.name.clone(), query: written.query.clone(), at_least, at_most }
    }
}

fn has_twice<T: Ord>(mut values: impl Iterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    !values.all(|value| seen.insert(value))
}

/// What the judge itself would not take, by field of the analysis.
pub(super) fn problems(release: &Release) -> Vec<PlanProblem> {
    let Some(analysis) = &release.plan.analysis else { return Vec::new() };
    let plans = release.lanes.iter().map(|lane| judging::plan(release, analysis, lane));
    // A lane that no member has is judged by nothing.
    let checked = plans.filter(|plan| !plan.services.is_empty()).filter_map(|plan| plan.check().err());
    let mut problems: Vec<PlanProblem> = Vec::new();
    for problem in checked.flatten() {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

// === impl defaults ===

impl Default for AnalysisSpec {
    fn default() -> Self {
        let share = |text: &str| Weight(text.into());
        let plan = graylane_analysis::Plan::default();
        Self {
            method: Method::default(),
            success_rate: share("99%"),
            latency: Vec::new(),
            objectives: Vec::new(),
            prometheus: None,
            tolerance: ToleranceSpec::default(),
            min_requests: u32::try_from(plan.min_requests).unwrap_or(u32::MAX),
            warmup: Span(format!("{}s", plan.warm_up_ms / 1000)),
            deadline: Span("1h".into()),
            fallbacks: written(plan.fallback_budget),
            integrity: written(plan.integrity_floor),
        }
    }
}

impl Default for ToleranceSpec {
    fn default() -> Self {
        let plan = graylane_analysis::Plan::default();
        Self { relative: written(plan.margin - 1.0), absolute: written(plan.floor) }
    }
}

/// A share of the judge's own defaults as a person would write it.
fn written(share: f64) -> Weight {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares of 10,000")]
    let parts = (share * f64::from(WHOLE)).round() as u32;
    Weight(percent(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_writes_is_what_the_judge_has_by_itself() {
        let (spec, plan) = (AnalysisSpec::default(), graylane_analysis::Plan::default());
        assert_eq!((spec.fallbacks.0.as_str(), spec.integrity.0.as_str()), ("5%", "55%"));
        assert_eq!((spec.tolerance.relative.0.as_str(), spec.tolerance.absolute.0.as_str()), ("20%", "0.3%"));
        assert_eq!(spec.warmup.millis(), Ok(plan.warm_up_ms));
    }
}
