use graylane::engine::request::Verb;
use graylane::engine::status::{HandoverStage, Phase, WaitReason};

use crate::story::{Story, TWO_STEPS};

/// A release at its last weight, about to be handed over.
fn at_the_end(yaml: &str) -> Story {
    let mut story = Story::of(yaml);
    story.until("the last wait", |status| status.step == 3 && status.phase == Phase::Paused);
    story.world.ask("summer", Verb::Promote);
    story.until_weight("canary=98%");
    story
}

#[test]
fn requests_stay_in_the_lane_until_stable_is_ready_with_the_new_version() {
    let mut story = at_the_end(TWO_STEPS);
    for workload in story.world.lock().stable.values_mut() {
        workload.busy = true;
    }
    story.until_phase(Phase::Promoting);
    story.wait(60_000);
    assert_eq!(story.status().handover.unwrap().stage, HandoverStage::Updating);
    assert_eq!(story.world.lock().weights()["canary"], 9_800);
    for workload in story.world.lock().stable.values_mut() {
        workload.busy = false;
        workload.replicas.ready = 1;
    }
    story.wait(60_000);
    assert_eq!(story.world.lock().weights()["canary"], 9_800, "stable has too few replicas");
    for workload in story.world.lock().stable.values_mut() {
        workload.replicas.ready = 4;
    }
    story.until_phase(Phase::Succeeded);
}

#[test]
fn slots_hold_once_the_handover_has_begun() {
    let mut story = at_the_end(TWO_STEPS);
    story.world.lock().stable.values_mut().for_each(|workload| workload.busy = true);
    story.until_phase(Phase::Promoting);
    story.wait(1_000);
    let groups = story.world.lock().groups("istio-ingress", graylane::build::Side::Gateway);
    assert_eq!(groups[0].entry.as_ref().unwrap().slots.as_ref().unwrap().expires_unix, None);
}

#[test]
fn a_manual_handover_waits_until_stable_has_the_version_or_somebody_says_so() {
    let manual = TWO_STEPS.replace("copyTemplate", "manual");
    let mut story = at_the_end(&manual);
    story.until_phase(Phase::Promoting);
    story.wait(60_000);
    assert_eq!(story.status().waiting.unwrap().reason, WaitReason::ManualHandover);
    for workload in story.world.lock().stable.values_mut() {
        workload.template = "canary".into();
    }
    story.until_phase(Phase::Succeeded);

    let mut story = at_the_end(&manual);
    story.until_phase(Phase::Promoting);
    story.world.ask("summer", Verb::Promote);
    story.until_phase(Phase::Succeeded);
}

#[test]
fn a_proxy_that_has_not_heard_keeps_the_lane_until_a_person_decides() {
    let mut story = at_the_end(TWO_STEPS);
    story.until_phase(Phase::Promoting);
    story.world.lock().proxies.get_mut("gateway-1").unwrap().cut = true;
    story.wait(300_000);
    let status = story.status();
    assert_eq!(status.handover.unwrap().stage, HandoverStage::Emptying);
    assert_eq!(status.proxies.missing, ["gateway-1"]);
    story.world.ask("summer", Verb::Promote);
    story.wait(1_000);
    story.world.ask("summer", Verb::Promote);
    story.until_phase(Phase::Succeeded);
}

#[test]
fn undo_gives_stable_its_old_version_back() {
    let mut story = at_the_end(TWO_STEPS);
    story.until_phase(Phase::Succeeded);
    assert!(story.world.lock().stable.values().all(|workload| workload.template == "canary"));
    story.world.ask("summer", Verb::Undo);
    story.until_phase(Phase::RolledBack);
    assert!(story.world.lock().stable.values().all(|workload| workload.template == "old"));
    assert!(story.status().message.contains("old version"), "{}", story.status().message);
}

#[test]
fn undo_in_the_middle_of_a_handover_goes_all_the_way_back() {
    let mut story = at_the_end(TWO_STEPS);
    story.world.lock().stable.get_mut("orders.shop").unwrap().busy = true;
    story.until("the copies", |status| {
        status.handover.as_ref().is_some_and(|handover| handover.stage == HandoverStage::Updating)
    });
    story.world.ask("summer", Verb::Undo);
    story.wait(1_000);
    assert!(story.world.lock().weights().is_empty());
    assert!(story.world.lock().stable.values().all(|workload| workload.template == "old"));
    story.world.lock().stable.get_mut("orders.shop").unwrap().busy = false;
    story.until_phase(Phase::RolledBack);
}

/// A handover of which stable has got the new version, and a gateway that does not answer from then on.
fn half_done_and_cut_off() -> Story {
    let mut story = at_the_end(&format!("{TWO_STEPS}  acknowledgement: {{timeout: 2m}}\n"));
    story.world.lock().stable.get_mut("orders.shop").unwrap().busy = true;
    story.until("the copies", |status| {
        status.handover.as_ref().is_some_and(|handover| handover.stage == HandoverStage::Updating)
    });
    story.wait(1_000);
    story.world.lock().proxies.get_mut("gateway-2").unwrap().cut = true;
    story
}

fn undo(story: &Story) {
    story.world.ask("summer", Verb::Undo);
    story.world.lock().stable.get_mut("orders.shop").unwrap().busy = false;
}

#[test]
fn undo_in_the_middle_of_a_handover_waits_for_the_proxies_that_may_still_use_the_lane() {
    let mut story = half_done_and_cut_off();
    undo(&story);
    story.wait(119_000);
    let status = story.status();
    assert!(story.world.lock().weights().is_empty(), "taken back at once");
    assert_eq!((status.phase, status.waiting.unwrap().reason), (Phase::Promoting, WaitReason::Acknowledgement));
    assert!(status.message.contains("missing: gateway-2"), "{}", status.message);
    story.world.lock().proxies.get_mut("gateway-2").unwrap().cut = false;
    let back = story.until_phase(Phase::RolledBack);
    assert!(!back.message.contains("in time"), "{}", back.message);
}

#[test]
fn undo_in_the_middle_of_a_handover_ends_without_a_proxy_that_stays_away_and_names_it() {
    let mut story = half_done_and_cut_off();
    undo(&story);
    story.wait(60_000);
    // Whoever asks again does not make it wait longer, and nor does a controller that is killed.
    story.world.ask("summer", Verb::Undo);
    story.restart();
    story.wait(59_000);
    assert_eq!(story.status().phase, Phase::Promoting);
    story.wait(2_000);
    let status = story.status();
    assert_eq!(status.phase, Phase::RolledBack);
    let named = "not confirmed by every proxy in time: 5 of 6 proxies run it; missing: gateway-2";
    assert!(status.message.ends_with(named), "{}", status.message);
}

#[test]
fn undo_after_a_handover_waits_for_no_proxy() {
    let mut story = at_the_end(TWO_STEPS);
    story.until_phase(Phase::Succeeded);
    story.world.lock().proxies.get_mut("gateway-2").unwrap().cut = true;
    story.world.ask("summer", Verb::Undo);
    story.wait(1_000);
    assert_eq!(story.status().phase, Phase::RolledBack, "no lane was left");
}

#[test]
fn a_release_that_is_deleted_while_its_lanes_leave_waits_for_the_proxies_all_the_same() {
    let mut undone = half_done_and_cut_off();
    undo(&undone);
    let mut retiring = at_the_end(TWO_STEPS);
    retiring.until("the lanes to leave", |status| {
        status.handover.as_ref().is_some_and(|handover| handover.stage == HandoverStage::Retiring)
    });
    retiring.world.lock().proxies.get_mut("gateway-2").unwrap().cut = true;
    for story in [&mut undone, &mut retiring] {
        story.settle();
        story.world.change("summer", |object| object.deleting = true);
        story.wait(5_000);
        assert_eq!(story.world.lock().objects.len(), 1, "gateway-2 may still use the lanes");
        assert!(story.status().message.contains("missing: gateway-2"), "{}", story.status().message);
        story.world.lock().proxies.get_mut("gateway-2").unwrap().cut = false;
        story.wait(1_000);
        assert!(story.world.lock().objects.is_empty());
    }
}

#[test]
fn a_full_promotion_passes_every_wait_but_no_gate_of_the_world() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.wait(1_000);
    let small = graylane::build::Version { service: "orders.shop".into(), lane: "canary".into() };
    story.world.lock().lanes.get_mut(&small).unwrap().ready = 1;
    story.world.ask("summer", Verb::PromoteFull);
    story.wait(60_000);
    assert_eq!(story.status().waiting.unwrap().reason, WaitReason::Capacity);
    story.world.lock().lanes.get_mut(&small).unwrap().ready = 4;
    story.until_phase(Phase::Succeeded);
    let course = story.world.lock().course.clone();
    assert_eq!(course.iter().filter_map(|weights| weights.get("canary")).collect::<Vec<_>>(), [&500, &9_800]);
}
