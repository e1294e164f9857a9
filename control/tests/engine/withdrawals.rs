use graylane::build::Side;
use graylane::engine::status::Phase;

use crate::story::{Story, TWO_STEPS};

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
