//! A release that runs and is then edited into something that makes no sense. It cannot go on, but what it
//! has given to users must not get worse.

use graylane::build::{Side, Version};
use graylane::engine::request::Verb;
use graylane::engine::status::Phase;

use crate::story::{Story, TWO_STEPS};

/// Breaks nothing of its shape: the API server takes it.
fn spoil(story: &mut Story, yaml: &str) {
    story.world.edit("summer", &yaml.replace("is: present", "is: {regex: '('}"));
    story.wait(1_000);
    let valid = story.status().conditions.into_iter().find(|condition| condition.r#type == "Valid").unwrap();
    assert!(valid.status == "False" && valid.message.contains("regex"), "{valid:?}");
}

fn spoilt(yaml: &str) -> Story {
    let mut story = Story::of(yaml);
    story.until("the second wait", |status| status.step == 3 && status.phase == Phase::Paused);
    story.wait(1_000);
    spoil(&mut story, yaml);
    story
}

/// What the documents of a place say of a service's lanes.
fn ready(story: &Story, service: &str) -> Vec<Vec<String>> {
    let inner = story.world.lock();
    let places = [("istio-ingress", Side::Gateway), ("shop", Side::Outbound)];
    let groups = places.map(|(namespace, side)| inner.groups(namespace, side));
    let destinations = groups.into_iter().flatten().flat_map(|group| group.lanes.destinations);
    destinations.filter(|one| one.service == service).map(|one| one.ready).collect()
}

fn set_ready(story: &Story, service: &str, lane: &str, count: u32) {
    let version = Version { service: service.into(), lane: lane.into() };
    story.world.lock().lanes.entry(version).or_default().ready = count;
}

#[test]
fn a_lane_whose_pods_die_leaves_the_documents_and_comes_back_with_them() {
    let mut story = spoilt(TWO_STEPS);
    let (none, canary) = (Vec::<String>::new(), vec!["canary".to_owned()]);
    assert_eq!(ready(&story, "orders.shop"), [canary.clone(), canary.clone()]);
    for _ in 0..2 {
        set_ready(&story, "orders.shop", "canary", 0);
        story.wait(1_000);
        assert_eq!(ready(&story, "orders.shop"), [none.clone(), none.clone()], "requests would be sent to nobody");
        assert_eq!(ready(&story, "payment.shop"), [canary.clone(), canary.clone()], "it serves as before");
        story.restart();
        story.wait(1_000);
        set_ready(&story, "orders.shop", "canary", 1);
        story.wait(1_000);
        assert_eq!(ready(&story, "orders.shop"), [canary.clone(), canary.clone()]);
        story.restart();
    }
    assert_eq!(story.world.lock().weights()["canary"], 5_000);
}

#[test]
fn a_lane_that_the_release_did_not_name_for_a_service_stays_out_of_its_documents() {
    let yaml = TWO_STEPS
        .replace("lanes: [{name: canary}]", "lanes: [{name: canary}, {name: v2}]")
        .replace("{service: payment}", "{service: payment, lanes: [canary]}")
        .replace("weight: 5%", "weights: {canary: 5%}")
        .replace("weight: 50%", "weights: {canary: 50%}")
        .replace("weight: 100%", "weights: {canary: 100%}")
        .replace("bake: 10s", "lane: canary, bake: 10s");
    let mut story = spoilt(&yaml);
    set_ready(&story, "payment.shop", "v2", 4);
    story.wait(5_000);
    assert_eq!(ready(&story, "payment.shop"), [["canary"], ["canary"]]);
    assert!(ready(&story, "orders.shop").iter().all(|ready| !ready.contains(&"v2".to_owned())), "it has no pods");
    set_ready(&story, "orders.shop", "v2", 4);
    story.wait(5_000);
    assert!(ready(&story, "orders.shop").iter().all(|ready| ready.contains(&"v2".to_owned())), "it was named");
}

#[test]
fn nothing_is_written_for_it_while_nothing_happens() {
    let mut story = spoilt(TWO_STEPS);
    story.wait(5_000);
    let writes = story.world.lock().writes;
    story.wait(5 * 60_000);
    assert_eq!(story.world.lock().writes, writes);
}

#[test]
fn once_mended_it_goes_on_and_forgets_what_was_kept_of_the_old_spec() {
    let mut story = spoilt(TWO_STEPS);
    assert_eq!(story.status().last_versions.len(), 2);
    story.world.edit("summer", TWO_STEPS);
    story.wait(1_000);
    assert!(story.status().last_versions.is_empty());
    story.world.ask("summer", Verb::Promote);
    story.until_phase(Phase::Succeeded);
}

#[test]
fn a_handover_that_has_given_stable_nothing_can_be_taken_back() {
    let manual = TWO_STEPS.replace("copyTemplate", "manual");
    let mut story = Story::of(&manual);
    story.until("the second wait", |status| status.step == 3 && status.phase == Phase::Paused);
    story.world.ask("summer", Verb::Promote);
    story.until_phase(Phase::Promoting);
    story.wait(1_000);
    spoil(&mut story, &manual);
    story.world.ask("summer", Verb::Abort);
    story.wait(1_000);
    assert!(story.world.lock().weights().is_empty());
    story.until_phase(Phase::RolledBack);
}

#[test]
fn a_handover_that_has_changed_stable_waits_for_a_spec_that_can_be_read() {
    let mut story = Story::of(TWO_STEPS);
    story.until("the second wait", |status| status.step == 3 && status.phase == Phase::Paused);
    story.world.lock().stable.values_mut().for_each(|workload| workload.busy = true);
    story.world.ask("summer", Verb::Promote);
    story.until("stable to be changed", |status| status.has_given());
    story.wait(1_000);
    spoil(&mut story, TWO_STEPS);
    story.world.ask("summer", Verb::Abort);
    story.wait(5_000);
    let status = story.status();
    assert_eq!(status.phase, Phase::Promoting);
    let last = status.history.last().unwrap();
    assert_eq!(last.reason, "Ignored", "{last:?}");
}
