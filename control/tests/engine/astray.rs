//! Requests that do not go where the release sends them.

use graylane::engine::request::Verb;
use graylane::engine::status::{PauseReason, Phase, Status};
use graylane_analysis::Outcome;

use crate::story::{JUDGED, Story};
use crate::traffic::Traffic;

/// The release holds at its weight, for a person to look.
fn is_held(status: &Status, words: &str) {
    assert_eq!(status.pause.as_ref().unwrap().reason, PauseReason::Judgement);
    assert!(status.message.contains(words), "{}", status.message);
    assert_eq!(status.weight, "canary=10%");
    assert_eq!(status.failure, None, "nothing has failed");
}

#[test]
fn fallbacks_beyond_the_budget_pause_the_release_and_name_the_service() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0).straying(0.3));
    let paused = story.until_phase(Phase::Paused);
    is_held(&paused, "payment.shop: too many of the lane's requests are served by stable");
    story.wait(600_000);
    assert_eq!(story.status().phase, Phase::Paused, "it does not grow while stable serves in the lane's place");
    story.world.lock().traffic.as_mut().unwrap().strays = 0.0;
    story.world.ask("summer", Verb::Resume);
    story.until_weight("canary=50%");
}

#[test]
fn what_was_counted_before_a_person_resumed_is_forgotten() {
    let yaml = format!("{JUDGED}  onFailure: pause\n");
    let mut story = Story::under(&yaml, Traffic::of(100.0).failing("payment", "canary", 0.2));
    let paused = story.until_phase(Phase::Paused);
    assert_eq!(paused.pause.unwrap().reason, PauseReason::Failure);
    story.world.lock().traffic.as_mut().unwrap().errors.clear();
    story.world.ask("summer", Verb::Resume);
    let grown = story.until_weight("canary=50%");
    let failed = grown.history.iter().filter(|entry| entry.reason == "AnalysisFailed").count();
    assert_eq!((grown.failure, failed), (None, 1));
    assert!(grown.analysis["canary"].findings.iter().all(|finding| finding.failures == 0), "{:?}", grown.analysis);
}

#[test]
fn what_was_counted_before_a_release_was_tried_again_is_forgotten() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0).failing("payment", "canary", 0.2));
    story.until_phase(Phase::RolledBack);
    story.world.lock().traffic.as_mut().unwrap().errors.clear();
    story.world.ask("summer", Verb::Retry);
    let grown = story.until_weight("canary=50%");
    assert_eq!((grown.attempt, &grown.failure), (2, &None));
    assert!(grown.analysis["canary"].findings.iter().all(|finding| finding.failures == 0), "{:?}", grown.analysis);
}

#[test]
fn a_wider_budget_and_a_service_without_the_lane_allow_fallbacks() {
    let wide = JUDGED.replace("deadline: 10m", "deadline: 10m, fallbacks: 50%");
    let undeclared = JUDGED.replace("{service: payment}", "{service: payment, lanes: []}");
    for (yaml, strays) in [(JUDGED, 0.02), (wide.as_str(), 0.3), (undeclared.as_str(), 1.0)] {
        let mut story = Story::under(yaml, Traffic::of(100.0).straying(strays));
        let grown = story.until_weight("canary=50%");
        assert_eq!(grown.analysis["canary"].outcome, Outcome::Pass, "{strays} of {yaml}");
    }
}

#[test]
fn a_lane_that_does_not_get_its_weight_pauses_the_release() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0).withheld(1.0));
    let begun = story.until_weight("canary=10%");
    assert_eq!(begun.failure, None);
    let paused = story.until_phase(Phase::Paused);
    is_held(&paused, "the lane gets far less than its weight");
    story.world.lock().traffic.as_mut().unwrap().withheld = 0.0;
    story.world.ask("summer", Verb::Resume);
    story.until_weight("canary=50%");
}

#[test]
fn a_lane_that_begins_at_the_second_service_gets_its_weight() {
    let late = JUDGED.replace("{service: orders}", "{service: orders, lanes: []}");
    let mut story = Story::under(&late, Traffic::of(100.0).beginning_late());
    let grown = story.until_weight("canary=50%");
    assert_eq!(grown.analysis["canary"].outcome, Outcome::Pass);
}

#[test]
fn a_lane_that_gets_far_more_than_its_weight_pauses_the_release() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0).withheld(-9.0));
    let paused = story.until_phase(Phase::Paused);
    is_held(&paused, "the lane gets far more than its weight");
}

/// A release whose lane begins at `payment`: its requests pass stable pods of `orders`, which have to hand the lane on.
fn through_stable(settings: &str) -> String {
    let late = JUDGED.replace("{service: orders}", "{service: orders, lanes: []}");
    late.replace("deadline: 10m", &format!("deadline: 10m, {settings}"))
}

#[test]
fn a_workload_that_loses_the_lane_pauses_the_release_and_is_named() {
    let mut story = Story::under(&through_stable(""), Traffic::of(100.0).dropping(0.9));
    let paused = story.until_phase(Phase::Paused);
    is_held(&paused, "orders does not hand the lane on");
    story.wait(600_000);
    assert_eq!(story.status().phase, Phase::Paused, "it does not grow while the lane gets lost");
    story.world.lock().traffic.as_mut().unwrap().drops = 0.0;
    story.world.ask("summer", Verb::Resume);
    story.until_weight("canary=50%");
}

#[test]
fn a_workload_that_hands_on_nearly_every_lane_pauses_nothing() {
    for drops in [0.0, 0.04] {
        let mut story = Story::under(&through_stable(""), Traffic::of(100.0).dropping(drops));
        let grown = story.until_weight("canary=50%");
        assert_eq!(grown.analysis["canary"].outcome, Outcome::Pass, "{drops}");
    }
}

#[test]
fn a_release_that_asks_for_less_integrity_goes_on_although_the_lane_gets_lost() {
    for (setting, drops) in [("integrity: 20%", 0.6), ("integrity: 0%", 0.8)] {
        let traffic = Traffic::of(500.0).dropping(drops);
        let mut strict = Story::under(&through_stable(""), traffic.clone());
        is_held(&strict.until_phase(Phase::Paused), "orders does not hand the lane on");
        let mut story = Story::under(&through_stable(setting), traffic);
        let grown = story.until_weight("canary=50%");
        assert_eq!(grown.analysis["canary"].outcome, Outcome::Pass, "{setting}");
    }
}

#[test]
fn a_release_that_asks_for_more_integrity_is_paused_where_a_fifth_gets_lost() {
    let traffic = Traffic::of(500.0).dropping(0.2);
    let mut story = Story::under(&through_stable(""), traffic.clone());
    assert_eq!(story.until_weight("canary=50%").analysis["canary"].outcome, Outcome::Pass);
    let mut strict = Story::under(&through_stable("integrity: 90%"), traffic);
    let reason = |status: &Status| status.pause.as_ref().map(|pause| pause.reason);
    let held = strict.until("a hold", |status| reason(status) == Some(PauseReason::Judgement));
    assert!(held.message.contains("orders does not hand the lane on") && held.failure.is_none(), "{}", held.message);
}
