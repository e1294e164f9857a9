//! A release that Argo Rollouts leads. Part of [`super::validate`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::{OnFailure, PromotionStrategy};
use super::validate::Checker;
use super::{Spec, rules};

/// The Rollout that leads a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgoSpec {
    /// Name of a Rollout in the release's namespace. Its steps give the weight of the promoted lane, and a
    /// new version of it begins the release again.
    pub rollout: String,
}

// === impl Checker ===

impl Checker<'_> {
    /// Checks that only one of the two moves the weight. Gives the Rollout that leads.
    pub(super) fn leader(&mut self, spec: &Spec) -> Option<String> {
        let rollout = &spec.argo.as_ref()?.rollout;
        self.label("spec.argo.rollout", rollout);
        if !spec.steps.is_empty() {
            self.refuse("spec.steps", &rules::ARGO_STEPS, &[]);
        }
        if spec.promotion.strategy != PromotionStrategy::Argo {
            self.refuse("spec.promotion.strategy", &rules::ARGO_PROMOTES, &[]);
        }
        if spec.on_failure != OnFailure::Rollback {
            self.refuse("spec.onFailure", &rules::ARGO_GOES_ON, &[]);
        }
        Some(rollout.clone())
    }
}
