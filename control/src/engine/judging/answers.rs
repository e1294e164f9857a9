//! The answers of Prometheus as evidence: windows of 30 s, as the handbook's rule has them. The same
//! minute asked twice is no second piece of evidence.

use std::collections::BTreeMap;

use graylane_analysis::counts::NumberKey;
use graylane_analysis::judge::WINDOW_MS;
use graylane_analysis::{Finding, Interval, Objective, ObjectiveKind, Outcome, ServicePlan, Verdict};

use crate::counts::question::{self, Asked};
use crate::engine::Millis;
use crate::engine::status::Status;
use crate::release::analysis::{Analysis, Objective as Question};
use crate::release::{Release, STABLE};
use crate::view::times;

/// A number that is older is no answer any more.
const FRESH_MS: Millis = 15_000;
/// A lane that has just begun to serve may have no number for this long: Prometheus has to scrape it first.
const GRACE_MS: Millis = 60_000;

/// What has been made of the answers, by lane.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// When the open window of a lane began.
    windows: BTreeMap<String, Millis>,
    /// Since when a lane has had no number, and whether it ever had one.
    silent: BTreeMap<String, Millis>,
    answered: BTreeMap<String, bool>,
}

// === impl Answers ===

impl Answers {
    /// Puts the numbers of each lane whose window ends in an interval.
    pub(super) fn put(
        &mut self,
        interval: &mut Interval,
        release: &Release,
        analysis: &Analysis,
        seen: (&Status, &Asked),
    ) {
        let (status, asked) = seen;
        let now = interval.to_ms;
        for lane in &release.lanes {
            if status.weights.get(lane).copied().unwrap_or(0) == 0 {
                self.windows.remove(lane);
                self.silent.remove(lane);
                continue;
            }
            self.note_silence(analysis, asked, lane, now);
            let began = self.windows.entry(lane.clone()).or_insert(now);
            if now < began.saturating_add(WINDOW_MS) {
                continue;
            }
            *began = now;
            for question in &analysis.objectives {
                put(interval, &release.id(), question, asked, lane);
            }
        }
    }

    fn note_silence(&mut self, analysis: &Analysis, asked: &Asked, lane: &str, now: Millis) {
        let is_complete = analysis.objectives.iter().all(|question| answers(question, asked, lane, now).is_some());
        if is_complete {
            self.silent.remove(lane);
            self.answered.insert(lane.to_owned(), true);
        } else {
            self.silent.entry(lane.to_owned()).or_insert(now);
        }
    }

    /// Holds a verdict that would let the release go on while a question has no answer. Returns why.
    pub(super) fn hold(
        &self,
        verdict: &mut Verdict,
        analysis: &Analysis,
        asked: &Asked,
        lane: &str,
        now: Millis,
    ) -> Option<String> {
        let silent = *self.silent.get(lane)?;
        let grace = if self.answered.contains_key(lane) { 0 } else { GRACE_MS };
        if now < silent.saturating_add(grace) {
            return None;
        }
        let question = analysis.objectives.iter().find(|question| answers(question, asked, lane, now).is_none())?;
        let since = lanes(question, lane).filter_map(|lane| Some(asked.of(question, lane)?.last?.1)).min();
        let since = since.unwrap_or(silent);
        let mut troubles = lanes(question, lane).filter_map(|lane| asked.of(question, lane)?.trouble.as_deref());
        let why = troubles.next().unwrap_or("Prometheus has not answered");
        let text = format!("no answer to `{}` since {}: {why}", question.name, times::at(since));
        verdict.allowed_weight = 0;
        if matches!(verdict.outcome, Outcome::Pass | Outcome::Wait | Outcome::Unverified) {
            verdict.outcome = Outcome::Wait;
            verdict.no_data_since_ms.get_or_insert(since);
            verdict.reason.clone_from(&text);
        }
        Some(text)
    }
}

/// Where a question is asked to judge a lane.
fn lanes<'a>(question: &Question, lane: &'a str) -> impl Iterator<Item = &'a str> {
    let compares = question::compares(&question.query);
    std::iter::once(lane).chain(compares.then_some(STABLE))
}

/// The numbers of the lane and of stable, if all that are needed are fresh.
fn answers(question: &Question, asked: &Asked, lane: &str, now: Millis) -> Option<Vec<(String, f64)>> {
    let number = |lane: &str| {
        let (number, at) = asked.of(question, lane)?.last?;
        (now <= at.saturating_add(FRESH_MS)).then(|| (lane.to_owned(), number))
    };
    lanes(question, lane).map(number).collect()
}

fn put(interval: &mut Interval, service: &str, question: &Question, asked: &Asked, lane: &str) {
    for (lane, number) in answers(question, asked, lane, interval.to_ms).unwrap_or_default() {
        let key = NumberKey { service: service.to_owned(), objective: question.name.clone(), lane };
        interval.numbers.insert(key, number);
    }
}

/// The objectives of the release as a whole.
pub(super) fn plan(release: &Release, analysis: &Analysis) -> Option<ServicePlan> {
    let objective = |question: &Question| Objective {
        name: question.name.clone(),
        kind: ObjectiveKind::Value { at_least: question.at_least, at_most: question.at_most },
    };
    let objectives: Vec<Objective> = analysis.objectives.iter().map(objective).collect();
    (!objectives.is_empty()).then(|| ServicePlan { service: release.id(), objectives })
}

/// Says the numbers in the words of a verdict.
pub(super) fn say(verdict: &mut Verdict, release: &Release, analysis: &Analysis, asked: &Asked, lane: &str) {
    let id = release.id();
    for question in &analysis.objectives {
        let is_it = |finding: &&mut Finding| finding.service == id && finding.objective == question.name;
        let Some(finding) = verdict.findings.iter_mut().find(is_it) else { continue };
        let before = finding.reason.clone();
        let numbers = lanes(question, lane).filter_map(|lane| {
            let (number, _) = asked.of(question, lane)?.last?;
            Some(format!("{number:.4} in {lane}"))
        });
        let numbers: Vec<String> = numbers.collect();
        finding.reason = format!("{before}; {} wanted, {}", wanted(question), numbers.join(", "));
        if verdict.reason == before {
            verdict.reason.clone_from(&finding.reason);
        }
    }
}

fn wanted(question: &Question) -> String {
    let bounds = [("at least", question.at_least), ("at most", question.at_most)];
    let texts = bounds.iter().filter_map(|(word, bound)| Some(format!("{word} {}", (*bound)?)));
    texts.collect::<Vec<_>>().join(" and ")
}
