//! What is asked, read strictly: whatever is wrong is told with its field.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::Millis;
use crate::release::units::Span;

/// A question for one number.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// What is wanted.
    pub metric_name: Metric,
    /// Begin of the window: RFC 3339, or before now such as `-5m`. Counts are kept for an hour.
    #[serde(default = "five_minutes_ago")]
    #[schemars(regex(pattern = MOMENT))]
    pub start_timestamp: String,
    /// End of the window: RFC 3339, before now such as `-30s`, or `now`.
    #[serde(default = "now")]
    #[schemars(regex(pattern = MOMENT))]
    pub end_timestamp: String,
    /// Whose requests.
    pub labels: Labels,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of the requests that did not fail.
    SuccessRate,
    /// Share of the requests that failed.
    ErrorRate,
    /// Share of the requests that took longer than the label `overMs` says.
    SlowRate,
    /// Requests a second.
    RequestRate,
    /// Requests.
    RequestCount,
    /// The last answer of Prometheus to the objective that the label `objective` names.
    Objective,
}

/// Whose requests.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Labels {
    /// `namespace/name` of the release.
    pub release: String,
    /// The lane that served: one of the release's, or `stable`.
    pub lane: String,
    /// The destination, `name.namespace`; all members, if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// How requests came to their lane; those that are compared, if nothing is said.
    #[serde(default)]
    pub cohort: CohortLabel,
    /// Of `slow_rate`: the time in milliseconds, one that the release counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,7}$"))]
    pub over_ms: Option<String>,
    /// Of `objective`: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
    /// Of a release whose pods Argo Rollouts makes: the hash of the pod template that is meant. While the
    /// release is about another one, there is no verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How requests came to their lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CohortLabel {
    /// By weight; on stable all that nobody asked to be there.
    #[default]
    Slot,
    /// Testers.
    Rule,
    /// Without a unit.
    Random,
    /// Served by stable in the lane's place.
    Fallback,
    /// The lane is known only from the pod.
    Unknown,
    /// All of them.
    All,
}

/// The form of a moment. What has this form may still be no time.
const MOMENT: &str =
    r"^(now|-[0-9]{1,6}(ms|s|m|h)|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2}))$";

/// Why a question cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Path of the field; empty when the whole body is meant.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to write instead.
    pub mend: String,
}

// === impl Problem ===

impl Problem {
    /// What is wrong with a field.
    pub fn of(field: &str, reason: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into(), mend: mend.into() }
    }
}

// === impl Question ===

/// Reads a question.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read(body: &[u8]) -> Result<Question, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let question: Question = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        // What cannot be parsed at all is nowhere.
        let field = if path == "." || path == "?" { String::new() } else { path };
        Problem::of(&field, error.inner().to_string(), "the document at /openapi.json says what is allowed")
    })?;
    let rest = reader.end();
    rest.map_err(|error| Problem::of("", error.to_string(), "send one JSON object"))?;
    Ok(question)
}

impl Question {
    /// The window, in Unix milliseconds.
    ///
    /// # Errors
    /// When one of them is no time, or they are in the wrong order.
    pub fn window(&self, now: Millis) -> Result<(Millis, Millis), Problem> {
        let from = moment("startTimestamp", &self.start_timestamp, now)?;
        let to = moment("endTimestamp", &self.end_timestamp, now)?.min(now);
        if from >= to {
            let reason = format!("{} is not before {}", self.start_timestamp, self.end_timestamp);
            return Err(Problem::of("startTimestamp", reason, "begin the window before it ends and before now"));
        }
        Ok((from, to))
    }
}

fn moment(field: &str, text: &str, now: Millis) -> Result<Millis, Problem> {
    let wrong = || {
        let mend = "write RFC 3339 such as 2027-01-31T08:00:00Z, or a time before now such as -5m";
        Problem::of(field, format!("`{text}` is no time"), mend)
    };
    if text == "now" {
        return Ok(now);
    }
    if let Some(before) = text.strip_prefix('-') {
        let millis = Span(before.to_owned()).millis().map_err(|_| wrong())?;
        return Ok(now.saturating_sub(millis));
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(time.as_millisecond()).map_err(|_| wrong())
}

fn five_minutes_ago() -> String {
    "-5m".into()
}

fn now() -> String {
    "now".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str) -> Result<(Millis, Millis), Problem> {
        let body = serde_json::json!({
            "metricName": "success_rate", "startTimestamp": from, "endTimestamp": to,
            "labels": {"release": "shop/summer", "lane": "canary"},
        });
        read(body.to_string().as_bytes())?.window(1_800_000_000_000)
    }

    #[test]
    fn windows_are_points_in_time_or_relative_to_now() {
        assert_eq!(window("-5m", "now"), Ok((1_799_999_700_000, 1_800_000_000_000)));
        assert_eq!(window("2027-01-15T07:59:00Z", "2027-01-15T08:00:00Z"), Ok((1_799_999_940_000, 1_800_000_000_000)));
        assert_eq!(window("-1m", "2100-01-01T00:00:00Z").unwrap().1, 1_800_000_000_000, "the future is not known");
    }

    #[test]
    fn whatever_is_wrong_is_told_with_its_field() {
        assert_eq!(window("yesterday", "now").unwrap_err().field, "startTimestamp");
        assert_eq!(window("-5m", "-x").unwrap_err().field, "endTimestamp");
        assert_eq!(window("-1m", "-2m").unwrap_err().field, "startTimestamp");
        let field = |body: &str| read(body.as_bytes()).unwrap_err().field;
        assert_eq!(field(r#"{"metricName":"success_rate","labels":{"release":"a/b","lane":7}}"#), "labels.lane");
        assert_eq!(field(r#"{"metricName":"latency","labels":{}}"#), "metricName");
        assert_eq!(field("not json"), "");
    }
}
