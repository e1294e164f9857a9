//! What a bed with a mesh can be asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::istio;
use super::kubelet::{Kubelet, Running};
use super::part::Part;
use super::registry::Image;
use super::{Bed, registry};
use crate::client::{Answer, Ask};
use crate::{client, poll};

/// Where gateways listen for clients.
const GATEWAY: u16 = 8080;

/// Pods are ready within seconds; a machine that compiles something else makes them slower.
const PATIENCE: Duration = Duration::from_secs(90);

/// The shop: a gateway, and two services in a stable and a canary version each.
const SHOP: &str = include_str!("yaml/shop.yaml");

/// The parts that a mesh has beyond a cluster, in the order in which they end.
#[derive(Debug)]
pub(super) struct Mesh {
    pub(super) kubelet: Kubelet,
    pub(super) istiod: Part,
    pub(super) registry: Part,
}

// === impl Bed ===

impl Bed {
    /// Applies the shop (`gateway` in `istio-ingress`; `orders` and `stock` in `shop`, each with a
    /// Deployment for stable and one named `-canary`) and waits until all of it is ready.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn shop(&self) -> Result<()> {
        self.apply(SHOP)?;
        self.wait_for_deployments("istio-ingress")?;
        self.wait_for_deployments("shop")
    }

    /// Waits until every Deployment of a namespace is rolled out: all its pods are of the newest
    /// template and ready, and no others are left.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub fn wait_for_deployments(&self, namespace: &str) -> Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.client(), namespace);
        poll::until(&format!("the deployments of {namespace}"), PATIENCE, || {
            for deployment in self.block_on(api.list(&ListParams::default()))? {
                let name = deployment.name_any();
                let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                let status = deployment.status.clone().unwrap_or_default();
                ensure!(status.observed_generation == deployment.metadata.generation, "{name} is not looked at yet");
                let counts =
                    [status.replicas, status.updated_replicas, status.ready_replicas].map(Option::unwrap_or_default);
                ensure!(counts == [wanted; 3], "{name}: {counts:?} of {wanted} pods are there, new, ready");
                let running = self.pods(namespace, &name)?.len();
                // The kubelet may hear a moment later than others that a pod is to go.
                ensure!(running == usize::try_from(wanted)?, "{name}: {running} pods run, not {wanted}");
            }
            Ok(())
        })
    }

    /// The running pod of a Deployment; of several the oldest.
    ///
    /// # Errors
    /// When there is none.
    pub fn pod(&self, namespace: &str, deployment: &str) -> Result<Arc<Running>> {
        let pods = self.pods(namespace, deployment)?;
        pods.into_iter().next().with_context(|| format!("no pod of {namespace}/{deployment} runs"))
    }

    /// The running pods of a Deployment, oldest first; those that are being taken down are none.
    ///
    /// # Errors
    /// When the bed has no mesh.
    pub fn pods(&self, namespace: &str, deployment: &str) -> Result<Vec<Arc<Running>>> {
        Ok(self.started_mesh()?.kubelet.pods(namespace, deployment))
    }

    /// What the first gateway answers.
    ///
    /// # Errors
    /// When there is no gateway, or no answer.
    pub fn ask(&self, ask: &Ask) -> Result<Answer> {
        self.pod("istio-ingress", "gateway")?.answer(GATEWAY, ask)
    }

    /// istiod.
    ///
    /// # Errors
    /// When the bed has no mesh.
    pub fn istiod(&self) -> Result<&Part> {
        Ok(&self.started_mesh()?.istiod)
    }

    /// A debug page of istiod, such as `syncz`, as JSON.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn istiod_says(&self, page: &str) -> Result<Value> {
        self.started_mesh()?;
        let page = client::get((self.host, istio::HTTP), &format!("/debug/{page}"))?;
        serde_json::from_str(&page).with_context(|| page)
    }

    /// docker-registry.
    ///
    /// # Errors
    /// When the bed has no mesh.
    pub fn registry(&self) -> Result<&Part> {
        Ok(&self.started_mesh()?.registry)
    }

    /// Puts a module into the registry, as an image that Istio's agents pull.
    ///
    /// # Errors
    /// When the bed has no mesh, or the registry refuses it.
    pub fn push_module(&self, module: &Path, name: &str, tag: &str) -> Result<Image> {
        self.started_mesh()?;
        registry::push(&self.folder, self.host, module, name, tag)
    }

    fn started_mesh(&self) -> Result<&Mesh> {
        self.mesh.as_ref().context("this bed has no mesh: Bed::mesh()")
    }
}
