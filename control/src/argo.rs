//! What Argo Rollouts needs beside a release: the strategy of a Rollout, the DestinationRule whose subsets it
//! points at its replica sets, a decoy for its weights, and the templates by which it asks for verdicts.
//!
//! Only fields that Argo Rollouts 1.8 and later has (`argoproj.io/v1alpha1`): what it does not know it drops
//! without a word.

use serde_json::{Value, json};

use crate::api::question::{CohortLabel, Labels, Metric, Question};
use crate::istio::types::service_host;
use crate::release::units::WHOLE;
use crate::release::{Release, STABLE};

/// How often Argo Rollouts asks.
const INTERVAL: &str = "10s";
/// So often it asks in vain before the Rollout is paused for a person: an hour.
const PATIENCE: u32 = 360;
/// The key of the Secret.
const TOKEN: &str = "token";

/// What is to be written for one Rollout.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The release that its pods are part of.
    pub release: &'a Release,
    /// Name of the Rollout.
    pub rollout: &'a str,
    /// The service of its pods.
    pub service: &'a str,
    /// The weights of its steps, in percent, where it leads.
    pub weights: &'a [u8],
    /// Where verdicts are asked for: the URL of `POST /metrics/analysis`.
    pub api: &'a str,
    /// The Secret in the release's namespace that holds the token to ask with.
    pub secret: &'a str,
}

// === impl Plan ===

impl Plan<'_> {
    /// All objects, in the order in which they are to be applied.
    pub fn objects(&self) -> Vec<Value> {
        let mut objects = vec![self.destination_rule(), self.decoy()];
        if self.leads() {
            objects.extend([self.watch(), self.gate()]);
        }
        objects.push(self.strategy());
        objects
    }

    fn leads(&self) -> bool {
        self.release.plan.leader.as_deref() == Some(self.rollout)
    }

    fn lane(&self) -> &str {
        &self.release.plan.promoted
    }

    fn host(&self) -> String {
        service_host(self.service, &self.release.namespace)
    }

    fn metadata(&self, name: &str) -> Value {
        json!({"name": name, "namespace": self.release.namespace})
    }

    /// Argo adds the hash of a replica set to the labels of both subsets.
    fn destination_rule(&self) -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": self.metadata(self.service),
            "spec": {"host": self.host(), "subsets": [{"name": STABLE}, {"name": self.lane()}]},
        })
    }

    /// It has a host that nobody asks for and a gateway that does not exist: no proxy gets it.
    fn decoy(&self) -> Value {
        let to = |subset: &str, weight: u8| json!({"destination": {"host": self.host(), "subset": subset}, "weight": weight});
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": self.metadata(&self.decoy_name()),
            "spec": {
                "hosts": [format!("{}.argo.graylane.invalid", self.rollout)],
                "gateways": ["graylane-nowhere"],
                "exportTo": ["."],
                "http": [{"name": "decoy", "route": [to(STABLE, 100), to(self.lane(), 0)]}],
            },
        })
    }

    fn decoy_name(&self) -> String {
        format!("{}-argo-decoy", self.rollout)
    }

    fn template_name(&self, what: &str) -> String {
        format!("graylane-{}-{what}", self.rollout)
    }

    /// Asked all the time; a verdict against the lane ends the Rollout. While nobody answers, it goes on.
    fn watch(&self) -> Value {
        self.template(
            "watch",
            &json!({
                "successCondition": "result.verdict != \"fail\"",
                "failureCondition": "result.verdict == \"fail\"",
                "failureLimit": 0,
                "consecutiveErrorLimit": PATIENCE,
            }),
        )
    }

    /// Asked after each weight; goes on once the lane has passed, and without a verdict is inconclusive.
    fn gate(&self) -> Value {
        self.template(
            "gate",
            &json!({
                "successCondition": "result.verdict == \"pass\"",
                "failureCondition": "result.verdict == \"fail\"",
                "failureLimit": 0,
                "consecutiveSuccessLimit": 1,
                // Argo takes no template in a step that could go on for ever.
                "count": PATIENCE,
                "inconclusiveLimit": PATIENCE,
                "consecutiveErrorLimit": PATIENCE,
            }),
        )
    }

    fn template(&self, what: &str, judged: &Value) -> Value {
        let mut metric = json!({
            "name": format!("graylane-{what}"),
            "interval": INTERVAL,
            "provider": {"web": {
                "method": "POST",
                "url": self.api,
                "timeoutSeconds": 5,
                "headers": [{"key": "Authorization", "value": "Bearer {{args.token}}"}],
                "jsonBody": self.question(),
                "jsonPath": "{$}",
            }},
        });
        if let (Some(metric), Some(judged)) = (metric.as_object_mut(), judged.as_object()) {
            metric.extend(judged.clone());
        }
        json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisTemplate",
            "metadata": self.metadata(&self.template_name(what)),
            "spec": {
                "args": [
                    {"name": "version"},
                    {"name": "token", "valueFrom": {"secretKeyRef": {"name": self.secret, "key": TOKEN}}},
                ],
                "metrics": [metric],
            },
        })
    }

    /// Every answer carries the verdict; the number is for whoever looks at the AnalysisRun.
    fn question(&self) -> Question {
        Question {
            metric_name: Metric::SuccessRate,
            start_timestamp: "-5m".into(),
            end_timestamp: "now".into(),
            labels: Labels {
                release: self.release.id(),
                lane: self.lane().to_owned(),
                service: None,
                cohort: CohortLabel::Slot,
                over_ms: None,
                objective: None,
                version: Some("{{args.version}}".into()),
            },
        }
    }

    /// How a Rollout asks by one of the templates: of the version that it brings.
    fn analysis(&self, what: &str) -> Value {
        json!({
            "templates": [{"templateName": self.template_name(what)}],
            "args": [{"name": "version", "valueFrom": {"podTemplateHashValue": "Latest"}}],
        })
    }

    /// The part of a Rollout that graylane asks for; the rest of it is the user's.
    fn strategy(&self) -> Value {
        let mut canary = json!({
            "trafficRouting": {"istio": {
                "virtualService": {"name": self.decoy_name(), "routes": ["decoy"]},
                "destinationRule": {
                    "name": self.service,
                    "stableSubsetName": STABLE,
                    "canarySubsetName": self.lane(),
                },
            }},
            "steps": if self.leads() { self.leading_steps() } else { waiting_steps() },
        });
        if self.leads() {
            canary["analysis"] = self.analysis("watch");
            canary["analysis"]["startingStep"] = 1.into();
        }
        json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": self.metadata(self.rollout),
            "spec": {"strategy": {"canary": canary}},
        })
    }

    fn leading_steps(&self) -> Vec<Value> {
        let gate = json!({"analysis": self.analysis("gate")});
        self.weights.iter().flat_map(|weight| [json!({"setWeight": weight}), gate.clone()]).collect()
    }
}

/// The new version gets as many replicas as stable has, and waits; graylane gives it requests and promotes it.
fn waiting_steps() -> Vec<Value> {
    let all = WHOLE / 100;
    vec![json!({"setCanaryScale": {"weight": all}}), json!({"pause": {}})]
}
