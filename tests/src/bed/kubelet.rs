//! A kubelet of our own: it runs the pods of the node `bed`.
//!
//! A container named `istio-proxy` is a real Envoy, by itself or under Istio's agent; every other one is
//! the toy service `graylane app` with the arguments of the container. Pods have a network each, become
//! ready when their proxy and their app answer, get what crashes started again, and are taken down as
//! Kubernetes does it: `preStop`, SIGTERM, grace period, SIGKILL.

mod account;
mod containers;
mod pod;
mod status;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};
use tokio::task::JoinHandle;

pub(super) use self::containers::{ADMIN, APP, PROMETHEUS, READY};
pub use self::pod::Running;
use super::network::Network;
use super::proxy::Mesh;
use super::{apply, proxy};

/// Runs pods until it is dropped.
#[derive(Debug)]
pub(super) struct Kubelet {
    table: Arc<Table>,
    watching: JoinHandle<()>,
}

/// What pods are run with.
pub(super) struct Yard {
    pub(super) client: Client,
    pub(super) network: Network,
    pub(super) mesh: Mesh,
    /// For logs, bootstraps and the like; a folder for each pod.
    pub(super) folder: PathBuf,
    /// With all rights.
    pub(super) kubeconfig: PathBuf,
    /// The certificate of the API server.
    pub(super) ca: PathBuf,
    /// The built `graylane`.
    pub(super) graylane: PathBuf,
}

/// All pods that run, by uid.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<BTreeMap<String, Arc<Running>>>);

// === impl Yard ===

/// Without iptables nothing leads a pod's traffic into its proxy. istiod then makes inbound listeners for
/// what a Sidecar resource names only; one for the namespace says where all apps listen.
const INBOUND: &str = "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: NAMESPACE}
spec:
  ingress:
  - {port: {number: 8080, protocol: HTTP, name: http}, defaultEndpoint: '127.0.0.1:8080', captureMode: NONE}
";

impl Yard {
    /// Does what has to be done before a pod runs.
    async fn accept(&self, pod: &Pod) -> Result<()> {
        if proxy::is_gateway(pod) {
            return Ok(());
        }
        let namespace = pod.namespace().unwrap_or_default();
        apply::apply(&self.client, &INBOUND.replace("NAMESPACE", &namespace)).await
    }
}

// === impl Kubelet ===

impl Kubelet {
    /// Starts it; to be called within a runtime.
    pub(super) fn start(yard: Yard) -> Self {
        let table = Arc::new(Table::default());
        let watching = tokio::spawn(watch::run(Arc::new(yard), table.clone()));
        Self { table, watching }
    }

    /// The pods of a Deployment that are not ending, oldest first.
    pub(super) fn pods(&self, namespace: &str, deployment: &str) -> Vec<Arc<Running>> {
        let wanted =
            |pod: &&Arc<Running>| pod.namespace() == namespace && pod.deployment() == deployment && !pod.is_ending();
        let mut pods: Vec<_> = self.table.all().values().filter(wanted).cloned().collect();
        pods.sort_by_key(|pod| pod.place.ip);
        pods
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        // First the watch, so that nothing is started again.
        self.watching.abort();
        self.table.all().values().for_each(|pod| pod.kill());
    }
}

// === impl Table ===

impl Table {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Running>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
