use graylane::build::Side;
use graylane::engine::request::Verb;
use graylane::engine::status::Phase;

use crate::story::{Story, TWO_STEPS};
use crate::traffic::Traffic;

#[test]
fn a_deleted_release_leaves_only_once_every_proxy_runs_without_it() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.wait(1_000);
    story.world.lock().proxies.get_mut("gateway-1").unwrap().cut = true;
    story.world.change("summer", |object| object.deleting = true);
    story.wait(20_000);
    assert!(story.world.lock().weights().is_empty(), "taken back at once");
    assert_eq!(story.world.lock().objects.len(), 1, "but still there");
    story.world.lock().proxies.get_mut("gateway-1").unwrap().cut = false;
    story.wait(1_000);
    assert!(story.world.lock().objects.is_empty());
    for (namespace, side) in [("istio-ingress", Side::Gateway), ("shop", Side::Inbound), ("shop", Side::Outbound)] {
        assert!(story.world.lock().is_inert(namespace, side), "{side:?}");
    }
}

#[test]
fn a_proxy_that_never_answers_does_not_keep_a_deleted_release() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.wait(1_000);
    story.world.lock().proxies.get_mut("gateway-1").unwrap().cut = true;
    story.world.change("summer", |object| object.deleting = true);
    story.wait(61_000);
    assert!(story.world.lock().objects.is_empty());
}

/// A release with a time-out of its own, deleted while a proxy does not answer.
fn deleted_while_cut_off(timeout: &str) -> Story {
    let mut story = Story::of(&format!("{TWO_STEPS}  acknowledgement: {{timeout: {timeout}}}\n"));
    story.until_weight("canary=5%");
    story.wait(1_000);
    story.world.lock().proxies.get_mut("gateway-1").unwrap().cut = true;
    story.world.change("summer", |object| object.deleting = true);
    story
}

#[test]
fn a_deleted_release_is_kept_for_as_long_as_it_says_that_proxies_are_waited_for() {
    for (timeout, millis) in [("10s", 10_000), ("5m", 300_000)] {
        let mut story = deleted_while_cut_off(timeout);
        story.wait(millis - 1_000);
        assert_eq!(story.world.lock().objects.len(), 1, "{timeout}");
        assert!(story.status().message.contains("missing: gateway-1"), "{}", story.status().message);
        story.wait(2_000);
        assert!(story.world.lock().objects.is_empty(), "{timeout}");
    }
}

#[test]
fn one_that_cannot_be_read_is_kept_for_a_minute() {
    let mut story = deleted_while_cut_off("5m");
    story.settle();
    story.world.edit("summer", "  lanes: []\n  members: []\n");
    story.wait(59_000);
    assert_eq!(story.world.lock().objects.len(), 1);
    story.wait(2_000);
    assert!(story.world.lock().objects.is_empty());
}

#[test]
fn one_that_never_began_goes_at_once() {
    let mut story = Story::of(&TWO_STEPS.replace("5%", "500%"));
    story.until_phase(Phase::Invalid);
    story.world.change("summer", |object| (object.deleting, object.held) = (true, true));
    story.wait(200);
    assert!(story.world.lock().objects.is_empty());
}

#[test]
fn other_releases_stay_when_one_goes() {
    let world = crate::world::World::shop();
    world.add("summer", TWO_STEPS);
    let other = TWO_STEPS.replace("service: orders}, {service: payment", "service: stock");
    world.add("winter", &other.replace("rules:", "carriedHeader: x-winter\n  rules:"));
    let stock = graylane::build::Version { service: "stock.shop".into(), lane: "canary".into() };
    world.lock().lanes.insert(stock, graylane::engine::seen::Replicas { ready: 4, wanted: 4 });
    let mut story = Story::new(world);
    story.until_weight("canary=5%");
    story.wait(1_000);
    story.world.change("summer", |object| object.deleting = true);
    story.wait(2_000);
    let groups = story.world.lock().groups("istio-ingress", Side::Gateway);
    assert_eq!(groups.iter().map(|group| group.rollout.as_str()).collect::<Vec<_>>(), ["shop/winter"]);
}

#[test]
fn what_nobody_owns_any_more_becomes_inert() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    // Somebody removes the finalizer while no controller runs.
    story.world.lock().objects.clear();
    story.restart();
    story.wait(1_000);
    assert!(story.world.lock().is_inert("istio-ingress", Side::Gateway));
}

#[test]
fn while_nothing_can_be_written_nothing_moves_and_then_it_goes_on() {
    let mut story = Story::of(TWO_STEPS);
    story.until("the first wait", |status| status.phase == Phase::Paused);
    story.world.lock().away = true;
    story.wait(120_000);
    assert_eq!(story.world.lock().weights()["canary"], 500);
    story.world.lock().away = false;
    story.wait(2_000);
    assert_eq!(story.status().weight, "canary=50%");
}

#[test]
fn what_somebody_else_changed_is_delivered_again() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.wait(1_000);
    let place = graylane::engine::seams::Place { namespace: "istio-ingress".into(), side: Side::Gateway };
    let before = {
        let mut inner = story.world.lock();
        inner.disturbed.insert("istio-ingress".into());
        inner.held.remove(&place).unwrap().0
    };
    story.settle();
    let inner = story.world.lock();
    assert_eq!(inner.weights()["canary"], 500);
    assert!(inner.held[&place].0 > before, "a generation is never used twice");
}

#[test]
fn a_namespace_that_does_not_exist_does_not_keep_a_deleted_release() {
    let world = crate::world::World::shop();
    world.lock().missing.insert("istio-ingress".into());
    world.add("summer", TWO_STEPS);
    let mut story = Story::new(world);
    story.wait(5_000);
    assert_eq!(story.status().weight, "", "nothing is raised while the entry cannot be told");
    story.world.change("summer", |object| object.deleting = true);
    story.wait(61_000);
    assert!(story.world.lock().objects.is_empty());
}

#[test]
fn one_that_has_ended_asks_for_nothing_once_its_config_is_taken_away() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.world.ask("summer", graylane::engine::request::Verb::Abort);
    story.until_phase(Phase::RolledBack);
    story.wait(5_000);
    assert!(story.world.lock().is_inert("istio-ingress", Side::Gateway), "kept for proxies that start");
    // The namespaces are uninstalled.
    story.world.lock().held.clear();
    story.world.lock().disturbed.extend(["istio-ingress".into(), "shop".into()]);
    story.restart();
    story.wait(60_000);
    assert!(story.world.lock().held.is_empty(), "{:?}", story.world.lock().held);
}

fn with_streams(yaml: &str) -> Story {
    let story = Story::of(yaml);
    let mut traffic = Traffic::of(0.0);
    traffic.open.insert("gateway-1", [("orders.shop".to_owned(), 2)].into());
    traffic.open.insert("orders-canary", [("payment.shop".to_owned(), 1)].into());
    story.world.lock().traffic = Some(traffic);
    story
}

fn end_streams(story: &Story) {
    story.world.lock().traffic.as_mut().unwrap().open.clear();
}

#[test]
fn streams_that_outlive_their_lane_are_told_and_counted_until_the_last_has_ended() {
    let mut story = with_streams(TWO_STEPS);
    story.until_weight("canary=5%");
    story.wait(1_000);
    assert_eq!(story.status().streams, None, "the lane is there");
    story.world.ask("summer", Verb::Abort);
    story.until_phase(Phase::RolledBack);
    let told = "3 streams are left (orders.shop 2, payment.shop 1)";
    story.wait(60_000);
    let messages = story.status().history.into_iter().filter(|entry| entry.reason == "StreamsLeft");
    assert_eq!(messages.map(|entry| entry.message).collect::<Vec<_>>(), [told], "once");
    let streams = story.status().streams.unwrap();
    assert_eq!((streams.left, streams.until_ms, streams.words().as_str()), (Some(3), None, told));

    let before = story.world.lock().writes;
    end_streams(&story);
    story.wait(5_000);
    let status = story.status();
    let streams = status.streams.clone().unwrap();
    assert!(streams.left == Some(0) && streams.until_ms.is_some() && streams.words().is_empty(), "{streams:?}");
    assert!(status.history.iter().any(|entry| entry.reason == "StreamsEnded"));
    story.wait(600_000);
    assert!(story.world.lock().writes <= before + 2, "and then nobody looks any more");
}

#[test]
fn streams_that_never_end_are_counted_for_a_while() {
    let mut story = with_streams(TWO_STEPS);
    story.until_weight("canary=5%");
    story.world.ask("summer", Verb::Abort);
    story.until_phase(Phase::RolledBack);
    story.wait(620_000);
    let status = story.status();
    let streams = status.streams.clone().unwrap();
    assert!(streams.left == Some(3) && streams.until_ms.is_some(), "{streams:?}");
    assert!(status.history.iter().all(|entry| entry.reason != "StreamsEnded"));
    story.world.ask("summer", Verb::Retry);
    story.until_weight("canary=5%");
    assert_eq!(story.status().streams, None, "the lane is there again");
}

#[test]
fn a_handover_tells_of_streams_that_the_lane_still_has() {
    let yaml = TWO_STEPS.replace("{duration: 30s}", "{duration: 1s}").replace("{pause: {}}, ", "");
    let mut story = with_streams(&yaml);
    story.until_phase(Phase::Succeeded);
    story.wait(2_500);
    assert_eq!(story.status().streams.unwrap().left, Some(3));
    end_streams(&story);
    story.until("the last one", |status| status.history.iter().any(|entry| entry.reason == "StreamsEnded"));
}

#[test]
fn only_callers_close_streams_and_only_when_told_to() {
    let told = |yaml: &str| {
        let mut story = Story::of(yaml);
        story.until_weight("canary=5%");
        story.wait(1_000);
        let world = story.world.lock();
        let places = [("istio-ingress", Side::Gateway), ("shop", Side::Outbound), ("shop", Side::Inbound)];
        places.map(|(namespace, side)| world.groups(namespace, side)[0].drain_after_ms)
    };
    assert_eq!(told(TWO_STEPS), [None; 3]);
    assert_eq!(told(&format!("{TWO_STEPS}  drain: {{after: 5s}}\n")), [None; 3], "a time alone asks for nothing");
    assert_eq!(told(&format!("{TWO_STEPS}  drain: {{streams: close}}\n")), [Some(30_000), Some(30_000), None]);
}
