//! Which templates go where.

use std::sync::Arc;

use kube::core::DynamicObject;
use serde_json::Value;

use crate::cluster::problems;
use crate::cluster::template::{self, only_workload};
use crate::cluster::world::World;
use crate::engine::seams::SeamError;
use crate::release::finding::Finding;
use crate::release::{Release, STABLE};

pub(super) fn workload(
    world: &World,
    release: &Release,
    service: &str,
    lane: &str,
) -> Result<Arc<DynamicObject>, Finding> {
    only_workload(world, &problems::file(release), &release.namespace, service, lane)
}

/// The template of a lane, as stable would get it.
pub(super) fn copied(
    world: &World,
    release: &Release,
    service: &str,
    lane: &str,
    stable: &DynamicObject,
) -> Result<Value, Finding> {
    let of_lane = workload(world, release, service, lane)?;
    let subsets = [STABLE, lane].map(|name| world.subset(&release.namespace, service, name));
    let own = template::own_labels(stable, &of_lane, subsets);
    Ok(template::copy(&template::template(&of_lane), &template::template(stable), &own))
}

pub(super) fn refused(finding: Finding) -> SeamError {
    let findings = crate::release::finding::Findings(vec![finding]);
    SeamError::Refused { what: "the pod template of stable".into(), source: Box::new(findings) }
}
