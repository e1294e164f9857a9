use graylane::build::{Side, Version};
use graylane::engine::request::Verb;
use graylane::engine::seen::Replicas;
use graylane::engine::status::{Phase, WaitReason};

use crate::story::{Story, TWO_STEPS};

fn canary(service: &str) -> Version {
    Version { service: format!("{service}.shop"), lane: "canary".into() }
}

#[test]
fn an_unreachable_proxy_holds_the_raise_and_is_named() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.world.lock().proxies.get_mut("gateway-2").unwrap().cut = true;
    story.wait(30_000);
    let status = story.status();
    assert_eq!(status.weight, "canary=5%");
    assert_eq!(status.waiting.as_ref().unwrap().reason, WaitReason::Acknowledgement);
    assert_eq!(status.proxies.missing, ["gateway-2"]);
    assert!(status.message.contains("gateway-2"), "{}", status.message);
    story.world.lock().proxies.get_mut("gateway-2").unwrap().cut = false;
    story.until_weight("canary=50%");
}

#[test]
fn a_proxy_that_stays_away_takes_the_release_back() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.world.lock().proxies.get_mut("gateway-2").unwrap().cut = true;
    story.wait(61_000);
    assert!(story.world.lock().weights().is_empty());
    let status = story.until_phase(Phase::RolledBack);
    assert!(status.message.contains("gateway-2"), "{}", status.message);
}

#[test]
fn how_long_a_raise_waits_is_what_the_release_says() {
    for (timeout, millis) in [("10s", 10_000), ("5m", 300_000)] {
        let mut story = Story::of(&format!("{TWO_STEPS}  acknowledgement: {{timeout: {timeout}}}\n"));
        story.until_weight("canary=5%");
        story.world.lock().proxies.get_mut("gateway-2").unwrap().cut = true;
        story.wait(millis - 1_000);
        assert_eq!(story.status().weight, "canary=5%", "{timeout}");
        story.wait(2_000);
        let status = story.status();
        assert_eq!((status.phase, status.weight.as_str()), (Phase::RollingBack, ""), "{timeout}");
        assert!(story.world.lock().weights().is_empty());
        let timed_out = status.history.iter().filter(|entry| entry.reason == "AcknowledgementTimeout");
        assert_eq!(timed_out.count(), 1, "{:?}", status.history);
        // The same proxy does not confirm the way back either.
        story.wait(millis - 3_000);
        assert_eq!(story.status().phase, Phase::RollingBack, "{timeout}");
        story.wait(4_000);
        assert_eq!(story.status().phase, Phase::RolledBack, "{timeout}");
    }
}

#[test]
fn or_pauses_it_where_that_is_wanted() {
    let mut story = Story::of(&format!("{TWO_STEPS}  onFailure: pause\n"));
    story.until_weight("canary=5%");
    story.world.lock().proxies.get_mut("gateway-2").unwrap().cut = true;
    story.wait(200_000);
    assert_eq!((story.status().phase, story.status().weight.as_str()), (Phase::Paused, "canary=5%"));
}

#[test]
fn a_quorum_goes_on_without_the_rest() {
    let mut story = Story::of(&format!("{TWO_STEPS}  acknowledgement: {{quorum: 80%}}\n"));
    story.world.lock().proxies.get_mut("orders-canary").unwrap().cut = true;
    story.until_weight("canary=50%");
}

#[test]
fn taking_back_waits_for_nobody() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.wait(1_000);
    for proxy in story.world.lock().proxies.values_mut() {
        proxy.cut = true;
    }
    story.world.ask("summer", graylane::engine::request::Verb::Abort);
    story.settle();
    let inner = story.world.lock();
    assert!(inner.weights().is_empty());
    assert!(inner.groups("istio-ingress", Side::Gateway).is_empty());
    assert!(inner.groups("shop", Side::Outbound).is_empty());
}

#[test]
fn a_lane_without_endpoints_gets_no_weight() {
    let mut story = Story::of(TWO_STEPS);
    story.world.lock().lanes.insert(canary("payment"), Replicas::default());
    story.wait(60_000);
    let status = story.status();
    assert_eq!(status.waiting.unwrap().reason, WaitReason::Endpoints);
    assert_eq!(status.weight, "");
    story.world.lock().lanes.insert(canary("payment"), Replicas { ready: 1, wanted: 1 });
    story.until_weight("canary=5%");
}

#[test]
fn a_lane_without_endpoints_is_told_with_its_field_and_a_mend() {
    let told = |probed: bool| {
        let mut story = Story::of(TWO_STEPS);
        story.world.lock().lanes.insert(canary("payment"), Replicas::default());
        story.world.lock().probed = probed;
        story.wait(1_000);
        story.status().waiting.unwrap().message
    };
    let lack = "spec.members[1]: payment.shop/canary has no ready endpoint; ";
    let pods =
        "see that pods with the labels of subset canary run and are ready, or mend the subset in its DestinationRule";
    assert_eq!(told(false), format!("{lack}{pods}"));
    assert_eq!(
        told(true),
        format!("{lack}see that what `proxies.yaml` probes for it answers, or mend the probe there")
    );
}

#[test]
fn a_lane_that_is_too_small_gets_no_more_weight() {
    let mut story = Story::of(TWO_STEPS);
    story.world.lock().lanes.insert(canary("orders"), Replicas { ready: 1, wanted: 1 });
    story.until_weight("canary=5%");
    story.wait(60_000);
    let status = story.status();
    assert_eq!(status.waiting.as_ref().unwrap().reason, WaitReason::Capacity);
    let lack = "spec.members[0]: orders.shop/canary has 1 of 2 ready replicas that 50% needs; \
                start more of them, or lower `spec.capacity.floor`";
    assert!(status.message.ends_with(lack), "{}", status.message);
    story.world.lock().lanes.insert(canary("orders"), Replicas { ready: 2, wanted: 2 });
    story.until_weight("canary=50%");
}

#[test]
fn a_lane_whose_pods_die_is_left_out_of_the_config_at_once() {
    let mut story = Story::of(TWO_STEPS);
    story.until_weight("canary=5%");
    story.wait(1_000);
    story.world.lock().lanes.insert(canary("payment"), Replicas { ready: 0, wanted: 4 });
    story.settle();
    let groups = story.world.lock().groups("shop", Side::Outbound);
    let ready: Vec<(String, usize)> =
        groups[0].lanes.destinations.iter().map(|one| (one.service.clone(), one.ready.len())).collect();
    assert_eq!(ready, [("orders.shop".to_owned(), 1), ("payment.shop".to_owned(), 0)]);
    assert_eq!(story.world.lock().weights()["canary"], 500);
}

#[test]
fn nothing_moves_while_a_route_is_missing() {
    let world = crate::world::World::shop();
    let problem = graylane::release::finding::Finding {
        file: "grayrelease/shop/summer".into(),
        line: None,
        path: "spec.members[0].service".into(),
        message: "VirtualService orders has no route for lane `canary`".into(),
        mend: "run `graylane generate --adopt`".into(),
    };
    world.lock().problems.push(problem);
    world.add("summer", TWO_STEPS);
    let mut story = Story::new(world);
    story.wait(10_000);
    assert_eq!(story.status().phase, Phase::Invalid);
    assert!(story.status().message.contains("no route for lane"), "{}", story.status().message);
    assert!(story.world.lock().groups("istio-ingress", Side::Gateway).is_empty());
    let next = "service `orders` has no pods";
    story.world.lock().problems[0].message = next.into();
    story.wait(10_000);
    let status = story.status();
    assert!(status.message.contains(next) && !status.message.contains("no route"), "{}", status.message);
    let told = status.history.iter().filter(|entry| entry.reason == "Invalid").count();
    assert_eq!(told, 2, "each once: {:?}", status.history);
    story.world.lock().problems.clear();
    story.until_weight("canary=5%");
}

#[test]
fn a_filter_that_crashed_gets_its_config_again_but_not_without_end() {
    let mut story = Story::of(TWO_STEPS);
    story.until("the first wait", |status| status.phase == Phase::Paused);
    story.wait(1_000);
    let before = story.world.lock().writes;
    story.world.lock().proxies.get_mut("gateway-1").unwrap().crashed = true;
    story.wait(200);
    assert!(!story.world.lock().proxies["gateway-1"].crashed, "healed by a new generation");
    assert_eq!(story.world.lock().writes - before, 1);
    for _ in 0..100 {
        story.world.lock().proxies.get_mut("gateway-1").unwrap().crashed = true;
        story.wait(200);
    }
    let writes = story.world.lock().writes - before;
    assert!((2..=5).contains(&writes), "{writes} writes in 20 s");
}

/// Its worker may use the lane still, though the lane is gone.
#[test]
fn a_filter_that_stays_behind_on_the_way_back_gets_its_config_again() {
    let mut story = Story::of(TWO_STEPS);
    story.until("the first wait", |status| status.phase == Phase::Paused);
    story.wait(1_000);
    story.world.lock().proxies.get_mut("gateway-1").unwrap().cut = true;
    story.world.ask("summer", Verb::Abort);
    story.wait(1_000);
    assert_eq!(story.status().phase, Phase::RollingBack);
    let before = story.world.lock().writes;
    story.world.lock().proxies.get_mut("orders-canary").unwrap().crashed = true;
    story.wait(200);
    assert!(!story.world.lock().proxies["orders-canary"].crashed, "{}", story.status().message);
    assert_eq!(story.world.lock().writes - before, 1);
    assert_eq!(story.status().phase, Phase::RollingBack, "the gateway is waited for all the same");
}
