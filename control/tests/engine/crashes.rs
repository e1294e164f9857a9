//! Controllers that are killed: before and after each write, any number of times.

use std::collections::BTreeMap;

use graylane::engine::request::Verb;
use graylane::engine::seams::{Place, Wanted};
use graylane::engine::status::{Condition, HandoverStage, Phase, Status};

use crate::story::{Story, TWO_STEPS};
use crate::world::{Deployment, World};

/// What is left when a story has ended.
#[derive(Debug, PartialEq)]
struct End {
    course: Vec<BTreeMap<String, u32>>,
    held: BTreeMap<Place, Wanted>,
    stable: BTreeMap<String, Deployment>,
    /// Of the release, if it is still there.
    status: Option<Told>,
}

#[derive(Debug, PartialEq)]
struct Told {
    phase: Phase,
    attempt: u32,
    handled: String,
    history: Vec<String>,
    conditions: Vec<String>,
}

/// How a release ends that has come to its last wait.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// By `promote` through the whole handover, and then back.
    Undo,
    /// By `promote` to where one of two services has got its new version, and then back.
    UndoHalfway,
    Abort,
    Delete,
    /// Deleted while proxies have not confirmed the way back.
    AbortThenDelete,
}

const ENDINGS: [Ending; 5] =
    [Ending::Undo, Ending::UndoHalfway, Ending::Abort, Ending::Delete, Ending::AbortThenDelete];

/// A release from its beginning to an end, with controllers that are killed on the way.
fn play(ending: Ending, deaths: BTreeMap<u64, bool>) -> (End, u32, u64) {
    let world = World::shop();
    world.add("summer", TWO_STEPS);
    world.lock().deaths = deaths;
    let mut story = Story::new(world);
    story.until("the last wait", |status| status.step == 3 && status.phase == Phase::Paused);
    end(&mut story, ending);
    story.wait(1_000);
    let status = story.world.lock().objects.get("shop/summer").map(|object| told(&object.status));
    let inner = story.world.lock();
    let end = End {
        course: inner.course.clone(),
        held: inner.held.iter().map(|(place, (_, wanted))| (place.clone(), wanted.clone())).collect(),
        stable: inner.stable.clone(),
        status,
    };
    (end, story.crashes, inner.operations)
}

fn end(story: &mut Story, ending: Ending) {
    match ending {
        Ending::Undo => {
            ask(story, "one", Verb::Promote);
            story.until_phase(Phase::Succeeded);
            story.wait(1_000);
            ask(story, "two", Verb::Undo);
            story.until_phase(Phase::RolledBack);
        }
        Ending::UndoHalfway => {
            story.world.lock().stable.get_mut("orders.shop").unwrap().busy = true;
            ask(story, "one", Verb::Promote);
            let is_updated = |status: &Status| {
                status.handover.as_ref().is_some_and(|handover| handover.stage == HandoverStage::Updating)
            };
            story.until("the copies", is_updated);
            ask(story, "two", Verb::Undo);
            story.wait(1_000);
            story.world.lock().stable.get_mut("orders.shop").unwrap().busy = false;
            story.until_phase(Phase::RolledBack);
        }
        Ending::Abort => {
            ask(story, "one", Verb::Abort);
            story.until_phase(Phase::RolledBack);
        }
        Ending::Delete => delete(story),
        Ending::AbortThenDelete => {
            ask(story, "one", Verb::Abort);
            story.until_phase(Phase::RollingBack);
            delete(story);
        }
    }
}

fn ask(story: &Story, id: &str, verb: Verb) {
    let request = graylane::engine::request::Request { id: id.into(), verb, step: None };
    story.world.change("summer", |object| object.request = Some(request));
}

fn delete(story: &mut Story) {
    story.world.change("summer", |object| object.deleting = true);
    let world = story.world.clone();
    story.until("its end", |_| world.lock().objects.is_empty());
}

fn told(status: &Status) -> Told {
    // How many proxies had confirmed the last change when an undo of a handover that was done ended is chance: it
    // waits for none.
    let conditions = status.conditions.iter().filter(|one| one.r#type != "Acknowledged");
    let condition = |one: &Condition| format!("{} {} {}", one.r#type, one.status, one.reason);
    Told {
        phase: status.phase,
        attempt: status.attempt,
        handled: status.handled_request.clone(),
        history: status.history.iter().map(|entry| format!("{}: {}", entry.reason, entry.message)).collect(),
        conditions: conditions.map(condition).collect(),
    }
}

/// That an undisturbed run ends as it should, which all others are then compared with.
fn is_right(ending: Ending, end: &End) {
    let weights = end.course.iter().map(|weights| weights.get("canary").copied().unwrap_or(0));
    let through = matches!(ending, Ending::Undo | Ending::UndoHalfway);
    let expected: &[u32] = if through { &[0, 500, 5_000, 9_800, 0] } else { &[0, 500, 5_000, 0] };
    assert_eq!(weights.collect::<Vec<_>>(), expected, "{ending:?}");
    assert!(end.held.values().all(|wanted| *wanted == Wanted::Inert), "{ending:?}: {:?}", end.held);
    assert!(end.stable.values().all(|workload| workload.template == "old"), "{ending:?}: {:?}", end.stable);
    let is_gone = matches!(ending, Ending::Delete | Ending::AbortThenDelete);
    let phase = end.status.as_ref().map(|status| status.phase);
    assert_eq!(phase, (!is_gone).then_some(Phase::RolledBack), "{ending:?}");
}

#[test]
fn killed_at_any_single_write_it_ends_where_it_would_have_ended() {
    for ending in ENDINGS {
        let (undisturbed, _, operations) = play(ending, BTreeMap::new());
        is_right(ending, &undisturbed);
        for operation in 1..=operations {
            for after in [false, true] {
                let (end, crashes, _) = play(ending, BTreeMap::from([(operation, after)]));
                assert_eq!(crashes, 1, "{ending:?}, operation {operation}");
                assert_eq!(end, undisturbed, "{ending:?}, operation {operation}, after its effect: {after}");
            }
        }
    }
}

#[test]
fn killed_again_and_again_it_ends_where_it_would_have_ended() {
    let mut killed = 0;
    for ending in ENDINGS {
        let (undisturbed, _, operations) = play(ending, BTreeMap::new());
        for seed in 1..=40_u64 {
            let (end, crashes, _) = play(ending, deaths(seed, operations * 2));
            killed += crashes;
            assert_eq!(end, undisturbed, "{ending:?}, seed {seed}");
        }
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
