//! What a release sets under `spec.analysis` reaches whoever judges it: each setting with and without.

use graylane::engine::status::{PauseReason, Phase, Status};

use crate::story::{JUDGED, Story};
use crate::traffic::Traffic;

/// How a release that was at 10% went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Grew,
    Paused,
    TakenBack,
}

/// How the release with such settings ends its analysis, and after how many seconds in it.
fn end(settings: &str, traffic: Traffic) -> (End, u64) {
    let mut story = begun(settings, traffic);
    finish(&mut story)
}

fn begun(settings: &str, traffic: Traffic) -> Story {
    let yaml = JUDGED.replace("deadline: 10m", &format!("deadline: 10m, {settings}"));
    let mut story = Story::under(&yaml, traffic);
    story.until("the analysis", |status| status.step == 1);
    story
}

fn finish(story: &mut Story) -> (End, u64) {
    let since_ms = story.status().step_since_ms;
    let ends = |status: &Status| status.step > 1 || status.failure.is_some() || status.phase == Phase::Paused;
    let status = story.until("an end of the analysis", ends);
    let end = match status {
        Status { failure: Some(_), .. } => End::TakenBack,
        Status { step: 1, .. } => End::Paused,
        _ => End::Grew,
    };
    (end, (story.now - since_ms) / 1000)
}

/// One in five requests of the lane fails.
fn bad() -> Traffic {
    Traffic::of(100.0).failing("payment", "canary", 0.2)
}

#[test]
fn the_handbooks_rule_takes_back_after_two_windows_and_the_sequential_one_in_seconds() {
    let (sequential, consecutive) = (end("", bad()), end("method: consecutive", bad()));
    assert!(sequential.0 == End::TakenBack && sequential.1 <= 10, "{sequential:?}");
    assert!(consecutive.0 == End::TakenBack && (55..=65).contains(&consecutive.1), "{consecutive:?}");
}

#[test]
fn an_absolute_tolerance_spares_a_lane_that_keeps_its_objective_all_the_same() {
    assert_eq!(end("successRate: 70%", bad()).0, End::TakenBack, "it is worse than stable");
    assert_eq!(end("successRate: 70%, tolerance: {absolute: 30%}", bad()).0, End::Grew);
}

#[test]
fn a_lane_is_held_to_the_success_rate_that_its_release_asks_for_whatever_is_tolerated() {
    let tolerant = |rate: &str| end(&format!("tolerance: {{absolute: 30%}}, successRate: {rate}"), bad()).0;
    assert_eq!(["70%", "99%"].map(tolerant), [End::Grew, End::TakenBack]);
}

#[test]
fn a_relative_tolerance_spares_a_lane_that_fails_up_to_twice_as_often_as_stable() {
    let twice = |tolerance: &str| {
        let traffic = Traffic::of(1000.0).failing("payment", "stable", 0.05).failing("payment", "canary", 0.098);
        // It keeps its objective, so it has to stay for a while to be seen as worse than stable.
        end(&format!("successRate: 80%, minRequests: 25000, {tolerance}"), traffic).0
    };
    assert_eq!(["", "tolerance: {relative: 100%}"].map(twice), [End::TakenBack, End::Grew]);
}

#[test]
fn a_lane_passes_no_sooner_than_it_has_the_requests_that_are_asked_for() {
    // The lane gets 50 requests a second.
    let (few, many) = (end("", Traffic::of(500.0)), end("minRequests: 6000", Traffic::of(500.0)));
    assert!(few.0 == End::Grew && few.1 <= 60, "{few:?}");
    assert!(many.0 == End::Grew && (118..=125).contains(&many.1), "{many:?}");
}

#[test]
fn a_version_may_be_slow_for_as_long_as_its_release_says() {
    let slow_at_first = |settings: &str| {
        let settings = format!("latency: [{{overMs: 300, share: 95%}}], {settings}");
        let mut story = begun(&settings, Traffic::of(100.0).slowed(0.6));
        story.wait(20_000);
        story.world.lock().traffic.as_mut().unwrap().slow = 0.0;
        finish(&mut story).0
    };
    assert_eq!(slow_at_first(""), End::TakenBack);
    assert_eq!(slow_at_first("warmup: 30s"), End::Grew);
}

/// After how many seconds a release with too little traffic is called unverified, by its steps and its deadline.
fn unverified_after(steps: &str, deadline: &str) -> u64 {
    let yaml = JUDGED
        .replace("[{weight: 10%}, {analysis: {duration: 5m}}, {weight: 50%}, {pause: {}}]", steps)
        .replace("deadline: 10m", &format!("deadline: {deadline}"));
    let mut story = Story::under(&yaml, Traffic::of(1.0));
    let paused = story.until_phase(Phase::Paused);
    assert_eq!(paused.pause.unwrap().reason, PauseReason::Unverified);
    let since_ms = paused.history.iter().find(|entry| entry.reason == "Started").unwrap().at_ms;
    (story.now - since_ms) / 1000
}

#[test]
fn a_ramp_and_the_time_after_the_last_step_wait_for_a_verdict_until_the_deadline() {
    for (steps, before) in [("[{auto: {}}]", 0), ("[{weight: 100%}]", 60)] {
        for (deadline, seconds) in [("2m", 120), ("5m", 300)] {
            let took = unverified_after(steps, deadline);
            assert!((0..=5).contains(&(took - before - seconds)), "{steps} with {deadline}: {took} s");
        }
    }
}
