//! The switch of last resort: it takes the filter out of service with nothing but the API server and
//! istiod, and keeps the controller from putting it back.

use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::config::{Content, ENTRY, Emitter, LANES};
use super::object::{digest, envoy_filter, managed};
use super::{SHA256, STOPPED};
use crate::build::Side;

/// A change of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Kind of the object.
    pub kind: ApiResource,
    /// Its name.
    pub name: String,
    /// A merge patch, the same as for `kubectl patch --type=merge`.
    pub patch: Value,
}

/// Makes the objects inert. `who` says who did it and when; it stays with them until [`lift`].
///
/// An EnvoyFilter is made inert on every side that it could hold: nothing of what it says now has to be
/// understood. Of a WasmPlugin, which can only be Wasm, the document loses its groups.
pub fn stop(objects: &[DynamicObject], who: &str) -> Vec<Change> {
    config_objects(objects).map(|(emitter, name)| change(emitter, name, who)).collect()
}

/// Lets the controller write the objects again.
pub fn lift(objects: &[DynamicObject]) -> Vec<Change> {
    let lifted = config_objects(objects).map(|(emitter, name)| Change {
        kind: emitter.kind(),
        name: name.to_owned(),
        patch: json!({"metadata": {"annotations": {STOPPED: null}}}),
    });
    lifted.collect()
}

/// The objects that take the place of those that are missing, for proxies that still run what somebody
/// deleted.
pub fn missing(namespace: &str, objects: &[DynamicObject], who: &str) -> Vec<DynamicObject> {
    let is_there = |name: &str| config_objects(objects).any(|(_, there)| there == name);
    let names = [ENTRY, LANES].into_iter().filter(|name| !is_there(name));
    let object = |name: &str| {
        let mut object = managed(&envoy_filter(), namespace, name, inert(name), None);
        object.metadata.annotations.get_or_insert_default().insert(STOPPED.to_owned(), who.to_owned());
        object
    };
    names.map(object).collect()
}

fn config_objects(objects: &[DynamicObject]) -> impl Iterator<Item = (Emitter, &str)> {
    objects.iter().filter_map(|object| {
        let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
        let emitter = [Emitter::EnvoyFilter, Emitter::WasmPlugin].into_iter().find(|one| one.kind().kind == kind)?;
        let name = object.metadata.name.as_deref()?;
        emitter.owns(name).then_some((emitter, name))
    })
}

fn change(emitter: Emitter, name: &str, who: &str) -> Change {
    let patch = match emitter {
        Emitter::EnvoyFilter => {
            let spec = inert(name);
            json!({"metadata": {"annotations": {STOPPED: who, SHA256: digest(&spec)}}, "spec": spec})
        }
        Emitter::WasmPlugin => {
            json!({"metadata": {"annotations": {STOPPED: who}}, "spec": {"pluginConfig": {"groups": []}}})
        }
    };
    Change { kind: emitter.kind(), name: name.to_owned(), patch }
}

fn inert(name: &str) -> Value {
    let sides = Side::ALL.into_iter().filter(|side| Emitter::EnvoyFilter.object_name(*side) == name);
    Emitter::EnvoyFilter.spec(&sides.map(|side| (side, Content::Inert)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::GENERATION;
    use crate::istio::held::Held;

    const WHO: &str = "ana at 2026-11-23T04:00:00Z";

    fn objects() -> Vec<DynamicObject> {
        let garbage = json!({"configPatches": [{"applyTo": "EXTENSION_CONFIG"}]});
        let mut objects = vec![
            managed(&envoy_filter(), "shop", ENTRY, garbage.clone(), Some(7)),
            managed(&envoy_filter(), "shop", "graylane", garbage.clone(), None),
            managed(&envoy_filter(), "shop", "of-others", garbage, None),
        ];
        let plugin = json!({"pluginConfig": {"generation": 3, "groups": [{"name": "shop"}]}});
        objects.push(managed(&Emitter::WasmPlugin.kind(), "shop", "graylane-inbound", plugin, Some(7)));
        objects
    }

    fn patched(object: &DynamicObject, change: &Change) -> DynamicObject {
        let mut value = serde_json::to_value(object).unwrap();
        merge(&mut value, &change.patch);
        serde_json::from_value(value).unwrap()
    }

    /// RFC 7396.
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(members) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (name, member) in members {
            if member.is_null() {
                target.as_object_mut().unwrap().remove(name);
            } else {
                merge(&mut target[name], member);
            }
        }
    }

    #[test]
    fn the_switch_needs_to_understand_nothing_of_what_it_replaces() {
        let objects = objects();
        let changes = stop(&objects, WHO);
        assert_eq!(changes.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), [ENTRY, "graylane-inbound"]);
        let held = Held::read(Emitter::EnvoyFilter, [&patched(&objects[0], &changes[0])]);
        assert_eq!((held.stopped(), held.generation(), held.drifted().len()), (Some(WHO), 7, 0));
        for side in [Side::Gateway, Side::InboundEntry, Side::OutboundEntry] {
            assert!(held.has(side) && held.document(side).is_none(), "{side:?}");
        }
        assert_eq!(
            patched(&objects[3], &changes[1]).data["spec"],
            json!({"pluginConfig": {"generation": 3, "groups": []}})
        );
    }

    #[test]
    fn lifting_it_leaves_an_inert_config_that_is_as_written() {
        let objects = objects();
        let stopped = patched(&objects[0], &stop(&objects, WHO)[0]);
        let lifted = patched(&stopped, &lift(std::slice::from_ref(&stopped))[0]);
        let held = Held::read(Emitter::EnvoyFilter, [&lifted]);
        assert_eq!((held.stopped(), held.drifted().len()), (None, 0));
        assert_eq!(lifted.metadata.annotations.unwrap()[GENERATION], "7");
    }

    #[test]
    fn deleted_objects_come_back_inert() {
        let made = missing("shop", &objects(), WHO);
        assert_eq!(made.len(), 1);
        let held = Held::read(Emitter::EnvoyFilter, &made);
        assert!(held.has(Side::Inbound) && held.has(Side::Outbound) && held.stopped() == Some(WHO));
    }
}
