//! Which objects of a namespace are written, and which generation each document gets.

use std::collections::{BTreeMap, BTreeSet};

use graylane_policy::raw::{RawConfig, RawGroup, VERSION};
use kube::core::DynamicObject;

use super::config::{Content, Emitter};
use super::held::{Held, HeldObject, HeldSide};
use super::module::Module;
use super::object::{digest, managed};
use crate::build::Side;
use crate::engine::seams::{Place, Wanted};

/// How the documents of a namespace are written.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// By which kind of object.
    pub emitter: Emitter,
    /// With which module new documents run; those that are kept keep theirs.
    pub module: &'a Module,
    /// The namespace.
    pub namespace: &'a str,
    /// The highest generation that anybody remembers; what the objects themselves know need not be in it.
    pub floor: u64,
    /// Sides that get a new generation even if nothing else is new: a filter that crashed stays bypassed
    /// until its config changes.
    pub renew: &'a BTreeSet<Side>,
}

/// What has to be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assignment {
    /// The objects that differ from those held, whole. One with a `resourceVersion` replaces what was
    /// read and nothing newer; one without is to be created, and must not be there.
    pub objects: Vec<DynamicObject>,
    /// The generation of every document of the namespace that is then in force.
    pub generations: BTreeMap<Place, u64>,
}

/// Empties every document of a namespace: each gets a new generation that sends everything to stable,
/// and says that it runs. What is inert stays so.
pub fn emptied(order: &Order<'_>, held: &Held) -> Assignment {
    let mut emptied = held.clone();
    let mut renew = BTreeSet::new();
    for object in emptied.objects.values_mut() {
        object.stopped = None;
        for (side, held) in &mut object.sides {
            if let HeldSide::Document { document, .. } = held {
                document.groups.clear();
                renew.insert(*side);
            }
        }
    }
    assign(&Order { renew: &renew, ..*order }, &emptied, &BTreeMap::new())
}

/// Brings the sides of a namespace to what they shall run. Sides that are not wanted keep what they have.
///
/// A document that is the same keeps its generation, and its object its bytes. Otherwise it gets the
/// next one above everything that was ever held, also by an object that has been deleted since, as long
/// as the floor remembers. Where the namespace was stopped by hand nothing is written.
pub fn assign(order: &Order<'_>, held: &Held, wanted: &BTreeMap<Place, Wanted>) -> Assignment {
    let mut assignment = Assignment::default();
    if held.stopped().is_some() {
        let documents = Side::ALL.into_iter().filter_map(|side| Some((side, held.document(side)?)));
        documents.for_each(|(side, document)| assignment.note(order, side, document));
        return assignment;
    }
    let next = order.floor.max(held.generation()).saturating_add(1);
    for (name, sides) in by_object(order, held, wanted) {
        let contents = settle(order, held.objects.get(name), &sides, next);
        for (side, content) in &contents {
            if let Content::Document(document, _) = content {
                assignment.note(order, *side, document);
            }
        }
        assignment.objects.extend(changed(order, held, name, &contents));
    }
    assignment
}

/// The sides of each object, with what is wanted of them.
fn by_object<'w>(
    order: &Order<'_>,
    held: &Held,
    wanted: &'w BTreeMap<Place, Wanted>,
) -> BTreeMap<&'static str, BTreeMap<Side, Option<&'w Wanted>>> {
    let kept = held.sides().map(|(side, _)| (side, None));
    let here = wanted.iter().filter(|(place, _)| place.namespace == order.namespace);
    let mut objects: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (side, wanted) in kept.chain(here.map(|(place, wanted)| (place.side, Some(wanted)))) {
        objects.entry(order.emitter.object_name(side)).or_default().insert(side, wanted);
    }
    objects
}

/// What each side of an object runs. If somebody has changed the object, all its documents are new: a
/// proxy that reports the old generation says nothing of what it runs.
fn settle(
    order: &Order<'_>,
    object: Option<&HeldObject>,
    sides: &BTreeMap<Side, Option<&Wanted>>,
    next: u64,
) -> BTreeMap<Side, Content> {
    let settled = |renew_all: bool| -> BTreeMap<Side, Content> {
        let content = |(side, wanted): (&Side, &Option<&Wanted>)| {
            let held = object.and_then(|object| object.sides.get(side));
            let renew = if renew_all || order.renew.contains(side) { Renew::Always(next) } else { Renew::IfNew(next) };
            (*side, content(order, *side, held, *wanted, renew))
        };
        sides.iter().map(content).collect()
    };
    let contents = settled(false);
    let is_foreign =
        |object: &HeldObject| !object.is_as_written && object.digest != digest(&order.emitter.spec(&contents));
    if object.is_some_and(is_foreign) { settled(true) } else { contents }
}

/// When a document gets the next generation.
#[derive(Clone, Copy)]
enum Renew {
    Always(u64),
    IfNew(u64),
}

fn content(order: &Order<'_>, side: Side, held: Option<&HeldSide>, wanted: Option<&Wanted>, renew: Renew) -> Content {
    let ours = || order.emitter.source(order.module);
    let (groups, source) = match (wanted, held) {
        (Some(Wanted::Document(groups)), _) => (groups.as_slice(), ours()),
        (None, Some(HeldSide::Document { document, source })) => (document.groups.as_slice(), source.clone()),
        // A WasmPlugin can only be inert by having nothing to do.
        _ if order.emitter == Emitter::WasmPlugin => (&[][..], ours()),
        _ => return Content::Inert,
    };
    let same = match held {
        Some(HeldSide::Document { document: held, source: from })
            if *from == source && **held == document(side, groups, held.generation) =>
        {
            Some(held.generation)
        }
        _ => None,
    };
    let generation = match (renew, same) {
        (Renew::IfNew(_), Some(generation)) => generation,
        (Renew::IfNew(next) | Renew::Always(next), _) => next,
    };
    Content::Document(document(side, groups, generation), source)
}

fn document(side: Side, groups: &[RawGroup], generation: u64) -> RawConfig {
    RawConfig {
        version: VERSION,
        generation,
        role: side.role(),
        entry_only: side.chooses() && side != Side::Gateway,
        groups: groups.to_vec(),
    }
}

/// The object, unless it is held with these bytes and their digest.
fn changed(order: &Order<'_>, held: &Held, name: &str, contents: &BTreeMap<Side, Content>) -> Option<DynamicObject> {
    let object = held.objects.get(name);
    let spec = order.emitter.spec(contents);
    if object.is_some_and(|object| object.is_as_written && object.digest == digest(&spec)) {
        return None;
    }
    let generations = contents.values().filter_map(|content| match content {
        Content::Document(document, _) => Some(document.generation),
        Content::Inert => None,
    });
    let highest = generations.chain([order.floor, held.generation()]).max();
    let mut rendered = managed(&order.emitter.kind(), order.namespace, name, spec, highest);
    rendered.metadata.resource_version = object.and_then(|object| object.resource_version.clone());
    Some(rendered)
}

// === impl Assignment ===

impl Assignment {
    fn note(&mut self, order: &Order<'_>, side: Side, document: &RawConfig) {
        let place = Place { namespace: order.namespace.to_owned(), side };
        self.generations.insert(place, document.generation);
    }
}
