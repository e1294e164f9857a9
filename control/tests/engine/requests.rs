use graylane::build::Side;
use graylane::engine::request::{Request, Verb};
use graylane::engine::status::Phase;

use crate::story::{Story, TWO_STEPS};

#[test]
fn a_pause_holds_and_a_resume_goes_on() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.world.ask("summer", Verb::Pause);
    story.wait(120_000);
    assert_eq!((story.status().phase, story.status().weight.as_str()), (Phase::Paused, "canary=5%"));
    story.world.ask("summer", Verb::Resume);
    story.until_weight("canary=50%");
}

#[test]
fn a_gate_opens_by_promote_and_not_by_resume() {
    let mut story = Story::of(&TWO_STEPS.replace("pause: {}", "gate: {name: qa}"));
    story.until("the gate", |status| status.step == 3 && status.phase == Phase::Paused);
    story.world.ask("summer", Verb::Resume);
    story.wait(10_000);
    assert_eq!(story.status().step, 3);
    assert!(story.status().history.last().unwrap().message.contains("promote"));
    story.world.ask("summer", Verb::Promote);
    story.until_weight("canary=98%");
}

#[test]
fn a_promotion_of_another_step_is_refused() {
    let mut story = Story::of(TWO_STEPS);
    story.until("the wait", |status| status.step == 3 && status.phase == Phase::Paused);
    let late = Request { id: "late".into(), verb: Verb::Promote, step: Some(1) };
    story.world.change("summer", |object| object.request = Some(late));
    story.wait(1_000);
    assert_eq!(story.status().step, 3);
    assert_eq!(story.status().handled_request, "late");
}

#[test]
fn a_request_is_handled_once_even_by_the_next_controller() {
    let mut story = Story::of(&TWO_STEPS.replace("{pause: {}}", "{pause: {}}, {pause: {}}"));
    story.until("the wait", |status| status.step == 3 && status.phase == Phase::Paused);
    story.world.ask("summer", Verb::Promote);
    story.until("the next wait", |status| status.step == 4 && status.phase == Phase::Paused);
    story.restart();
    story.wait(10_000);
    assert_eq!(story.status().step, 4);
}

#[test]
fn a_retry_is_a_new_attempt_with_other_users_first() {
    let mut story = Story::of(TWO_STEPS);
    let first = story.until_weight("canary=5%");
    story.world.ask("summer", Verb::Abort);
    story.until_phase(Phase::RolledBack);
    story.world.ask("summer", Verb::Retry);
    let second = story.until_weight("canary=5%");
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_ne!(first.salt, second.salt);
}

#[test]
fn what_makes_no_sense_is_answered_and_changes_nothing() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    for verb in [Verb::Retry, Verb::Promote, Verb::Resume] {
        story.world.ask("summer", verb);
        story.settle();
        let last = story.status().history.last().cloned().unwrap();
        assert_eq!(last.reason, "Ignored", "{verb:?}");
        assert_eq!(story.status().weight, "canary=5%");
    }
}

#[test]
fn an_aborted_release_counts_as_back_only_once_proxies_say_so() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.world.ask("summer", Verb::Abort);
    story.settle();
    assert_eq!(story.status().phase, Phase::RollingBack, "what proxies ran before the push proves nothing");
    assert!(!story.world.lock().is_inert("istio-ingress", Side::Gateway), "a filter is there that can confirm it");
    story.until_phase(Phase::RolledBack);
}
