//! What follows from a question and the record. Pure.

use graylane_analysis::{Cohort, Outcome};
use schemars::JsonSchema;
use serde::Serialize;

use super::question::{CohortLabel, Labels, Metric, Problem, Question};
use super::record::{Book, Record, What, Which};
use crate::engine::Millis;
use crate::view::times;

/// An answer. A number that nobody can give is `null`, with the reason; it is never NaN.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The number; null when there is no data.
    pub value: Option<f64>,
    /// What the number is in.
    pub unit: Unit,
    /// What it is of: the end of the window, or when Prometheus said it.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
    /// The verdict on the lane as it is now; null for stable and before anything was concluded.
    pub verdict: Option<Outcome>,
    /// Requests in the window.
    pub n: u64,
    /// Why the verdict is this, or why there is no number.
    pub reason: String,
    /// The id of this question in the log: the header `x-request-id`, or a new one.
    pub request_id: String,
}

/// What a number is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Between 0 and 1.
    Ratio,
    /// Requests in a second.
    RequestsPerSecond,
    /// Requests.
    Requests,
    /// Whatever the query of the objective gives.
    Query,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The question is wrong.
    Bad(Problem),
    /// Nobody knows of whom it is.
    Unknown(Problem),
}

/// Answers a question.
///
/// # Errors
/// When the question is wrong, or about a release that is not judged.
pub fn answer(record: &Record, question: &Question, request_id: &str, now: Millis) -> Result<Answer, Refusal> {
    let (from, to) = question.window(now).map_err(Refusal::Bad)?;
    let books = record.books();
    let labels = &question.labels;
    let book = books.get(&labels.release).ok_or_else(|| {
        let reason = format!("no release `{}` is judged here", labels.release);
        Refusal::Unknown(Problem::of("labels.release", reason, "name one as namespace/name that has an analysis"))
    })?;
    check(book, question)?;
    let (verdict, said) = concluded(book, labels);
    let answer = Answer {
        value: None,
        unit: Unit::of(question.metric_name),
        timestamp: times::at(to),
        verdict,
        n: 0,
        reason: said,
        request_id: request_id.to_owned(),
    };
    Ok(if question.metric_name == Metric::Objective {
        objective(book, question, answer)
    } else {
        counted(book, question, answer, (from, to))
    })
}

/// A verdict is on a version: what was said of the last one must not end the next.
fn concluded(book: &Book, labels: &Labels) -> (Option<Outcome>, String) {
    if let Some(version) = labels.version.as_ref().filter(|version| !book.versions.contains(*version)) {
        return (None, format!("the release is not about version {version} now"));
    }
    match book.verdicts.get(&labels.lane) {
        Some((outcome, reason)) => (Some(*outcome), reason.clone()),
        None => (None, "nothing is concluded on this lane".into()),
    }
}

fn check(book: &Book, question: &Question) -> Result<(), Refusal> {
    let labels = &question.labels;
    let known = |names: Vec<String>| format!("name one of {}", names.join(", "));
    let bad = |field: &str, reason: String, mend: String| Err(Refusal::Unknown(Problem::of(field, reason, mend)));
    if !book.lanes.contains(&labels.lane) {
        let mend = known(book.lanes.iter().cloned().collect());
        return bad("labels.lane", format!("`{}` is no lane of the release", labels.lane), mend);
    }
    if let Some(service) = labels.service.as_ref().filter(|service| !book.services.contains(*service)) {
        let mend = known(book.services.iter().cloned().collect());
        return bad("labels.service", format!("`{service}` is no member of the release"), mend);
    }
    let missing =
        |field: &str, name: &str| Err(Refusal::Bad(Problem::of(field, format!("`{name}` needs this label"), "add it")));
    if let Some(text) = labels.over_ms.as_ref().filter(|text| !is_millis(text)) {
        let mend = "write one of at most 7 digits, like 250";
        return Err(Refusal::Bad(Problem::of("labels.overMs", format!("`{text}` is no number of milliseconds"), mend)));
    }
    match (question.metric_name, &labels.over_ms, &labels.objective) {
        (Metric::SlowRate, None, _) => missing("labels.overMs", "slow_rate"),
        (Metric::Objective, _, None) => missing("labels.objective", "objective"),
        (Metric::SlowRate, Some(over_ms), _)
            if !over_ms.parse::<u32>().is_ok_and(|over_ms| book.latencies.contains(&over_ms)) =>
        {
            let mend = one_of("labels.overMs", book.latencies.iter().map(ToString::to_string), "spec.analysis.latency");
            bad("labels.overMs", format!("nobody counts requests over {over_ms} ms"), mend)
        }
        (Metric::Objective, _, Some(name)) if !book.objectives.contains(name) => {
            let mend = one_of("labels.objective", book.objectives.iter().cloned(), "spec.analysis.objectives");
            bad("labels.objective", format!("`{name}` is no objective of the release"), mend)
        }
        _ => Ok(()),
    }
}

/// What can be named, or where it would have to be written first.
fn one_of(label: &str, names: impl Iterator<Item = String>, field: &str) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        format!("leave {label} out: the release has no {field}")
    } else {
        format!("name one of {}", names.join(", "))
    }
}

/// As the document's pattern says; a number in Rust may also have a sign.
fn is_millis(text: &str) -> bool {
    (1..=7).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn objective(book: &Book, question: &Question, mut answer: Answer) -> Answer {
    let name = question.labels.objective.clone().unwrap_or_default();
    match book.numbers.get(&(name.clone(), question.labels.lane.clone())) {
        Some((number, at)) if number.is_finite() => {
            answer.value = Some(*number);
            answer.timestamp = times::at(*at);
        }
        _ => answer.reason = format!("no data: Prometheus has given no number for `{name}`"),
    }
    answer
}

fn counted(book: &Book, question: &Question, mut answer: Answer, (from, to): (Millis, Millis)) -> Answer {
    let labels = &question.labels;
    let Some(window) = book.window(from, to) else {
        answer.reason = "no data: nothing was counted in the window".into();
        return answer;
    };
    let which = Which { service: labels.service.as_deref(), lane: &labels.lane, cohort: labels.cohort.cohort() };
    let count = |what| book.count(window, which, what);
    answer.n = count(What::Requests);
    if answer.n == 0 {
        answer.reason = "no data: no request in the window".into();
        return answer;
    }
    // Counters of one scrape are not read at one instant, so there may be more failures than requests.
    let share = |part: u64| real(part.min(answer.n)) / real(answer.n);
    answer.value = Some(match question.metric_name {
        Metric::SuccessRate => 1.0 - share(count(What::Failures)),
        Metric::ErrorRate => share(count(What::Failures)),
        Metric::RequestRate => real(answer.n) * 1000.0 / real(window.millis.max(1)),
        Metric::RequestCount | Metric::Objective => real(answer.n),
        Metric::SlowRate => {
            let over_ms = labels.over_ms.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0);
            share(count(What::Slow(over_ms)))
        }
    });
    answer
}

#[expect(clippy::cast_precision_loss, reason = "an hour of requests is far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

// === impl Unit ===

impl Unit {
    fn of(metric: Metric) -> Self {
        match metric {
            Metric::SuccessRate | Metric::ErrorRate | Metric::SlowRate => Self::Ratio,
            Metric::RequestRate => Self::RequestsPerSecond,
            Metric::RequestCount => Self::Requests,
            Metric::Objective => Self::Query,
        }
    }
}

// === impl CohortLabel ===

impl CohortLabel {
    fn cohort(self) -> Option<Cohort> {
        match self {
            Self::Slot => Some(Cohort::Slot),
            Self::Rule => Some(Cohort::Rule),
            Self::Random => Some(Cohort::Random),
            Self::Fallback => Some(Cohort::Fallback),
            Self::Unknown => Some(Cohort::Unknown),
            Self::All => None,
        }
    }
}
