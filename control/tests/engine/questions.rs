use graylane::counts::question;
use graylane::engine::status::{PauseReason, Phase, WaitReason};

use crate::story::Story;
use crate::traffic::Traffic;

const PAID: &str = "
  lanes: [{name: canary}]
  members: [{service: orders}, {service: payment}]
  entry: {gateways: [{namespace: istio-ingress}]}
  steps: [{weight: 50%}, {analysis: {duration: 30m}}, {weight: 80%}, {pause: {}}]
  analysis:
    prometheus: {address: 'http://prometheus:9090'}
    objectives: [{name: paid, query: 'sum(rate(paid_total{$selector}[1m]))', atLeast: '0.9'}]
";

fn story(canary: f64, stable: f64) -> Story {
    let story = Story::of(PAID);
    {
        let mut inner = story.world.lock();
        inner.traffic = Some(Traffic::of(100.0));
        inner.numbers = [("canary", Ok(canary)), ("stable", Ok(stable))].into();
    }
    story
}

fn say(story: &Story, lane: &'static str, number: Result<f64, &'static str>) {
    story.world.lock().numbers.insert(lane, number);
}

#[test]
fn a_good_number_in_two_windows_lets_the_release_go_on() {
    let mut story = story(0.95, 0.95);
    story.until_weight("canary=80%");
    let kept = &story.status().analysis["canary"].findings;
    let paid = kept.iter().find(|finding| finding.objective == "paid").unwrap();
    assert!(paid.reason.contains("at least 0.9 wanted, 0.9500 in canary, 0.9500 in stable"), "{}", paid.reason);
}

#[test]
fn a_number_below_its_bound_twice_takes_the_release_back_though_no_request_fails() {
    let mut story = story(0.8, 0.95);
    let back = story.until_phase(Phase::RolledBack);
    assert!(back.message.contains("shop/summer breaks paid"), "{}", back.message);
    assert!(back.message.contains("0.8000 in canary"), "{}", back.message);
}

#[test]
fn a_number_that_stable_breaks_too_pauses() {
    let mut story = story(0.8, 0.7);
    let paused = story.until_phase(Phase::Paused);
    assert_eq!(paused.pause.as_ref().unwrap().reason, PauseReason::Judgement);
    assert!(paused.message.contains("shared outage"), "{}", paused.message);
}

#[test]
fn a_source_that_fails_on_the_way_holds_the_release_and_says_since_when() {
    let mut story = story(0.95, 0.95);
    story.until("the analysis", |status| status.step == 1);
    story.wait(10_000);
    let since = graylane::view::times::at(story.now);
    say(&story, "canary", Err("connection refused"));
    story.wait(600_000);
    let held = story.status();
    assert_eq!((held.phase, held.weight.as_str()), (Phase::Progressing, "canary=50%"));
    let waiting = held.waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::Evidence);
    assert!(waiting.message.contains(&format!("no answer to `paid` since {since}")), "{}", waiting.message);
    assert!(waiting.message.contains("connection refused"), "{}", waiting.message);
    say(&story, "canary", Ok(0.95));
    story.until_weight("canary=80%");
}

#[test]
fn a_weight_between_pauses_does_not_grow_while_prometheus_is_away() {
    let yaml = PAID.replace("{analysis: {duration: 30m}}", "{pause: {duration: 2m}}");
    let mut story = Story::of(&yaml);
    {
        let mut inner = story.world.lock();
        inner.traffic = Some(Traffic::of(100.0));
        inner.numbers = [("canary", Err("away")), ("stable", Ok(1.0))].into();
    }
    story.until_weight("canary=50%");
    story.wait(600_000);
    let held = story.status();
    assert_eq!(held.weight, "canary=50%");
    assert!(held.waiting.as_ref().is_some_and(|w| w.message.contains("no answer to `paid`")), "{}", held.message);
}

#[test]
fn a_question_that_is_no_promql_is_refused_before_traffic_moves() {
    let mut story = story(1.0, 1.0);
    {
        let mut inner = story.world.lock();
        let release = inner.objects["shop/summer"].spec.clone().unwrap();
        inner.asked.problems.push(question::problem(&release, 0, "parse error: unexpected \"}\""));
    }
    let refused = story.until_phase(Phase::Invalid);
    assert!(refused.message.contains("spec.analysis.objectives[0].query"), "{}", refused.message);
    assert!(refused.message.contains("write PromQL that gives one number"), "{}", refused.message);
    let valid = refused.conditions.iter().find(|one| one.r#type == "Valid").unwrap();
    assert_eq!(valid.status, "False");
    assert!(story.world.lock().weights().is_empty());
}

#[test]
fn nothing_begins_before_prometheus_has_understood_the_questions() {
    let mut story = story(1.0, 1.0);
    story.world.lock().asked.unknown = Some("Prometheus at prometheus:9090 does not answer".into());
    story.wait(60_000);
    let waits = story.status();
    assert_eq!(waits.phase, Phase::Pending);
    let waiting = waits.waiting.as_ref().unwrap();
    assert!(waiting.message.contains("does not answer") && waiting.since_ms > 0, "{waiting:?}");
    story.world.lock().asked.unknown = None;
    story.until_weight("canary=50%");
}
