//! The rendered objects against the files in `istio/rendered`, and what is assigned when.
//!
//! The files are what a real mesh was seen to accept; `GRAYLANE_GOLDEN=write` rewrites them.

mod assigning;
mod rendering;

use std::collections::BTreeMap;

use graylane_policy::raw::RawGroup;
use kube::core::DynamicObject;

use super::module::Module;
use crate::build::{Running, Side};
use crate::engine::seams::{Place, Wanted};
use crate::release::read::read_text;
use crate::release::validate::check;

const RELEASE: &str = "
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: summer, namespace: shop}
spec:
  group: shop
  lanes: [{name: canary}]
  members: [{service: orders}]
  weights: {canary: 5%}
";

/// The groups of a side while the release is at its weights.
fn groups(side: Side) -> Vec<RawGroup> {
    let files = read_text("summer.yaml", RELEASE).unwrap();
    let running: Vec<Running> =
        check(files, &[side]).unwrap().into_iter().map(|one| Running::at_its_weights(one.release)).collect();
    crate::build::document(1, side, &running).groups
}

fn place(namespace: &str, side: Side) -> Place {
    Place { namespace: namespace.to_owned(), side }
}

fn documents(namespace: &str, sides: &[Side]) -> BTreeMap<Place, Wanted> {
    sides.iter().map(|side| (place(namespace, *side), Wanted::Document(groups(*side)))).collect()
}

fn image() -> Module {
    let digest = "5f1d2e3c".repeat(8);
    format!("oci://registry.example.com/graylane/filter@sha256:{digest}").parse().unwrap()
}

/// The object as the API server gives it back.
fn stored(object: &DynamicObject, version: &str) -> DynamicObject {
    let mut stored = object.clone();
    stored.metadata.resource_version = Some(version.to_owned());
    stored.metadata.uid = Some("6a6e".to_owned());
    stored
}
