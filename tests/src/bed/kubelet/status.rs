//! What the kubelet says of a pod.

use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::Yard;
use super::pod::Running;

/// Probes without an answer after which a pod is not ready: Kubernetes' default `failureThreshold`.
const SILENCES: u32 = 3;

/// What was said last, so that only changes are.
#[derive(Debug, Default)]
pub(super) struct Report {
    said: Option<(Vec<bool>, Vec<u32>)>,
    ready: Vec<bool>,
    /// How often in a row somebody gave no answer in time.
    silent: u32,
    asked: Option<Instant>,
    since: Option<String>,
}

// === impl Report ===

impl Report {
    /// Asks the pod how it is and tells the API server when that has changed.
    pub(super) async fn send(&mut self, yard: &Yard, running: &Running) {
        let all_ready = !self.ready.is_empty() && self.ready.iter().all(|ready| *ready);
        if self.asked.is_none_or(|asked| asked.elapsed() >= Running::between_probes(all_ready)) {
            let heard = running.readiness().await;
            self.silent = if heard.contains(&None) { self.silent + 1 } else { 0 };
            // A busy machine is slow to answer; as with a real kubelet, only the third time counts.
            let patient = self.silent < SILENCES && self.ready.len() == heard.len();
            let settled = heard.iter().enumerate().map(|(index, ready)| ready.unwrap_or(patient && self.ready[index]));
            self.ready = settled.collect();
            self.asked = Some(Instant::now());
        }
        let restarts = running.containers().iter().map(super::containers::Container::restarts).collect();
        let state = (self.ready.clone(), restarts);
        if self.said.as_ref() == Some(&state) {
            return;
        }
        if self.said.as_ref().is_none_or(|(ready, _)| *ready != state.0) {
            self.since = Some(Timestamp::now().to_string());
        }
        let status = self.status(running, &state.1);
        let api: Api<Pod> = Api::namespaced(yard.client.clone(), &running.namespace());
        let patch = Patch::Strategic(json!({"metadata": {"uid": running.pod().uid()}, "status": status}));
        // Said again at the next step when the API server is away.
        if api.patch_status(&running.name(), &PatchParams::default(), &patch).await.is_ok() {
            self.said = Some(state);
        }
    }

    fn status(&self, running: &Running, restarts: &[u32]) -> Value {
        let (ip, since) = (running.place.ip.to_string(), self.since.as_deref().unwrap_or_default());
        let all_ready = self.ready.iter().all(|ready| *ready);
        let condition = |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": since});
        let containers = running.containers().iter().zip(&self.ready).zip(restarts);
        let containers: Vec<Value> = containers
            .map(|((container, ready), restarts)| {
                json!({
                    "name": container.spec.name,
                    "image": container.spec.image,
                    "imageID": container.spec.image,
                    "ready": ready,
                    "started": container.is_up(),
                    "restartCount": restarts,
                    "state": {"running": {"startedAt": since}},
                })
            })
            .collect();
        json!({
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": running.pod().creation_timestamp(),
            "conditions": [
                condition("Initialized", true),
                condition("ContainersReady", all_ready),
                condition("Ready", all_ready),
            ],
            "containerStatuses": containers,
        })
    }
}
