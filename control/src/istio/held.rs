//! What a namespace holds of documents, read back from its objects.

use std::collections::BTreeMap;

use graylane_policy::raw::RawConfig;
use kube::core::DynamicObject;
use serde_json::Value;

use super::config::Emitter;
use super::object::{annotation, digest, is_as_written, spec};
use super::{GENERATION, STOPPED};
use crate::build::Side;

/// The config objects of a namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    pub(super) objects: BTreeMap<String, HeldObject>,
}

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HeldObject {
    pub(super) sides: BTreeMap<Side, HeldSide>,
    /// Of the spec as it is.
    pub(super) digest: String,
    pub(super) is_as_written: bool,
    /// What the annotation says, 0 without one.
    pub(super) generation: u64,
    pub(super) stopped: Option<String>,
    pub(super) resource_version: Option<String>,
}

/// What one side is given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum HeldSide {
    /// A document, and where its module is fetched from.
    Document {
        /// The document.
        document: Box<RawConfig>,
        /// The module, as it stands in the object.
        source: Value,
    },
    /// The switch that needs no module.
    Inert,
    /// Something that graylane did not write.
    Unreadable,
}

// === impl Held ===

impl Held {
    /// Reads the objects of one namespace; others than the emitter's own are passed over.
    pub fn read<'o>(emitter: Emitter, objects: impl IntoIterator<Item = &'o DynamicObject>) -> Self {
        let named = objects.into_iter().filter_map(|object| {
            let name = object.metadata.name.clone()?;
            emitter.owns(&name).then(|| (name, HeldObject::read(emitter, object)))
        });
        Self { objects: named.collect() }
    }

    /// The document of a side, if it is given one.
    pub fn document(&self, side: Side) -> Option<&RawConfig> {
        self.sides().find_map(|(at, held)| match held {
            HeldSide::Document { document, .. } if at == side => Some(document.as_ref()),
            _ => None,
        })
    }

    /// Whether a side is given anything at all.
    pub fn has(&self, side: Side) -> bool {
        self.sides().any(|(at, _)| at == side)
    }

    /// The highest generation that the objects know of; 0 without any.
    pub fn generation(&self) -> u64 {
        let documents = Side::ALL.into_iter().filter_map(|side| self.document(side)).map(|one| one.generation);
        let annotations = self.objects.values().map(|object| object.generation);
        documents.chain(annotations).max().unwrap_or(0)
    }

    /// Who stopped the namespace by hand, and when.
    pub fn stopped(&self) -> Option<&str> {
        self.objects.values().find_map(|object| object.stopped.as_deref())
    }

    /// Names of the objects that somebody else has changed.
    pub fn drifted(&self) -> Vec<&str> {
        // A config that was stopped by hand is somebody's decision, not drift.
        let changed = |object: &HeldObject| !object.is_as_written && object.stopped.is_none();
        self.objects.iter().filter(|(_, object)| changed(object)).map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn sides(&self) -> impl Iterator<Item = (Side, &HeldSide)> {
        self.objects.values().flat_map(|object| object.sides.iter().map(|(side, held)| (*side, held)))
    }
}

// === impl HeldObject ===

impl HeldObject {
    fn read(emitter: Emitter, object: &DynamicObject) -> Self {
        Self {
            sides: emitter.read(object),
            digest: digest(spec(object)),
            is_as_written: is_as_written(object),
            generation: annotation(object, GENERATION).and_then(|text| text.parse().ok()).unwrap_or(0),
            stopped: annotation(object, STOPPED).map(str::to_owned),
            resource_version: object.metadata.resource_version.clone(),
        }
    }
}
