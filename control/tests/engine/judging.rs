use std::collections::BTreeMap;

use graylane::build::Side;
use graylane::engine::request::Verb;
use graylane::engine::status::{PauseReason, Phase, Status, WaitReason};
use graylane_analysis::{FaultKind, Outcome};

use crate::story::{JUDGED, Story};
use crate::traffic::Traffic;

const AUTO: &str = "
  lanes: [{name: canary}]
  members: [{service: orders}, {service: payment}]
  entry: {gateways: [{namespace: istio-ingress}]}
  steps: [{auto: {from: 1%}}]
  analysis: {}
  promotion: {strategy: copyTemplate}
";
fn outcome(status: &Status) -> Option<Outcome> {
    status.analysis.get("canary").map(|lane| lane.outcome)
}

fn change(story: &Story, change: impl FnOnce(&mut Traffic)) {
    change(story.world.lock().traffic.as_mut().unwrap());
}

fn seconds_since_start(story: &Story) -> u64 {
    let begun = story.status().history.iter().find(|entry| entry.reason == "Started").unwrap().at_ms;
    (story.now - begun) / 1000
}

#[test]
fn a_good_release_grows_by_evidence_and_is_handed_over() {
    let mut story = Story::under(AUTO, Traffic::of(100.0));
    let done = story.until("the end", |status| status.phase == Phase::Succeeded);
    assert_eq!(outcome(&done), Some(Outcome::Pass));
    let at = |reason: &str| done.history.iter().find(|entry| entry.reason == reason).unwrap().at_ms;
    let took = (at("Verified") - at("Started")) / 1000;
    assert!(took <= 60, "took {took} s");
    let baked = (at("Handover") - at("Verified")) / 1000;
    assert!((60..=62).contains(&baked), "what is judged stays for a minute: {baked} s");
    let course: Vec<u32> = story.world.lock().course.iter().map(|w| w.get("canary").copied().unwrap_or(0)).collect();
    assert!(course.windows(2).all(|pair| pair[0] <= pair[1] || pair[1] == 0), "{course:?}");
    assert_eq!(course[..2], [0, 100]);
    assert!(course.contains(&9_800), "the holdback stays on stable: {course:?}");
}

#[test]
fn a_release_whose_second_service_fails_is_taken_back_and_the_hop_is_named() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0).failing("payment", "canary", 0.2));
    let back = story.until("the way back", |status| status.phase == Phase::RolledBack);
    let failure = back.failure.as_ref().unwrap();
    let fault = failure.fault.as_ref().unwrap();
    assert_eq!((fault.service.as_str(), fault.lane.as_str()), ("payment.shop", "canary"));
    assert!(back.message.contains("payment.shop breaks success rate"), "{}", back.message);
    let took = (failure.decided_ms - fault.first_bad_ms) / 1000;
    assert!(took <= 10, "decided after {took} s");
    let said = &back.history.iter().find(|entry| entry.reason == "RolledBack").unwrap().message;
    assert!(said.contains("after the first bad request") && said.contains("the lane served until"), "{said}");
    assert!(story.world.lock().weights().is_empty());
}

#[test]
fn a_failing_release_is_taken_back_by_one_change_of_its_entry_and_of_no_document_by_two() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0).failing("payment", "canary", 0.2));
    story.until("the analysis", |status| status.step == 1);
    story.wait(1_000);
    story.world.lock().changes.clear();
    story.until_phase(Phase::RolledBack);
    let inner = story.world.lock();
    let back = inner.changes.iter().filter(|(_, phase)| *phase != Phase::RolledBack);
    let places: Vec<_> = back.map(|(place, _)| (place.namespace.as_str(), place.side)).collect();
    assert_eq!(places, [("istio-ingress", Side::Gateway), ("shop", Side::Inbound), ("shop", Side::Outbound)]);
    assert_eq!(inner.course.iter().rev().take(2).map(BTreeMap::len).collect::<Vec<_>>(), [0, 1], "of all members");
}

#[test]
fn a_service_that_hangs_is_named_and_not_the_one_that_gave_up_on_it() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0).hanging(0.2));
    let back = story.until("the way back", |status| status.phase == Phase::RolledBack);
    let fault = back.failure.clone().unwrap().fault.unwrap();
    assert_eq!((fault.service.as_str(), fault.kind), ("payment.shop", FaultKind::Hanging));
    assert!(back.message.contains("payment.shop hangs: its callers gave up on"), "{}", back.message);
    let failed = story.world.lock().traffic.as_ref().unwrap().failed["orders.shop"].clone();
    assert!(!fault.traces.is_empty() && fault.traces.iter().all(|id| failed.contains(id)), "{:?}", fault.traces);
}

#[test]
fn a_verdict_names_requests_that_failed_at_the_hop_it_blames_and_in_this_attempt() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0).failing("payment", "canary", 0.2));
    let named_by = |status: &Status| status.failure.clone().unwrap().fault.unwrap().traces;
    let back = story.until("the way back", |status| status.phase == Phase::RolledBack);
    let failed = |story: &Story| story.world.lock().traffic.as_ref().unwrap().failed["payment.shop"].clone();
    let (first, earlier) = (named_by(&back), failed(&story));
    assert!((1..=5).contains(&first.len()) && first.iter().all(|id| earlier.contains(id)), "{first:?}");
    let told = back.history.iter().find(|entry| entry.reason == "AnalysisFailed").unwrap();
    assert!(told.message.contains(&first[0]), "{}", told.message);

    story.world.ask("summer", Verb::Retry);
    let again = story.until("the next way back", |status| status.attempt == 2 && status.phase == Phase::RolledBack);
    let second = named_by(&again);
    let all = failed(&story);
    assert!(!second.is_empty() && second.iter().all(|id| all.contains(id) && !earlier.contains(id)), "{second:?}");
}

#[test]
fn a_failing_release_may_ask_to_be_paused_instead() {
    let yaml = format!("{JUDGED}  onFailure: pause\n");
    let mut story = Story::under(&yaml, Traffic::of(100.0).failing("orders", "canary", 0.5));
    let paused = story.until_phase(Phase::Paused);
    assert_eq!(paused.pause.as_ref().unwrap().reason, PauseReason::Failure);
    assert_eq!(paused.weight, "canary=10%");
    story.wait(60_000);
    assert_eq!(story.status().phase, Phase::Paused);
}

#[test]
fn too_little_traffic_is_unverified_and_not_passed() {
    let mut story = Story::under(JUDGED, Traffic::of(2.0));
    let paused = story.until_phase(Phase::Paused);
    assert_eq!(paused.pause.as_ref().unwrap().reason, PauseReason::Unverified);
    assert!(paused.message.contains("unverified"), "{}", paused.message);
    assert_eq!((paused.step, paused.weight.as_str()), (1, "canary=10%"));
    story.wait(900_000);
    assert_eq!(story.status().phase, Phase::Paused, "time alone verifies nothing");
    story.world.ask("summer", Verb::Promote);
    story.until_weight("canary=50%");
}

#[test]
fn what_fails_everywhere_is_no_reason_to_go_back() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0));
    story.until_weight("canary=10%");
    story.wait(3_000);
    change(&story, |traffic| {
        for lane in ["stable", "canary"] {
            traffic.errors.insert(("payment", lane), 0.3);
        }
    });
    let paused = story.until_phase(Phase::Paused);
    assert_eq!(paused.pause.as_ref().unwrap().reason, PauseReason::Judgement);
    assert!(paused.message.contains("shared outage"), "{}", paused.message);
    assert_eq!(paused.weight, "canary=10%");
    change(&story, |traffic| traffic.errors.clear());
    story.wait(30_000);
    assert_eq!(story.status().phase, Phase::Paused, "a person says when it is over");
    story.world.ask("summer", Verb::Resume);
    story.until_weight("canary=50%");
}

#[test]
fn without_data_the_release_holds_and_says_since_when() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0));
    story.until("the analysis", |status| status.step == 1);
    change(&story, |traffic| traffic.silent = true);
    story.wait(60_000);
    let status = story.status();
    assert_eq!((status.phase, status.weight.as_str()), (Phase::Progressing, "canary=10%"));
    let waiting = status.waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::Evidence);
    assert!(waiting.message.contains("no reports"), "{}", waiting.message);
    change(&story, |traffic| traffic.silent = false);
    story.until_weight("canary=50%");
}

#[test]
fn a_release_that_says_so_is_paused_without_data() {
    let mut story = Story::under(&format!("{JUDGED}  onNoData: pause\n"), Traffic::of(100.0));
    story.until("the analysis", |status| status.step == 1);
    story.wait(2_000);
    change(&story, |traffic| traffic.silent = true);
    let paused = story.until_phase(Phase::Paused);
    assert!(paused.message.contains("no data"), "{}", paused.message);
}

#[test]
fn a_controller_that_starts_again_goes_on_with_the_evidence() {
    let yaml = &JUDGED.replace("10%", "50%");
    let mut undisturbed = Story::under(yaml, Traffic::of(100.0));
    undisturbed.until("a verdict", |status| outcome(status) == Some(Outcome::Pass));
    let mut killed = Story::under(yaml, Traffic::of(100.0));
    killed.until_weight("canary=50%");
    for _ in 0..3 {
        killed.wait(11_000);
        killed.restart();
    }
    killed.until("a verdict", |status| outcome(status) == Some(Outcome::Pass));
    let (straight, again) = (seconds_since_start(&undisturbed), seconds_since_start(&killed));
    // Each restart loses what was counted since the evidence was kept last, which is at most 10 s.
    assert!(again <= straight + 3 * 13, "{straight} s and {again} s");
}

#[test]
fn evidence_is_written_seldom() {
    let mut story = Story::under(JUDGED, Traffic::of(2.0));
    story.until_weight("canary=10%");
    story.wait(5_000);
    let before = story.world.lock().writes;
    story.wait(120_000);
    let writes = story.world.lock().writes - before;
    assert!(writes <= 14, "{writes} writes in two minutes");
}

#[test]
fn a_weight_that_was_asked_for_in_full_still_comes_back_when_it_harms() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0));
    story.until("the analysis", |status| status.step == 1);
    story.world.ask("summer", Verb::PromoteFull);
    change(&story, |traffic| traffic.errors = [(("orders", "canary"), 1.0)].into());
    story.until_phase(Phase::RolledBack);
}

#[test]
fn a_brake_that_nothing_confirms_is_released_and_in_the_end_shown_to_a_person() {
    let mut story = Story::under(JUDGED, Traffic::of(100.0));
    story.until("the analysis", |status| status.step == 1);
    change(&story, |traffic| traffic.braked = true);
    let braked =
        story.until("the brake to be seen", |status| status.brake.is_some_and(|brake| brake.since_ms.is_some()));
    assert!(braked.history.iter().any(|entry| entry.reason == "Braked"));
    story.until("a release of the brake", |status| status.brake.is_some_and(|brake| brake.released == 1));
    let released = |story: &Story| {
        let groups = story.world.lock().groups("istio-ingress", Side::Gateway);
        groups[0].brake.as_ref().map(|brake| brake.released)
    };
    story.wait(1_000);
    assert_eq!(released(&story), Some(1), "the proxies are told");
    let paused = story.until_phase(Phase::Paused);
    assert_eq!(paused.pause.unwrap().reason, PauseReason::Judgement);
    assert_eq!(released(&story), Some(4));
}

#[test]
fn a_brake_and_counts_that_alone_are_too_few_confirm_each_other() {
    let then = |harm: fn(&mut Traffic)| {
        let mut story = Story::under(JUDGED, Traffic::of(100.0).failing("payment", "canary", 0.05));
        story.until("the analysis", |status| status.step == 1);
        story.wait(9_000);
        change(&story, harm);
        story.wait(10_000);
        story.status()
    };
    let alone = then(|traffic| traffic.rps = 0.0);
    assert_eq!((alone.phase, alone.failure), (Phase::Progressing, None), "the counts decide nothing");
    let both = then(|traffic| traffic.braked = true);
    assert_eq!(both.phase, Phase::RolledBack, "{}", both.message);
    assert!(both.brake.is_none_or(|brake| brake.released == 0));
}

#[test]
fn proxies_brake_only_where_a_release_is_judged() {
    let judged = |yaml: &str| {
        let mut story = Story::under(yaml, Traffic::of(0.0));
        story.until_weight("canary=10%");
        story.wait(1_000);
        let groups = story.world.lock().groups("istio-ingress", Side::Gateway);
        groups[0].brake.as_ref().map(|brake| brake.evidence)
    };
    assert_eq!(judged(JUDGED), Some(80_000), "six proxies count as eight");
    let alone = "  analysis: {deadline: 10m}\n";
    assert_eq!(judged(&JUDGED.replace(alone, "").replace("{analysis: {duration: 5m}}", "{pause: {}}")), None);
}

const EVERYBODY: &str = "
  lanes: [{name: canary}]
  members: [{service: orders}, {service: payment}]
  entry: {gateways: [{namespace: istio-ingress}]}
  steps: [{weight: 10%}, {pause: {duration: 1m}}, {weight: 100%}, {pause: {}}]
  analysis: {deadline: 10m}
  promotion: {strategy: manual, holdback: 0%}
";

#[test]
fn a_lane_that_has_everybody_and_dies_goes_back_although_stable_serves_nobody() {
    let mut story = Story::under(EVERYBODY, Traffic::of(100.0));
    story.until_weight("canary=100%");
    story.wait(120_000);
    assert_eq!(story.status().phase, Phase::Paused, "{}", story.status().message);
    let died_ms = story.now;
    change(&story, |traffic| traffic.errors = [(("payment", "canary"), 1.0)].into());
    let back = story.until_phase(Phase::RolledBack);
    let took = (back.failure.unwrap().decided_ms - died_ms) / 1000;
    assert!(took <= 15, "decided after {took} s");
}

/// A release whose clock is turned back by five minutes in the midst of its analysis, and what comes of it.
fn turned_back(then: fn(&mut Traffic)) -> Story {
    let mut story = Story::under(&JUDGED.replace("10%}", "20%}"), Traffic::of(50.0));
    story.until("the analysis", |status| status.step == 1);
    story.wait(20_000);
    story.now -= 300_000;
    change(&story, then);
    story
}

#[test]
fn a_clock_that_is_turned_back_lets_a_good_release_go_on_after_evidence_of_its_own() {
    let mut story = turned_back(|_| ());
    story.wait(2_000);
    let told = story.status().history.iter().any(|entry| entry.reason == "ClockTurnedBack");
    assert!(told, "{:?}", story.status().history);
    let begun = story.now;
    story.until_weight("canary=50%");
    let took = (story.now - begun) / 1000;
    assert!((30..240).contains(&took), "went on after {took} s");
}

#[test]
fn a_clock_that_is_turned_back_keeps_no_bad_release_from_going_back() {
    let mut story = turned_back(|traffic| traffic.errors = [(("payment", "canary"), 0.5)].into());
    let begun = story.now;
    story.until_phase(Phase::RolledBack);
    let took = (story.now - begun) / 1000;
    assert!(took <= 20, "went back after {took} s");
}

#[test]
fn what_was_concluded_before_the_clock_was_turned_back_lets_nothing_go_on() {
    let mut story = Story::under(
        &JUDGED.replace("{analysis: {duration: 5m}}", "{pause: {duration: 2m}}, {analysis: {duration: 20m}}"),
        Traffic::of(100.0),
    );
    story.until("a verdict", |status| outcome(status) == Some(Outcome::Pass));
    story.now -= 300_000;
    change(&story, |traffic| traffic.silent = true);
    story.wait(5_000);
    assert_eq!(outcome(&story.status()), Some(Outcome::Wait), "{:?}", story.status().analysis["canary"].reason);
    story.wait(480_000);
    assert_eq!(story.status().weight, "canary=10%");
}

#[test]
fn a_lane_whose_time_was_over_is_called_unverified_also_after_a_restart_until_somebody_goes_on() {
    let mut story = Story::under(JUDGED, Traffic::of(2.0));
    story.until("a word", |status| outcome(status) == Some(Outcome::Wait));
    let paused = story.until_phase(Phase::Paused);
    assert_eq!(outcome(&paused), Some(Outcome::Unverified));
    story.restart();
    for _ in 0..20 {
        story.wait(1_000);
        assert_eq!(outcome(&story.status()), Some(Outcome::Unverified));
    }
    story.world.ask("summer", Verb::Promote);
    story.until("the next step", |status| status.step > 1);
    story.wait(5_000);
    assert_eq!(outcome(&story.status()), Some(Outcome::Wait));
}

#[test]
fn a_lane_that_gets_near_half_of_the_users_at_a_weight_of_one_percent_is_paused() {
    let yaml = JUDGED.replace("10%}", "1%}");
    let mut story = Story::under(&yaml, Traffic::of(100.0));
    change(&story, |traffic| traffic.share = Some(0.45));
    let status = story.until_phase(Phase::Paused);
    assert_eq!(status.pause.as_ref().unwrap().reason, PauseReason::Judgement);
    assert!(status.message.contains("far more than its weight"), "{}", status.message);
}

/// A release with an objective for latency.
fn quick() -> String {
    JUDGED.replace("{deadline: 10m}", "{deadline: 10m, latency: [{overMs: 300, share: 95%}]}")
}

#[test]
fn a_release_that_is_taken_back_for_being_slow_names_requests_that_were() {
    let mut story = Story::under(&quick(), Traffic::of(100.0).slowed(0.6));
    let back = story.until("the way back", |status| status.phase == Phase::RolledBack);
    let fault = back.failure.clone().unwrap().fault.unwrap();
    assert_eq!((fault.service.as_str(), fault.kind), ("orders.shop", FaultKind::Slow));
    let slowed = story.world.lock().traffic.as_ref().unwrap().slowed.clone();
    assert!(!fault.traces.is_empty() && fault.traces.iter().all(|id| slowed.contains(id)), "{:?}", fault.traces);
}

#[test]
fn pods_that_become_ready_later_may_be_slow_at_first() {
    let then = |grows: bool| {
        let mut story = Story::under(&quick().replace("10%}", "50%}"), Traffic::of(100.0));
        story.until("the analysis", |status| status.step == 1);
        story.wait(20_000);
        if grows {
            let mut inner = story.world.lock();
            inner.lanes.values_mut().for_each(|pods| (pods.ready, pods.wanted) = (8, 8));
        }
        change(&story, |traffic| traffic.slow = 0.6);
        story.wait(4_000);
        change(&story, |traffic| traffic.slow = 0.0);
        story.wait(10_000);
        story.status()
    };
    assert_eq!(then(false).phase, Phase::RolledBack);
    let grown = then(true);
    assert_ne!(grown.phase, Phase::RolledBack, "{}", grown.message);
}
