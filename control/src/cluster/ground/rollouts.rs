//! Rollouts of Argo Rollouts: what is wrong with reading them, and writing to their status.

use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::Value;

use super::Inner;
use crate::cluster::MANAGER;
use crate::cluster::argo;
use crate::cluster::cache::{self, trim_fields};
use crate::cluster::call::answer;
use crate::engine::seams::SeamError;
use crate::release::Release;
use crate::release::finding::Finding;
use crate::release::plan::PromotionStrategy;

// === impl Inner ===

impl Inner {
    /// Why a release that Argo promotes cannot be looked after, if Rollouts cannot be read.
    pub(super) fn unreadable_rollouts(&self, release: &Release) -> Option<Finding> {
        let by_argo = release.plan.promotion == PromotionStrategy::Argo;
        by_argo.then(|| argo::unreadable(self.caches.rollouts.trouble()?, release)).flatten()
    }

    /// Writes to the status of a Rollout, which is what its controller listens to. Fenced: what was decided
    /// about one version must not meet the next.
    pub(super) async fn patch_rollout(
        &self,
        release: &Release,
        service: &str,
        mut patch: Value,
    ) -> Result<(), SeamError> {
        let what = format!("the Rollout of {service}.{}", release.namespace);
        let found = argo::only(&self.world(), &release.namespace, service);
        let Some(rollout) = found else { return Err(SeamError::Gone { what }) };
        let what = format!("Rollout {}", cache::id(&*rollout));
        self.term.check(&what)?;
        patch["metadata"] = serde_json::json!({"resourceVersion": rollout.metadata.resource_version});
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &release.namespace, &argo::kind());
        let name = rollout.metadata.name.clone().unwrap_or_default();
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let mut answered = answer(&what, api.patch_status(&name, &params, &Patch::Merge(&patch))).await?;
        trim_fields(&mut answered);
        self.caches.rollouts.note(answered);
        self.metrics.wrote("Rollout");
        self.changes.up();
        Ok(())
    }
}
