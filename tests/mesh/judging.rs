//! Releases that judge themselves, in a real mesh: counts come from Istio's metrics port.

use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::figures::judge_cost;
use graylane_tests::poll;
use serde_json::Value;

use crate::asking::{CANARY, STABLE};
use crate::control::{self, Control, SUMMER, until_phase};
use crate::releases::everybody_is_on;
use crate::traffic::Traffic;

/// Evidence comes with requests, and a machine that compiles something else serves few.
const LONG: Duration = Duration::from_secs(300);

/// The summer release with other steps.
fn release(steps: &str) -> String {
    let (head, tail) = SUMMER.split_once("  steps:").unwrap_or((SUMMER, "\n"));
    let tail = tail.split_once('\n').map_or("", |(_, tail)| tail);
    format!("{head}  steps: {steps}\n  analysis: {{warmup: 1s, deadline: 5m}}\n{tail}")
}

#[test]
fn smoke_a_release_whose_second_service_fails_is_taken_back_and_the_hop_is_named() {
    bed::tell(&Bed::mesh(), |bed| {
        let _controller = Control::of_shop(bed)?;
        let traffic = Traffic::with_every_fifth(bed, "/?fail=stock-canary:500")?;
        bed.apply(&release("[{weight: 20%}, {analysis: {duration: 5m}}, {weight: 100%}]"))?;
        let back = until_phase(bed, "RolledBack")?;
        everybody_is_on(bed, STABLE)?;
        let seen = traffic.failed_traces();
        let (served, failed) = traffic.stop(bed)?;
        let failure = &back["failure"];
        let traces = failure["fault"]["traces"].as_array().context("no request that failed is named")?;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_seen = |trace: &Value| trace.as_str().is_some_and(|trace| seen.contains(trace));
        ensure!(!traces.is_empty() && traces.iter().all(is_seen), "of another request: {traces:?}");
        ensure!(failure["fault"]["service"] == "stock.shop" && failure["fault"]["lane"] == "canary", "{failure}");
        ensure!(failure["fault"]["kind"] == "own", "{failure}");
        let took = millis(failure, "/decidedMs")?.saturating_sub(millis(failure, "/fault/firstBadMs")?);
        let last = millis(failure, "/lastLaneMs")?.saturating_sub(millis(failure, "/decidedMs")?);
        let value = format!(
            "{:.1} s and {:.1} s, {failed} of {} requests failed",
            seconds(took),
            seconds(last),
            served + failed
        );
        let name =
            "20% failures at the second service: first bad request to decision, decision to the lane's last second";
        judge_cost(name, value, "at most 15 s and 5 s", took <= 15_000 && last <= 5_000)
    })
}

#[test]
fn a_good_release_grows_by_evidence_and_becomes_stable() {
    bed::tell(&Bed::mesh(), |bed| {
        let _controller = Control::of_shop(bed)?;
        let traffic = Traffic::begin(bed)?;
        bed.apply(&release("[{auto: {from: 1%}}]"))?;
        let done = poll::until("the end", LONG, || {
            let status = control::release(bed, "summer")?["status"].take();
            ensure!(status["phase"] == "Succeeded", "{}", status["message"]);
            Ok(status)
        })?;
        let (served, failed) = traffic.stop(bed)?;
        ensure!(failed == 0, "{failed} of {served} requests failed");
        ensure!(done["analysis"]["canary"]["outcome"] == "pass", "{}", done["analysis"]);
        println!("{served} requests served; {}", done["history"]);
        everybody_is_on(bed, CANARY)
    })
}

fn millis(value: &Value, at: &str) -> Result<u64> {
    value.pointer(at).and_then(Value::as_u64).with_context(|| format!("no {at} in {value}"))
}

#[expect(clippy::cast_precision_loss, reason = "seconds")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}
