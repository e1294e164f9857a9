use graylane::engine::request::Verb;
use graylane::engine::rollout::{Rollout, RolloutState};
use graylane::engine::status::{Phase, WaitReason};

use crate::story::Story;
use crate::world::World;

/// Argo Rollouts leads by the steps of `orders`.
const LED: &str = "
  lanes: [{name: canary}]
  members: [{service: orders}]
  entry: {gateways: [{namespace: istio-ingress}]}
  argo: {rollout: orders}
  promotion: {strategy: argo}
";

/// The release leads; Argo Rollouts makes the pods of `orders`.
const LEADS: &str = "
  lanes: [{name: canary}]
  members: [{service: orders}]
  entry: {gateways: [{namespace: istio-ingress}]}
  steps: [{weight: 50%}, {pause: {}}, {weight: 100%}]
  promotion: {strategy: argo}
";

fn rollout(newest: &str) -> Rollout {
    Rollout {
        name: "orders".into(),
        newest: newest.into(),
        stable: "v1".into(),
        steps: 3,
        state: if newest == "v1" { RolloutState::Settled } else { RolloutState::Moving },
        ..Rollout::default()
    }
}

fn story(yaml: &str, newest: &str) -> Story {
    let world = World::shop();
    world.add("summer", yaml);
    world.lock().rollouts.insert("orders".into(), rollout(newest));
    Story::new(world)
}

fn change(story: &Story, change: impl FnOnce(&mut Rollout)) {
    change(story.world.lock().rollouts.get_mut("orders").unwrap());
}

fn state(story: &Story) -> RolloutState {
    story.world.lock().rollouts["orders"].state
}

/// A release that Argo has brought to this weight.
fn led_to(weight: u32, shown: &str) -> Story {
    let mut story = story(LED, "v2");
    change(&story, |rollout| rollout.weight = weight);
    story.until_weight(shown);
    story
}

#[test]
fn the_weight_follows_the_steps_of_the_rollout_up_and_down() {
    let mut story = led_to(500, "canary=5%");
    change(&story, |rollout| (rollout.weight, rollout.step) = (5_000, 1));
    let status = story.until_weight("canary=50%");
    assert_eq!((status.step, status.steps), (1, 3));
    story.wait(120_000);
    assert_eq!(story.status().phase, Phase::Progressing, "a weight that stays needs nothing");
    change(&story, |rollout| rollout.weight = 2_000);
    story.until_weight("canary=20%");
    assert_eq!(story.world.lock().weights()["canary"], 2_000);
    assert_eq!(state(&story), RolloutState::Moving, "nobody wrote to it");
}

#[test]
fn a_release_waits_for_a_new_version_and_then_begins() {
    let mut story = story(LED, "v1");
    story.wait(10_000);
    let status = story.status();
    assert_eq!((status.phase, status.waiting.unwrap().reason), (Phase::Pending, WaitReason::Rollout));
    change(&story, |rollout| (*rollout, rollout.weight) = (self::rollout("v2"), 500));
    story.until_weight("canary=5%");
    assert_eq!(story.status().rollouts["orders"].version, "v2");
}

#[test]
fn a_promoted_rollout_is_handed_over_and_its_next_version_begins_again() {
    let mut story = led_to(10_000, "canary=98%");
    change(&story, |rollout| (rollout.stable, rollout.state) = ("v2".into(), RolloutState::Moving));
    story.until_phase(Phase::Promoting);
    story.wait(60_000);
    assert_eq!(story.world.lock().weights()["canary"], 9_800, "the lane serves until stable is ready");
    change(&story, |rollout| rollout.state = RolloutState::Settled);
    story.until_phase(Phase::Succeeded);
    story.wait(60_000);
    assert_eq!(story.status().phase, Phase::Succeeded);
    change(&story, |rollout| {
        *rollout = Rollout { stable: "v2".into(), weight: 1_000, ..self::rollout("v3") };
    });
    let status = story.until_weight("canary=10%");
    assert_eq!((status.attempt, status.rollouts["orders"].version.as_str()), (2, "v3"));
}

#[test]
fn an_aborted_or_degraded_rollout_takes_the_lane_away() {
    for (state, reason) in [(RolloutState::Aborted, "RolloutAborted"), (RolloutState::Degraded, "RolloutDegraded")] {
        let mut story = led_to(5_000, "canary=50%");
        change(&story, |rollout| (rollout.state, rollout.message) = (state, "metric failed".into()));
        let status = story.until_phase(Phase::RolledBack);
        assert!(story.world.lock().weights().is_empty());
        let entry = status.history.iter().find(|entry| entry.reason == reason).unwrap();
        assert!(entry.message.contains("metric failed"), "{}", entry.message);
        assert!(status.message.contains("metric failed"), "{}", status.message);
        story.wait(60_000);
        assert_eq!(self::state(&story), RolloutState::Aborted);
        assert_eq!(story.status().phase, Phase::RolledBack, "what was aborted does not begin again");
        change(&story, |rollout| (rollout.state, rollout.weight) = (RolloutState::Moving, 500));
        assert_eq!(story.until_weight("canary=5%").attempt, 2, "what is tried again does");
    }
}

#[test]
fn a_release_that_is_taken_back_aborts_its_rollout_until_that_is_seen() {
    for yaml in [LED, LEADS] {
        let mut story = story(yaml, "v2");
        change(&story, |rollout| rollout.weight = 5_000);
        story.until_weight("canary=50%");
        story.world.ask("summer", Verb::Abort);
        story.until_phase(Phase::RolledBack);
        assert_eq!(state(&story), RolloutState::Aborted);
        assert!(!story.status().rollouts["orders"].abort);
    }
}

#[test]
fn an_abort_that_fails_is_tried_again_after_the_lane_is_gone() {
    let mut story = led_to(5_000, "canary=50%");
    story.world.ask("summer", Verb::Abort);
    change(&story, |rollout| rollout.state = RolloutState::Unseen);
    story.until_phase(Phase::RolledBack);
    assert!(story.status().rollouts["orders"].abort);
    change(&story, |rollout| rollout.state = RolloutState::Moving);
    story.wait(10_000);
    assert_eq!(state(&story), RolloutState::Aborted);
}

#[test]
fn another_version_in_the_middle_begins_with_nobody_in_the_lane() {
    let mut story = led_to(5_000, "canary=50%");
    change(&story, |rollout| *rollout = Rollout { weight: 500, ..self::rollout("v3") });
    let status = story.until_weight("canary=5%");
    assert_eq!((status.attempt, status.rollouts["orders"].version.as_str()), (2, "v3"));
}

#[test]
fn a_rollout_that_is_given_its_stable_version_again_takes_the_lane_away() {
    let mut story = led_to(5_000, "canary=50%");
    change(&story, |rollout| (rollout.newest, rollout.weight) = ("v1".into(), 0));
    story.until_phase(Phase::RolledBack);
    assert_eq!(state(&story), RolloutState::Moving, "there is nothing to abort");
}

#[test]
fn what_argo_leads_is_neither_paused_nor_hurried_here() {
    for verb in [Verb::Pause, Verb::PromoteFull] {
        let mut story = led_to(500, "canary=5%");
        story.world.ask("summer", verb);
        story.wait(5_000);
        let status = story.status();
        assert_eq!((status.phase, status.weight.as_str()), (Phase::Progressing, "canary=5%"));
        assert!(status.history.last().unwrap().message.contains("kubectl argo rollouts"), "{:?}", status.history);
    }
}

#[test]
fn where_the_release_leads_argo_promotes_at_its_end() {
    let mut story = story(LEADS, "v2");
    change(&story, |rollout| rollout.weight = 100);
    story.until_phase(Phase::Paused);
    assert_eq!(story.status().weight, "canary=50%");
    story.world.ask("summer", Verb::Promote);
    story.until_phase(Phase::Succeeded);
    assert_eq!(story.world.lock().rollouts["orders"].stable, "v2");
    assert_eq!(story.world.lock().course.iter().filter(|weights| weights.get("canary") == Some(&100)).count(), 0);
}

#[test]
fn a_rollout_that_is_aborted_while_it_is_promoted_takes_the_lane_away() {
    let mut story = story(LEADS, "v2");
    story.until_phase(Phase::Paused);
    story.world.ask("summer", Verb::Promote);
    story.until_weight("canary=98%");
    change(&story, |rollout| rollout.state = RolloutState::Aborted);
    story.until_phase(Phase::RolledBack);
    assert_eq!(story.world.lock().rollouts["orders"].stable, "v1");
}
