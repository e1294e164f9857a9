//! How the proxy of a pod is started: a plain Envoy, or one under Istio's agent.
//!
//! Both say of themselves what an injected proxy says, and both have the ports of one: metrics, readiness
//! and, for the tests, an admin listener that other pods can reach.

mod agent;
mod envoy;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::network::Place;
use super::part::Recipe;

/// Prefix of paths of the readiness listener that lead to the app.
pub(super) const APP_HEALTH: &str = "/app-health";

/// Annotation: `agent` runs the proxy under Istio's agent.
const PROXY: &str = "bed.graylane.io/proxy";
/// Annotation: number of Envoy's worker threads.
const WORKERS: &str = "bed.graylane.io/workers";

/// What proxies have to know.
#[derive(Clone, Debug)]
pub(super) struct Mesh {
    /// Where istiod is.
    pub(super) host: Ipv4Addr,
    pub(super) envoy: PathBuf,
    /// Worker threads of an Envoy whose pod does not say.
    pub(super) workers: u32,
    /// With certificates of istiod; every proxy then has an agent.
    pub(super) mtls: Option<Trust>,
}

/// What an agent shows to istiod, and whom it believes.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) kubeconfig: PathBuf,
    pub(super) kubectl: PathBuf,
}

/// What a proxy says of itself.
struct Identity<'a> {
    pod: &'a Pod,
    ip: Ipv4Addr,
    workers: u32,
}

/// Completes the recipe of a process in the network of a pod.
///
/// # Errors
/// When an annotation makes no sense, or a file cannot be written.
pub(super) fn recipe(mesh: &Mesh, pod: &Pod, place: &Place, recipe: Recipe, folder: &Path) -> Result<Recipe> {
    let annotation = |name: &str| pod.annotations().get(name).map(String::as_str);
    let workers = annotation(WORKERS).map_or(Ok(mesh.workers), str::parse)?;
    let identity = Identity { pod, ip: place.ip, workers };
    match annotation(PROXY) {
        None | Some("envoy") if mesh.mtls.is_none() => envoy::recipe(mesh, &identity, recipe, folder),
        None | Some("agent") => agent::recipe(mesh, &identity, recipe, folder),
        Some("envoy") => bail!("a bed with mTLS has only proxies with an agent"),
        Some(other) => bail!("annotation {PROXY}: {other}; say envoy or agent"),
    }
}

/// The Deployment of a pod, as the injector finds it: its owner without the hash of the template.
pub(super) fn workload_of(pod: &Pod) -> String {
    let owner = pod.owner_references().first().map_or_else(|| pod.name_any(), |owner| owner.name.clone());
    let hashes = ["pod-template-hash", "rollouts-pod-template-hash"];
    let hash = hashes.iter().find_map(|label| pod.labels().get(*label)).map(|hash| format!("-{hash}"));
    hash.and_then(|hash| owner.strip_suffix(&hash).map(ToOwned::to_owned)).unwrap_or(owner)
}

/// Whether a pod is a gateway: its template says so, as with Istio's injection of gateways.
pub(super) fn is_gateway(pod: &Pod) -> bool {
    pod.annotations().get("inject.istio.io/templates").is_some_and(|template| template == "gateway")
}

// === impl Identity ===

impl Identity<'_> {
    fn kind(&self) -> &'static str {
        if is_gateway(self.pod) { "router" } else { "sidecar" }
    }

    fn name(&self) -> String {
        self.pod.name_any()
    }

    fn namespace(&self) -> String {
        self.pod.namespace().unwrap_or_default()
    }

    fn domain(&self) -> String {
        format!("{}.svc.cluster.local", self.namespace())
    }

    fn node_id(&self) -> String {
        format!("{}~{}~{}.{}~{}", self.kind(), self.ip, self.name(), self.namespace(), self.domain())
    }

    fn workload(&self) -> String {
        workload_of(self.pod)
    }

    fn service_account(&self) -> String {
        let account = self.pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        account.unwrap_or_else(|| "default".to_owned())
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        self.pod.labels()
    }

    fn metadata(&self) -> Value {
        let (namespace, workload) = (self.namespace(), self.workload());
        json!({
            "NAME": self.name(),
            "NAMESPACE": namespace,
            "LABELS": self.labels(),
            "WORKLOAD_NAME": workload,
            "OWNER": format!("kubernetes://apis/apps/v1/namespaces/{namespace}/deployments/{workload}"),
            "SERVICE_ACCOUNT": self.service_account(),
            "INSTANCE_IPS": self.ip.to_string(),
            "CLUSTER_ID": "Kubernetes",
            "INTERCEPTION_MODE": "NONE",
            "ISTIO_VERSION": "1.31.0",
        })
    }
}
