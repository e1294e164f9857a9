//! Releases that judge themselves, in a real mesh: counts come from Istio's metrics port.

mod receiver;

use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::figures::judge_cost;
use graylane_tests::poll;
use serde_json::Value;

use self::receiver::Receiver;
use crate::asking::{CANARY, STABLE};
use crate::control::{self, Control, SUMMER, until_phase};
use crate::releases::{everybody_is_on, pods_end_gently};
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
        let receiver = Receiver::start(bed)?;
        let _controller = Control::of_shop_with(bed, &receiver.flags())?;
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
        judge_cost(name, value, "at most 15 s and 5 s", took <= 15_000 && last <= 5_000)?;
        the_webhook_was_told(&receiver, failure)?;
        events_tell_of_it(bed)
    })
}

/// Of the failed analysis, with the fault, then of the way back; each once, though the webhook refused what came first.
fn the_webhook_was_told(receiver: &Receiver, failure: &Value) -> Result<()> {
    let is = |event: &Value, reason: &str| event["data"]["reason"] == reason;
    let told = poll::until("a notice of the way back", poll::PATIENCE, || {
        let told = receiver.taken();
        ensure!(told.last().is_some_and(|event| is(event, "RolledBack")), "{told:#?}");
        Ok(told)
    })?;
    // On a machine that is busy with other things stable may fail too, and the release pause for a while before.
    let ends: Vec<_> = told.iter().filter(|event| !is(event, "Paused")).collect();
    let [failed, back] = ends.as_slice() else { anyhow::bail!("{told:#?}") };
    ensure!(is(failed, "AnalysisFailed") && is(back, "RolledBack"), "{told:#?}");
    ensure!(failed["data"]["release"] == "shop/summer" && failed["data"]["attempt"] == 1, "{failed}");
    ensure!(failed["data"]["fault"] == failure["fault"], "{failed} is not about {}", failure["fault"]);
    ensure!(failed["data"]["fault"]["service"] == "stock.shop", "{failed}");
    let refused = receiver.refused();
    ensure!(refused.len() == 1 && refused[0]["id"] == told[0]["id"], "it was not tried again: {refused:?}");
    Ok(())
}

fn events_tell_of_it(bed: &Bed) -> Result<()> {
    let args = ["get", "events.events.k8s.io", "-n", "shop", "-o", "json"];
    poll::until("the events", poll::PATIENCE, || {
        let events: Value = serde_json::from_str(&bed.kubectl(&args)?.stdout)?;
        for (reason, words) in [("AnalysisFailed", "stock.shop breaks"), ("RolledBack", "after the first bad request")]
        {
            let mut events = events["items"].as_array().into_iter().flatten();
            let event = events.find(|event| event["reason"] == reason && event["regarding"]["name"] == "summer");
            let event = event.with_context(|| format!("no event {reason} in {events:?}"))?;
            ensure!(event["type"] == "Warning" && event["regarding"]["kind"] == "GrayRelease", "{event}");
            ensure!(event["note"].as_str().is_some_and(|note| note.contains(words)), "{event}");
        }
        Ok(())
    })
}

#[test]
fn a_good_release_grows_by_evidence_and_becomes_stable() {
    bed::tell(&Bed::mesh(), |bed| {
        let _controller = Control::of_shop(bed)?;
        pods_end_gently(bed)?;
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
