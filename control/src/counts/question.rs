//! Questions to Prometheus and what its answers mean. Pure: [`super::prometheus`] does the asking.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engine::Millis;
use crate::release::analysis::Objective;
use crate::release::finding::Finding;
use crate::release::{Release, STABLE};

/// Stands in a question for matchers of the labels that the counters of proxies have: release and lane.
pub const SELECTOR: &str = "$selector";
/// Stands in a question for a matcher of the lane alone: an application knows of no release.
pub const LANE: &str = "$lane";

/// What Prometheus has said to a release's questions so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// Questions that can never be judged by, such as PromQL that does not parse.
    pub problems: Vec<Finding>,
    /// Why nobody knows yet whether the questions can be answered; none once it is known.
    pub unknown: Option<String>,
    /// How each question stands, by objective and lane.
    pub answers: BTreeMap<(String, String), Standing>,
}

/// How a question stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// The last number, and when it was given.
    pub last: Option<(f64, Millis)>,
    /// Why there was none the last time, in words.
    pub trouble: Option<String>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A number.
    Number(f64),
    /// There is nothing to say: no series, or a share of nothing.
    Nothing(String),
    /// The question gives something that is no single number, or is no PromQL.
    Useless(String),
    /// No answer could be had.
    Away(String),
}

/// The question of an objective for a lane: label values stand in it as quoted strings, so no name
/// can change what is asked.
pub fn fill(query: &str, release: &Release, lane: &str) -> String {
    let lane = format!("lane={}", quoted(lane));
    let both = format!("rollout={},{lane}", quoted(&release.id()));
    query.replace(SELECTOR, &both).replace(LANE, &lane)
}

/// Whether a question is asked of a lane and of stable, so that the answers can be compared.
pub fn compares(query: &str) -> bool {
    query.contains(SELECTOR) || query.contains(LANE)
}

/// A string literal of PromQL, whose escapes are those of Go.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            char => literal.push(char),
        }
    }
    literal.push('"');
    literal
}

/// The lanes for which a question is asked: one that names no lane has one answer, and the lane gets it.
pub fn lanes<'a>(objective: &Objective, release: &'a Release) -> Vec<&'a str> {
    let lanes = release.lanes.iter().map(String::as_str);
    if compares(&objective.query) { lanes.chain([STABLE]).collect() } else { lanes.collect() }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    status: String,
    error_type: Option<String>,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Sample),
    Vector(Vec<Series>),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    value: Option<Sample>,
}

/// Time, and the number as text: JSON knows no NaN.
#[derive(Deserialize)]
struct Sample(#[expect(dead_code, reason = "the time of the evaluation is the time of asking")] f64, String);

/// Reads an answer of Prometheus.
pub fn read(status: u16, body: &[u8]) -> Answer {
    let Ok(page) = serde_json::from_slice::<Page>(body) else {
        return Answer::Away(format!("it answers {status} and nothing that Prometheus would say"));
    };
    if page.status != "success" {
        let error = page.error.unwrap_or_else(|| "no reason given".into());
        let is_question = page.error_type.as_deref() == Some("bad_data");
        return if is_question {
            Answer::Useless(error)
        } else {
            Answer::Away(format!("it answers {status}: {error}"))
        };
    }
    match page.data {
        Some(Data::Scalar(sample)) => number(&sample),
        Some(Data::Vector(series)) => match series.as_slice() {
            [] => Answer::Nothing("no series matches".into()),
            [Series { value: Some(sample) }] => number(sample),
            [_] => Answer::Useless("it gives a histogram, not a number".into()),
            several => Answer::Useless(format!("it gives {} series", several.len())),
        },
        Some(Data::Matrix(_)) => Answer::Useless("it gives a range of numbers".into()),
        Some(Data::String(_)) => Answer::Useless("it gives a text".into()),
        None => Answer::Away("it answers without data".into()),
    }
}

fn number(Sample(_, text): &Sample) -> Answer {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Answer::Number(number),
        _ => Answer::Nothing(format!("the answer is {text}")),
    }
}

// === impl Asked ===

impl Asked {
    /// How a question stands for a lane.
    pub fn of(&self, objective: &Objective, lane: &str) -> Option<&Standing> {
        self.answers.get(&(objective.name.clone(), lane.to_owned()))
    }
}

// === impl Standing ===

impl Standing {
    /// Takes an answer.
    pub fn take(&mut self, answer: &Answer, now: Millis) {
        match answer {
            Answer::Number(number) => {
                self.last = Some((*number, now));
                self.trouble = None;
            }
            Answer::Nothing(why) => self.trouble = Some(format!("Prometheus has no data: {why}")),
            Answer::Useless(why) => self.trouble = Some(format!("Prometheus cannot use the query: {why}")),
            Answer::Away(why) => self.trouble = Some(format!("Prometheus does not answer: {why}")),
        }
    }
}

/// What is wrong with a question, before anything has moved.
pub fn problem(release: &Release, index: usize, why: &str) -> Finding {
    Finding {
        file: format!("GrayRelease {}", release.id()),
        line: None,
        path: format!("spec.analysis.objectives[{index}].query"),
        message: format!("Prometheus cannot use the query: {why}"),
        mend: "write PromQL that gives one number, such as `sum(rate(a_total{$selector}[1m])) / sum(rate(b_total{$selector}[1m]))`"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[&str]) -> Answer {
        let series: Vec<String> = values.iter().map(|v| format!(r#"{{"metric":{{}},"value":[1.5,"{v}"]}}"#)).collect();
        let body =
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#, series.join(","));
        read(200, body.as_bytes())
    }

    #[test]
    fn only_one_finite_number_is_a_number() {
        assert_eq!(vector(&["0.99"]), Answer::Number(0.99));
        for nothing in [&[][..], &["NaN"], &["+Inf"]] {
            assert!(matches!(vector(nothing), Answer::Nothing(_)), "{nothing:?}");
        }
        assert_eq!(vector(&["1", "2"]), Answer::Useless("it gives 2 series".into()));
        let scalar = br#"{"status":"success","data":{"resultType":"scalar","result":[1,"0.5"]}}"#;
        assert_eq!(read(200, scalar), Answer::Number(0.5));
        let matrix = br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert!(matches!(read(200, matrix), Answer::Useless(_)));
    }

    #[test]
    fn a_question_that_is_refused_is_told_from_a_server_that_fails() {
        let bad = br#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end of input"}"#;
        assert_eq!(read(400, bad), Answer::Useless("parse error: unexpected end of input".into()));
        let busy = br#"{"status":"error","errorType":"timeout","error":"query timed out"}"#;
        assert!(matches!(read(503, busy), Answer::Away(_)));
        assert!(matches!(read(502, b"<html>"), Answer::Away(_)));
    }

    #[test]
    fn a_question_names_the_lane_alone_or_with_its_release() {
        let yaml = "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {name: summer, namespace: shop}\nspec:\n  \
            lanes: [{name: canary}]\n  members: [{service: orders}]\n  steps: [{weight: 5%}]\n";
        let read = crate::release::read::read_text("r.yaml", yaml).unwrap();
        let release = crate::release::validate::check(read, &[]).unwrap().remove(0).release;
        assert_eq!(fill("a{$selector}", &release, "canary"), r#"a{rollout="shop/summer",lane="canary"}"#);
        assert_eq!(fill("a{b=\"c\",$lane}", &release, "stable"), r#"a{b="c",lane="stable"}"#);
        assert!(compares("a{$lane}") && compares("a{$selector}") && !compares("a"));
    }

    #[test]
    fn no_name_can_leave_its_quotes() {
        assert_eq!(quoted("a\"} or vector(1) #\\\n"), r#""a\"} or vector(1) #\\\n""#);
    }
}
