use graylane::engine::request::Verb;
use graylane::engine::status::{Phase, WaitReason};
use graylane_policy::Policy;
use graylane_policy::raw::{RawConfig, Role, VERSION};

use crate::story::{Story, TWO_STEPS};

fn with_group(yaml: &str) -> String {
    format!("{yaml}  group: shop\n")
}

/// Two releases of one group; summer is the older.
fn summer_and_winter() -> Story {
    let world = crate::world::World::shop();
    world.add("summer", &with_group(TWO_STEPS));
    world.add("winter", &with_group(TWO_STEPS));
    Story::new(world)
}

#[test]
fn of_two_releases_in_a_group_the_older_goes_first() {
    let mut story = summer_and_winter();
    story.until_weight("canary=5%");
    let waiting = story.world.status("winter").waiting.expect("it waits");
    assert_eq!(waiting.reason, WaitReason::GroupBusy);
    assert!(waiting.message.contains("shop/summer"), "{}", waiting.message);
    story.world.ask("summer", Verb::Abort);
    story.until_phase(Phase::RolledBack);
    story.wait(1_000);
    assert_eq!(story.world.status("winter").weight, "canary=5%");
}

#[test]
fn one_that_waits_for_its_group_is_written_once() {
    let mut story = summer_and_winter();
    story.settle();
    assert_eq!(story.world.status("winter").waiting.expect("it waits").reason, WaitReason::GroupBusy);
    let fence = |story: &Story| story.world.lock().objects["shop/winter"].fence.clone();
    let first = fence(&story);
    story.wait(120_000);
    assert_eq!(fence(&story), first, "{:#?}", story.world.status("winter"));
}

#[test]
fn one_that_has_ended_does_not_come_back_over_one_that_runs() {
    let mut story = summer_and_winter();
    story.until_weight("canary=5%");
    story.world.ask("summer", Verb::Abort);
    story.until_phase(Phase::RolledBack);
    story.wait(5_000);
    story.world.ask("summer", Verb::Retry);
    story.wait(5_000);
    let waiting = story.status().waiting.expect("it waits");
    assert_eq!(waiting.reason, WaitReason::GroupBusy);
    assert_eq!(story.world.lock().weights()["canary"], 500);
}

#[test]
fn groups_do_not_wait_for_each_other() {
    let world = crate::world::World::shop();
    let other = TWO_STEPS.replace("service: orders}, {service: payment", "service: stock");
    world.add("summer", TWO_STEPS);
    world.add("winter", &format!("{other}  carriedHeader: x-winter\n"));
    let stock = graylane::build::Version { service: "stock.shop".into(), lane: "canary".into() };
    world.lock().lanes.insert(stock, graylane::engine::seen::Replicas { ready: 4, wanted: 4 });
    let mut story = Story::new(world);
    story.until_weight("canary=5%");
    story.wait(2_000);
    assert_eq!(story.world.status("winter").weight, "canary=5%");
    assert_eq!(story.world.lock().groups("istio-ingress", graylane::build::Side::Gateway).len(), 2);
}

#[test]
fn a_short_name_of_two_namespaces_means_neither_where_they_meet() {
    let world = crate::world::World::shop();
    world.add("summer", TWO_STEPS);
    world.add_in("garden", "winter", &format!("{TWO_STEPS}  carriedHeader: x-winter\n"));
    for service in ["orders.garden", "payment.garden"] {
        let version = graylane::build::Version { service: service.into(), lane: "canary".into() };
        world.lock().lanes.insert(version, graylane::engine::seen::Replicas { ready: 4, wanted: 4 });
    }
    let mut story = Story::new(world);
    story.until_weight("canary=5%");
    story.wait(2_000);
    let groups = story.world.lock().groups("istio-ingress", graylane::build::Side::Gateway);
    let document = RawConfig { version: VERSION, generation: 1, role: Role::Gateway, entry_only: false, groups };
    Policy::check(&document).expect("proxies take it");
    let hosts = |service: &str| {
        let mut all = document.groups.iter().flat_map(|group| &group.lanes.destinations);
        all.find(|destination| destination.service == service).unwrap().hosts.clone()
    };
    assert!(hosts("orders.shop").contains(&"orders.shop".to_owned()), "{:?}", hosts("orders.shop"));
    assert!(hosts("orders.garden").contains(&"orders.garden".to_owned()));
    assert!(!hosts("orders.shop").contains(&"orders".to_owned()), "nobody can say whose it is");
    let beside = story.world.lock().groups("shop", graylane::build::Side::Outbound);
    assert!(beside[0].lanes.destinations[0].hosts.contains(&"orders".to_owned()), "among neighbours it is clear");
}

#[test]
fn a_service_of_two_groups_moves_only_in_the_first_until_that_has_ended() {
    let world = crate::world::World::shop();
    world.add("summer", TWO_STEPS);
    world.add("winter", &format!("{TWO_STEPS}  carriedHeader: x-winter\n"));
    let mut story = Story::new(world);
    story.until_weight("canary=5%");
    let refused = story.world.status("winter");
    assert_eq!(refused.phase, Phase::Invalid);
    let why = "spec.members[0].service: service `orders` is in group `summer`, which release `shop/summer` is moving";
    assert!(refused.message.contains(why), "{}", refused.message);
    assert_eq!(story.world.lock().groups("istio-ingress", graylane::build::Side::Gateway).len(), 1);
    story.world.ask("summer", Verb::Abort);
    story.until_phase(Phase::RolledBack);
    story.wait(10_000);
    assert_eq!(story.world.status("winter").weight, "canary=5%");
}

#[test]
fn two_groups_of_one_header_do_not_meet_on_a_proxy() {
    let world = crate::world::World::shop();
    world.add("summer", TWO_STEPS);
    world.add("winter", &TWO_STEPS.replace("service: orders}, {service: payment", "service: stock"));
    let mut story = Story::new(world);
    story.until_weight("canary=5%");
    let refused = story.world.status("winter");
    assert_eq!(refused.phase, Phase::Invalid);
    assert!(refused.message.contains("spec.carriedHeader: "), "{}", refused.message);
}

#[test]
fn one_that_waits_for_its_group_or_has_ended_is_not_looked_at_again_and_again() {
    let world = crate::world::World::shop();
    world.add("autumn", &with_group(TWO_STEPS));
    world.add("summer", &with_group(TWO_STEPS));
    world.add("winter", &with_group(TWO_STEPS));
    let mut story = Story::new(world);
    story.wait(1_000);
    story.world.ask("autumn", Verb::Abort);
    story.until_phase(Phase::Paused);
    story.wait(3_000);
    story.world.lock().looks.clear();
    for round in 0..100 {
        // Something changes, of which only the release that moves need know.
        let ready = 4 + round % 2;
        story.world.lock().stable.values_mut().for_each(|one| one.replicas.ready = ready);
        story.wait(100);
    }
    let looks = story.world.lock().looks.clone();
    assert!(looks["shop/summer"] >= 90, "{looks:?}");
    assert!(!looks.contains_key("shop/autumn"), "it has ended: {looks:?}");
    assert!(looks.get("shop/winter").is_none_or(|looks| *looks <= 1), "it waits: {looks:?}");
}
