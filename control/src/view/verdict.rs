//! What the analysis has found, for people.

use graylane_analysis::judge::FindingState;
use graylane_analysis::{Finding, Outcome};

use super::columns::{self, columns};
use super::mark::Mark;
use super::times;
use crate::engine::Millis;
use crate::engine::status::Status;
use crate::engine::verdict::{Failure, LaneAnalysis};

/// The analysis of every lane as a table with a sentence for each; empty when nobody judges.
pub fn text(status: &Status, now: Millis) -> String {
    let mut text = String::new();
    for (lane, analysis) in &status.analysis {
        text.push_str(&format!("\n{lane}: {}\n", sentence(analysis, now)));
        text.push_str(&table(lane, &analysis.findings));
    }
    if let Some(failure) = &status.failure {
        text.push_str(&format!("\n{}\n", blame(failure)));
    }
    text
}

fn sentence(analysis: &LaneAnalysis, now: Millis) -> String {
    let (mark, word) = word(analysis.outcome);
    let age = times::age(Some(analysis.since_ms), now);
    let age = if age.is_empty() { age } else { format!(" (for {age})") };
    format!("{}{age}: {}", mark.with(word), analysis.reason)
}

fn word(outcome: Outcome) -> (Mark, &'static str) {
    match outcome {
        Outcome::Pass => (Mark::Good, "passed"),
        Outcome::Fail => (Mark::Bad, "failed"),
        Outcome::Wait => (Mark::Moving, "being judged"),
        Outcome::Unverified => (Mark::Warning, "unverified"),
        Outcome::Pause => (Mark::Paused, "cannot be judged now"),
    }
}

/// The findings as a table.
pub fn table(lane: &str, findings: &[Finding]) -> String {
    let lane = lane.to_uppercase();
    let mut table = columns(&["SERVICE", "OBJECTIVE", "VERDICT", &lane, "STABLE", "BREAKS IT (95%)"]);
    for finding in findings {
        // What Prometheus gives is a number and no count: the reason says it.
        let is_counted = finding.n + finding.stable_n > 0 || finding.state == FindingState::NoData;
        let counted = |text: String| if is_counted { text } else { "-".into() };
        let (low, high) = finding.interval;
        table.add_row([
            finding.service.clone(),
            finding.objective.clone(),
            state(finding.state),
            counted(format!("{} of {}", finding.failures, finding.n)),
            counted(format!("{} of {}", finding.stable_failures, finding.stable_n)),
            counted(format!("{:.2}% to {:.2}%", 100.0 * low, 100.0 * high)),
        ]);
    }
    columns::text(&table)
}

fn state(state: FindingState) -> String {
    let (mark, word) = match state {
        FindingState::Kept => (Mark::Good, "Kept"),
        FindingState::Broken => (Mark::Bad, "Broken"),
        FindingState::BrokenByBoth => (Mark::Warning, "BrokenByBoth"),
        FindingState::Open => (Mark::Moving, "Open"),
        FindingState::NoData => (Mark::None, "NoData"),
    };
    mark.with(word)
}

/// What failed where and since when, and requests to look at.
fn blame(failure: &Failure) -> String {
    let place = failure.fault.as_ref().map_or_else(String::new, |fault| {
        let at = if fault.first_bad_ms > 0 {
            format!(", first at {}", times::at(fault.first_bad_ms))
        } else {
            String::new()
        };
        format!(" at {} ({}), {}{at}", fault.service, fault.lane, fault.kind.words())
    });
    let traces = failure.fault.iter().flat_map(|fault| &fault.traces);
    let traces: String = traces.map(|trace| format!("\n  trace {trace}")).collect();
    format!("Failed{place}: {}{traces}", failure.message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_verdict_names_service_objective_and_counts() {
        let finding = json!({"service": "orders.shop", "objective": "success rate", "state": "broken", "n": 50,
            "failures": 10, "stableN": 450, "stableFailures": 1, "interval": [0.1, 0.35], "logHarm": 9.0,
            "logKept": 0.0, "dispersion": 1.0, "reason": "it fails"});
        let status: Status = serde_json::from_value(json!({"analysis": {"canary": {"outcome": "fail",
            "reason": "orders.shop breaks success rate", "sinceMs": 60_000, "atMs": 60_000, "findings": [finding],
            "evidence": {}}}, "failure": {"lane": "canary", "message": "orders.shop breaks success rate",
            "decidedMs": 61_000, "fault": {"service": "orders.shop", "lane": "canary", "objective": "success rate",
            "kind": "own", "firstBadMs": 59_000, "n": 50, "failures": 10,
            "traces": ["0af7651916cd43dd8448eb211c80319c"]}}}))
        .unwrap();
        let text = text(&status, 120_000);
        for words in [
            "failed (for 60s)",
            "orders.shop",
            "10 of 50",
            "1 of 450",
            "10.00% to 35.00%",
            "Failed at orders.shop (canary), with failures of its own, first at",
            "trace 0af7651916cd43dd8448eb211c80319c",
        ] {
            assert!(text.contains(words), "no {words:?} in\n{text}");
        }
    }

    #[test]
    fn nothing_is_said_where_nobody_judges() {
        assert_eq!(text(&Status::default(), 0), "");
    }
}
