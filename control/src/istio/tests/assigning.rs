use std::collections::{BTreeMap, BTreeSet};

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{documents, groups, image, place, stored};
use crate::build::Side;
use crate::engine::seams::{Place, Wanted};
use crate::istio::assign::{Assignment, Order, assign, emptied};
use crate::istio::config::{ENTRY, Emitter, LANES};
use crate::istio::held::Held;
use crate::istio::module::Module;
use crate::istio::{GENERATION, SHA256, STOPPED};

/// The namespace `shop` of a mesh that keeps what is written.
struct Mesh {
    emitter: Emitter,
    module: Module,
    objects: BTreeMap<String, DynamicObject>,
    writes: u32,
}

impl Mesh {
    fn new(emitter: Emitter) -> Self {
        Self { emitter, module: image(), objects: BTreeMap::new(), writes: 0 }
    }

    fn held(&self) -> Held {
        Held::read(self.emitter, self.objects.values())
    }

    fn assign(&self, wanted: &BTreeMap<Place, Wanted>, floor: u64, renew: &[Side]) -> Assignment {
        let renew = renew.iter().copied().collect::<BTreeSet<_>>();
        let order = Order { emitter: self.emitter, module: &self.module, namespace: "shop", floor, renew: &renew };
        assign(&order, &self.held(), wanted)
    }

    /// Writes what is assigned; returns the names of the objects and the generations in force.
    fn deliver(&mut self, wanted: &BTreeMap<Place, Wanted>, floor: u64) -> (Vec<String>, Vec<(Side, u64)>) {
        let assignment = self.assign(wanted, floor, &[]);
        let mut names = Vec::new();
        for object in assignment.objects {
            let name = object.metadata.name.clone().unwrap();
            let before = self.objects.get(&name).and_then(|held| held.metadata.resource_version.clone());
            assert_eq!(object.metadata.resource_version, before, "the fence of {name}");
            self.writes += 1;
            self.objects.insert(name.clone(), stored(&object, &self.writes.to_string()));
            names.push(name);
        }
        (names, assignment.generations.into_iter().map(|(place, one)| (place.side, one)).collect())
    }

    fn annotate(&mut self, name: &str, annotation: &str, value: &str) {
        let object = self.objects.get_mut(name).unwrap();
        object.metadata.annotations.get_or_insert_default().insert(annotation.into(), value.into());
    }

    fn spec(&mut self, name: &str) -> &mut Value {
        self.objects.get_mut(name).unwrap().data.get_mut("spec").unwrap()
    }
}

fn without_groups(side: Side) -> BTreeMap<Place, Wanted> {
    BTreeMap::from([(place("shop", side), Wanted::Document(Vec::new()))])
}

#[test]
fn what_is_there_already_is_not_written_again() {
    for emitter in [Emitter::EnvoyFilter, Emitter::WasmPlugin] {
        let mut mesh = Mesh::new(emitter);
        let wanted = documents("shop", &Side::ALL);
        let (names, generations) = mesh.deliver(&wanted, 0);
        assert_eq!(names.len(), if emitter == Emitter::EnvoyFilter { 2 } else { 5 });
        assert_eq!(generations, Side::ALL.map(|side| (side, 1)));
        assert_eq!(mesh.deliver(&wanted, 0), (vec![], Side::ALL.map(|side| (side, 1)).to_vec()));
    }
}

#[test]
fn a_changed_document_gets_the_next_generation_and_the_others_keep_theirs() {
    let mut mesh = Mesh::new(Emitter::EnvoyFilter);
    mesh.deliver(&documents("shop", &[Side::InboundEntry, Side::Inbound, Side::Outbound]), 0);
    let (names, generations) = mesh.deliver(&without_groups(Side::InboundEntry), 0);
    assert_eq!(names, [ENTRY]);
    assert_eq!(generations, [(Side::Inbound, 1), (Side::Outbound, 1), (Side::InboundEntry, 2)]);
    let (names, generations) = mesh.deliver(&without_groups(Side::Outbound), 0);
    assert_eq!(names, [LANES]);
    assert_eq!(generations, [(Side::Inbound, 1), (Side::Outbound, 3), (Side::InboundEntry, 2)]);
}

#[test]
fn no_generation_is_handed_out_twice() {
    for emitter in [Emitter::EnvoyFilter, Emitter::WasmPlugin] {
        let mut mesh = Mesh::new(emitter);
        let (one, other) = (documents("shop", &[Side::Inbound]), without_groups(Side::Inbound));
        let inert = BTreeMap::from([(place("shop", Side::Inbound), Wanted::Inert)]);
        mesh.deliver(&one, 0);
        mesh.deliver(&other, 0);
        mesh.deliver(&inert, 0);
        assert_eq!(mesh.deliver(&one, 0).1, [(Side::Inbound, 3)], "{emitter:?}: the inert config forgot");
        let remembered = mesh.held().generation();
        mesh.objects.clear();
        let (_, afresh) = mesh.deliver(&one, remembered);
        assert_eq!(afresh, [(Side::Inbound, remembered + 1)], "{emitter:?}: deleted objects");
    }
}

#[test]
fn an_inert_envoy_filter_needs_no_module() {
    let mut mesh = Mesh::new(Emitter::EnvoyFilter);
    mesh.deliver(&documents("shop", &[Side::Inbound, Side::Outbound]), 0);
    let inert = [Side::Inbound, Side::Outbound].map(|side| (place("shop", side), Wanted::Inert));
    let (names, generations) = mesh.deliver(&BTreeMap::from(inert), 0);
    assert_eq!((names, generations), (vec![LANES.to_owned()], vec![]));
    assert!(!mesh.spec(LANES).to_string().contains("Wasm"));
    assert!(mesh.held().has(Side::Inbound) && mesh.held().document(Side::Inbound).is_none());
}

#[test]
fn places_of_other_namespaces_and_unnamed_places_are_left_alone() {
    let mut mesh = Mesh::new(Emitter::EnvoyFilter);
    mesh.deliver(&documents("shop", &[Side::Inbound]), 0);
    let before = mesh.objects.clone();
    let (names, generations) = mesh.deliver(&documents("pay", &[Side::Inbound, Side::Gateway]), 0);
    assert_eq!((names, generations), (vec![], vec![(Side::Inbound, 1)]));
    assert_eq!(mesh.objects, before);
}

#[test]
fn what_somebody_changed_is_put_right_with_a_new_generation() {
    let mut mesh = Mesh::new(Emitter::EnvoyFilter);
    let wanted = documents("shop", &[Side::Gateway, Side::Inbound, Side::Outbound]);
    mesh.deliver(&wanted, 0);
    mesh.spec(LANES)["configPatches"][0]["patch"]["value"]["typed_config"]["config"]["failure_policy"] =
        json!("FAIL_CLOSED");
    assert_eq!(mesh.held().drifted(), [LANES]);
    let (names, generations) = mesh.deliver(&wanted, 0);
    assert_eq!(names, [LANES]);
    assert_eq!(generations, [(Side::Gateway, 1), (Side::Inbound, 2), (Side::Outbound, 2)]);
    assert!(mesh.held().drifted().is_empty());
}

#[test]
fn a_lost_digest_alone_is_written_back_without_a_new_generation() {
    let mut mesh = Mesh::new(Emitter::EnvoyFilter);
    let wanted = documents("shop", &[Side::Inbound]);
    mesh.deliver(&wanted, 0);
    mesh.annotate(LANES, SHA256, "0");
    assert_eq!(mesh.deliver(&wanted, 0), (vec![LANES.to_owned()], vec![(Side::Inbound, 1)]));
}

#[test]
fn garbage_in_an_object_is_replaced() {
    let mut mesh = Mesh::new(Emitter::EnvoyFilter);
    let wanted = documents("shop", &[Side::Inbound, Side::Outbound]);
    mesh.deliver(&wanted, 0);
    for garbage in [json!(null), json!({"configPatches": "none"}), json!({"configPatches": [{"patch": 1}, null]})] {
        *mesh.spec(LANES) = garbage;
        let (names, generations) = mesh.deliver(&wanted, 0);
        assert_eq!(names, [LANES]);
        assert_eq!(generations.len(), 2);
    }
    mesh.spec(LANES)["configPatches"][0]["patch"]["value"]["typed_config"]["config"]["configuration"]["value"] =
        json!("{");
    mesh.deliver(&wanted, 0);
    assert_eq!(mesh.held().document(Side::Inbound).unwrap().groups, groups(Side::Inbound));
}

#[test]
fn another_module_is_a_new_generation() {
    for emitter in [Emitter::EnvoyFilter, Emitter::WasmPlugin] {
        let mut mesh = Mesh::new(emitter);
        let wanted = documents("shop", &[Side::Inbound]);
        mesh.deliver(&wanted, 0);
        mesh.module = "/other.wasm".parse().unwrap();
        let (names, generations) = mesh.deliver(&wanted, 0);
        assert_eq!((names.len(), generations), (1, vec![(Side::Inbound, 2)]), "{emitter:?}");
    }
}

#[test]
fn a_side_that_is_to_be_renewed_gets_a_new_generation_alone() {
    let mut mesh = Mesh::new(Emitter::EnvoyFilter);
    let wanted = documents("shop", &[Side::Inbound, Side::Outbound]);
    mesh.deliver(&wanted, 0);
    let generations = mesh.assign(&wanted, 0, &[Side::Outbound]).generations;
    assert_eq!(generations.into_values().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn nothing_is_written_to_a_namespace_that_was_stopped_by_hand() {
    let mut mesh = Mesh::new(Emitter::EnvoyFilter);
    mesh.deliver(&documents("shop", &[Side::Gateway, Side::Inbound]), 0);
    mesh.annotate(ENTRY, STOPPED, "me");
    *mesh.spec(ENTRY) = json!({"configPatches": []});
    assert_eq!((mesh.held().stopped(), mesh.held().drifted().len()), (Some("me"), 0));
    let assignment = mesh.assign(&without_groups(Side::Inbound), 0, &[]);
    assert!(assignment.objects.is_empty());
    assert_eq!(assignment.generations, BTreeMap::from([(place("shop", Side::Inbound), 1)]));
}

#[test]
fn the_generation_of_a_lost_document_is_remembered_by_annotation() {
    let mut mesh = Mesh::new(Emitter::EnvoyFilter);
    mesh.deliver(&documents("shop", &[Side::Inbound]), 41);
    assert_eq!(mesh.objects[LANES].metadata.annotations.as_ref().unwrap()[GENERATION], "42");
    *mesh.spec(LANES) = json!({});
    assert_eq!(mesh.held().generation(), 42);
}

#[test]
fn unnamed_places_keep_their_module() {
    let mut mesh = Mesh::new(Emitter::EnvoyFilter);
    mesh.deliver(&documents("shop", &[Side::Inbound]), 0);
    mesh.module = "/other.wasm".parse().unwrap();
    let inert = BTreeMap::from([(place("shop", Side::Outbound), Wanted::Inert)]);
    assert_eq!(mesh.deliver(&inert, 0), (vec![LANES.to_owned()], vec![(Side::Inbound, 1)]));
    assert!(!mesh.spec(LANES).to_string().contains("other.wasm"));
}

#[test]
fn documents_are_emptied_with_a_new_generation_also_where_the_namespace_was_stopped() {
    for emitter in [Emitter::EnvoyFilter, Emitter::WasmPlugin] {
        let mut mesh = Mesh::new(emitter);
        mesh.deliver(&documents("shop", &[Side::Gateway, Side::Inbound]), 0);
        let names: Vec<String> = mesh.objects.keys().cloned().collect();
        names.iter().for_each(|name| mesh.annotate(name, STOPPED, "me"));
        let none = BTreeSet::new();
        let order = Order { emitter, module: &mesh.module, namespace: "shop", floor: 0, renew: &none };
        let assignment = emptied(&order, &mesh.held());
        assert_eq!(assignment.generations.into_values().collect::<Vec<_>>(), [2, 2]);
        let held = Held::read(emitter, &assignment.objects);
        assert!([Side::Gateway, Side::Inbound].iter().all(|side| held.document(*side).unwrap().groups.is_empty()));
        assert_eq!(assignment.objects.len(), 2);
    }
}
