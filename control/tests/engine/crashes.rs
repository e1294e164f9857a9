//! Controllers that are killed: before and after each write, any number of times.

use std::collections::BTreeMap;

use graylane::engine::request::Verb;
use graylane::engine::seams::{Place, Wanted};
use graylane::engine::status::{Phase, Status};

use crate::story::{Story, TWO_STEPS};
use crate::world::{Deployment, World};

/// What is left when a story has ended.
#[derive(Debug, PartialEq)]
struct End {
    course: Vec<BTreeMap<String, u32>>,
    held: BTreeMap<Place, Wanted>,
    stable: BTreeMap<String, Deployment>,
    status: (Phase, u32, Vec<String>),
    handled: String,
}

/// From the beginning through a promotion by hand to the end of the handover, and back by `undo`.
fn play(deaths: BTreeMap<u64, bool>) -> (End, u32, u64) {
    let world = World::shop();
    world.add("summer", TWO_STEPS);
    world.lock().deaths = deaths;
    let mut story = Story::new(world);
    story.until("the last wait", |status| status.step == 3 && status.phase == Phase::Paused);
    ask(&story, "one", Verb::Promote);
    story.until_phase(Phase::Succeeded);
    story.wait(1_000);
    ask(&story, "two", Verb::Undo);
    story.until_phase(Phase::RolledBack);
    story.wait(1_000);
    let status = story.status();
    let inner = story.world.lock();
    let end = End {
        course: inner.course.clone(),
        held: inner.held.iter().map(|(place, (_, wanted))| (place.clone(), wanted.clone())).collect(),
        stable: inner.stable.clone(),
        status: (status.phase, status.attempt, what_happened(&status)),
        handled: status.handled_request.clone(),
    };
    (end, story.crashes, inner.operations)
}

fn ask(story: &Story, id: &str, verb: Verb) {
    let request = graylane::engine::request::Request { id: id.into(), verb, step: None };
    story.world.change("summer", |object| object.request = Some(request));
}

fn what_happened(status: &Status) -> Vec<String> {
    status.history.iter().map(|entry| format!("{}: {}", entry.reason, entry.message)).collect()
}

#[test]
fn killed_at_any_single_write_it_ends_where_it_would_have_ended() {
    let (undisturbed, _, operations) = play(BTreeMap::new());
    assert_eq!(undisturbed.course.len(), 5, "{:?}", undisturbed.course);
    for operation in 1..=operations {
        for after in [false, true] {
            let (end, crashes, _) = play(BTreeMap::from([(operation, after)]));
            assert_eq!(crashes, 1, "operation {operation}");
            assert_eq!(end, undisturbed, "operation {operation}, after its effect: {after}");
        }
    }
}

#[test]
fn killed_again_and_again_it_ends_where_it_would_have_ended() {
    let (undisturbed, _, operations) = play(BTreeMap::new());
    let mut killed = 0;
    for seed in 1..=200_u64 {
        let (end, crashes, _) = play(deaths(seed, operations * 2));
        killed += crashes;
        assert_eq!(end, undisturbed, "seed {seed}");
    }
    assert!(killed > 1_000, "{killed} kills");
}

/// About every third operation is a controller's last.
fn deaths(seed: u64, operations: u64) -> BTreeMap<u64, bool> {
    // SplitMix64: a seed is all it takes to play a failed run again.
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let drawn = (1..=operations).map(|operation| (operation, next()));
    drawn.filter(|(_, draw)| draw % 3 == 0).map(|(operation, draw)| (operation, draw & (1 << 40) == 0)).collect()
}
