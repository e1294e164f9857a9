use graylane::engine::status::{Phase, WaitReason};

use crate::story::{Story, TWO_STEPS};

#[test]
fn a_release_goes_through_its_steps_and_ends_on_the_new_stable() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    let paused = story.until_phase(Phase::Paused);
    assert_eq!((paused.step, paused.weight.as_str()), (1, "canary=5%"));
    story.until_weight("canary=50%");
    story.until("the second wait", |status| status.step == 3 && status.phase == Phase::Paused);
    story.world.ask("summer", graylane::engine::request::Verb::Resume);
    story.until_weight("canary=98%");
    let done = story.until_phase(Phase::Succeeded);
    assert_eq!(done.weight, "");
    let inner = story.world.lock();
    let parts: Vec<u32> = inner.course.iter().map(|weights| weights.get("canary").copied().unwrap_or(0)).collect();
    assert_eq!(parts, [0, 500, 5_000, 9_800, 0]);
    assert!(inner.stable.values().all(|workload| workload.template == "canary"));
    assert!(inner.is_inert("istio-ingress", graylane::build::Side::Gateway));
}

#[test]
fn testers_get_their_lane_before_anybody_else_does() {
    let mut story = Story::of(&TWO_STEPS.replace("{weight: 5%}", "{gate: {name: look}}, {weight: 5%}"));
    story.until_phase(Phase::Paused);
    let groups = story.world.lock().groups("istio-ingress", graylane::build::Side::Gateway);
    assert_eq!(groups[0].entry.as_ref().unwrap().rules[0].name, "testers");
    assert!(story.world.lock().weights().is_empty());
}

#[test]
fn a_full_hundred_percent_leaves_what_is_held_back() {
    let mut story = Story::of(&TWO_STEPS.replace("strategy: copyTemplate,", "strategy: copyTemplate, holdback: 5%,"));
    story.until("the wait", |status| status.step == 3);
    story.world.ask("summer", graylane::engine::request::Verb::Resume);
    story.until_weight("canary=95%");
}

#[test]
fn a_step_costs_at_most_five_writes() {
    let mut story = Story::of(TWO_STEPS);
    story.until("the first wait", |status| status.step == 1 && status.phase == Phase::Paused);
    story.wait(5_000);
    let before = story.world.lock().writes;
    story.until("the second wait", |status| status.step == 3 && status.phase == Phase::Paused);
    story.wait(5_000);
    let writes = story.world.lock().writes - before;
    assert!(writes <= 5, "{writes} writes");
}

#[test]
fn a_release_that_waits_is_not_written_again_and_again() {
    let mut story = Story::of(TWO_STEPS);
    story.until("the second wait", |status| status.step == 3 && status.phase == Phase::Paused);
    story.wait(5_000);
    let before = story.world.lock().writes;
    story.wait(300_000);
    assert_eq!(story.world.lock().writes - before, 0);
}

#[test]
fn slots_are_renewed_while_they_are_in_use() {
    let mut story = Story::of(TWO_STEPS);
    story.until("the second wait", |status| status.step == 3);
    for _ in 0..4 {
        story.wait(7 * 60_000);
        let groups = story.world.lock().groups("istio-ingress", graylane::build::Side::Gateway);
        let expires = groups[0].entry.as_ref().unwrap().slots.as_ref().unwrap().expires_unix.unwrap();
        assert!(expires * 1000 > story.now + 9 * 60_000, "at least nine minutes are left");
    }
}

#[test]
fn a_mended_release_goes_on_by_itself() {
    let mut story = Story::of(&TWO_STEPS.replace("weight: 50%", "weight: 500%"));
    let status = story.until_phase(Phase::Invalid);
    assert!(status.message.contains("spec.steps[2].weight"), "{}", status.message);
    assert!(story.world.lock().course.iter().all(|weights| weights.is_empty()));
    story.world.edit("summer", &TWO_STEPS.replace("weight: 5%", "weight: 700%"));
    let status = story.until("the other mistake", |status| status.message.contains("spec.steps[0].weight"));
    assert!(status.phase == Phase::Invalid && !status.message.contains("spec.steps[2]"), "{}", status.message);
    story.world.edit("summer", TWO_STEPS);
    story.until_weight("canary=5%");
}

#[test]
fn a_running_release_that_is_spoilt_keeps_its_weights_and_can_be_taken_back() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.wait(1_000);
    story.world.edit("summer", "  lanes: []\n  members: []\n");
    story.wait(5_000);
    assert_eq!(story.world.lock().weights()["canary"], 500);
    story.restart();
    // Longer than its slots last unless they are renewed.
    for _ in 0..4 {
        story.wait(7 * 60_000);
        let groups = story.world.lock().groups("istio-ingress", graylane::build::Side::Gateway);
        let expires = groups[0].entry.as_ref().unwrap().slots.as_ref().unwrap().expires_unix.unwrap();
        assert!(expires * 1000 > story.now + 9 * 60_000, "its weight is about to lapse while its status names it");
    }
    assert_eq!(story.world.lock().weights()["canary"], 500);
    story.world.ask("summer", graylane::engine::request::Verb::Abort);
    story.wait(1_000);
    assert!(story.world.lock().weights().is_empty());
    story.until_phase(Phase::RolledBack);
}

#[test]
fn a_spec_that_says_paused_holds_the_release() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.world.change("summer", |object| object.paused = true);
    story.wait(120_000);
    assert_eq!((story.status().phase, story.status().weight.as_str()), (Phase::Paused, "canary=5%"));
    story.world.change("summer", |object| object.paused = false);
    story.until_weight("canary=50%");
}

#[test]
fn what_was_stopped_by_hand_is_left_alone() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.wait(1_000);
    {
        let mut inner = story.world.lock();
        inner.stopped = true;
        inner.held.values_mut().for_each(|(_, wanted)| *wanted = graylane::engine::seams::Wanted::Inert);
    }
    let writes = story.world.lock().writes;
    story.wait(100_000);
    let status = story.status();
    assert_eq!(status.waiting.unwrap().reason, WaitReason::Stopped);
    assert!(story.world.lock().writes - writes <= 2);
    assert!(story.world.lock().weights().is_empty());
    story.world.lock().stopped = false;
    story.wait(1_000);
    assert!(story.world.lock().weights()["canary"] >= 500, "what was stopped is delivered again");
    story.until_weight("canary=50%");
}

#[test]
fn a_controller_that_finds_everything_stopped_delivers_once_that_is_lifted() {
    let mut story = Story::of(TWO_STEPS);
    story.until("the second wait", |status| status.step == 3);
    {
        let mut inner = story.world.lock();
        inner.stopped = true;
        inner.held.values_mut().for_each(|(_, wanted)| *wanted = graylane::engine::seams::Wanted::Inert);
    }
    story.restart();
    story.wait(5_000);
    assert!(story.world.lock().weights().is_empty());
    story.world.lock().stopped = false;
    story.wait(1_000);
    assert_eq!(story.world.lock().weights()["canary"], 5_000);
}
