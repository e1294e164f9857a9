//! Test beds: a real API server, and a real mesh on top of it.
//!
//! [`Bed::cluster`] is etcd, kube-apiserver and kube-controller-manager. [`Bed::mesh`] adds istiod,
//! docker-registry and a kubelet of our own: what is applied as ordinary Deployments and Services gets
//! pods, each with a network of its own, a toy app and a real Envoy. All of it ends with the bed, also
//! when the test panics, and then shows its logs.
//!
//! The addresses are fixed, so a test binary runs in namespaces of its own: `scripts/in-bed.sh`, which
//! `make test-cluster` and `make test-mesh` do.

mod apply;
mod argo;
mod cluster;
mod command;
mod files;
mod flaky;
mod istio;
mod kubelet;
mod mesh;
mod network;
mod part;
mod proxy;
mod registry;
mod writes;

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::{env, fmt, thread};

use anyhow::{Context, Result};
use kube::Client;
use tokio::runtime::Runtime;

use self::cluster::Cluster;
pub use self::command::Said;
use self::files::Folder;
pub use self::flaky::FlakyApi;
pub use self::kubelet::Running;
use self::kubelet::{Kubelet, Yard};
use self::mesh::Mesh;
use self::network::Network;
pub use self::network::Place;
pub use self::part::{Part, Usage};
use self::proxy::Trust;
pub use self::registry::Image;
pub use self::writes::Write;
use crate::paths::{self, Release};

/// What a bed is to have.
#[derive(Clone, Debug)]
pub struct Setup {
    controllers: bool,
    mesh: bool,
    mtls: bool,
    workers: u32,
}

/// A running bed. Its methods wait, so they are for tests that are no async functions; what is async
/// runs under [`Bed::block_on`].
pub struct Bed {
    // Dropped in this order: what uses the API server before it.
    mesh: Option<Mesh>,
    client: Client,
    cluster: Cluster,
    host: Ipv4Addr,
    runtime: Runtime,
    // Last, so that its logs are shown after everything has ended.
    folder: Folder,
}

/// Beds of this process; each has addresses of its own.
static BEDS: AtomicU8 = AtomicU8::new(0);

/// Starts a bed and tells a story on it.
///
/// # Panics
/// When the story fails, after the logs of the bed were shown; and when something the bed needs is
/// missing while `CI` is set.
pub fn tell(setup: &Setup, story: impl FnOnce(&Bed) -> Result<()>) {
    if let Err(missing) = files::components() {
        assert!(env::var_os("CI").is_none(), "{missing:?}");
        eprintln!("skipped: {missing:?}");
        return;
    }
    let bed = setup.start().unwrap_or_else(|error| panic!("{error:#}"));
    // The panic comes while the bed is alive, so that dropping it shows the logs.
    story(&bed).unwrap_or_else(|error| {
        if env::var_os("HOLD").is_some() {
            hold(&bed, &error);
        }
        panic!("{error:#}")
    });
}

/// Leaves a bed as it is after a failure, for somebody to look at, until the test run is interrupted.
fn hold(bed: &Bed, error: &anyhow::Error) -> ! {
    // Past the capture of test output, which is shown only when a test has ended.
    let _ = writeln!(
        io::stderr(),
        "\n{error:#}\n\nHOLD: the bed stays until this run is interrupted. To go in, in another shell:\n  \
         nsenter -t $(pgrep -f cert-dir={folder}/certificates) --all env KUBECONFIG={folder}/kubeconfig bash\n\
         Logs: {folder}",
        folder = bed.folder().display()
    );
    loop {
        thread::park();
    }
}

// === impl Setup ===

impl Setup {
    /// Without kube-controller-manager: Deployments make no pods, deleted owners leave what they own.
    #[must_use]
    pub fn without_controllers(mut self) -> Self {
        self.controllers = false;
        self
    }

    /// With mutual TLS between all proxies: istiod with its CA, and Istio's agent in every pod.
    #[must_use]
    pub fn mtls(mut self) -> Self {
        self.mtls = true;
        self
    }

    /// Worker threads of every Envoy; one if nothing is said. The annotation `bed.graylane.io/workers` of
    /// a pod overrides it.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When a part cannot be started, ends, or is not ready in time.
    pub fn start(&self) -> Result<Bed> {
        let number = BEDS.fetch_add(1, Ordering::Relaxed) + 1;
        let folder = Folder::new(number)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let network = self.mesh.then(|| Network::new(number)).transpose()?;
        let host = network.as_ref().map_or(Ipv4Addr::new(127, 77, 0, number), Network::host);
        let (cluster, client) = {
            let _inside = runtime.enter();
            let flags: &[&str] = if self.mesh { &INJECTING } else { &[] };
            Cluster::start(&folder, host, self.controllers, flags)?
        };
        let mut bed = Bed { mesh: None, client, cluster, host, runtime, folder };
        if let Some(network) = network {
            bed.mesh = Some(self.start_mesh(&bed, network)?);
        }
        bed.folder.keep(false);
        Ok(bed)
    }

    fn start_mesh(&self, bed: &Bed, network: Network) -> Result<Mesh> {
        let (host, kubeconfig) = (bed.host, bed.kubeconfig());
        bed.apply(NODE_AND_POLICIES)?;
        bed.apply(&istio::objects(self.mtls)?)?;
        let istiod = istio::start(&bed.folder, host, kubeconfig, self.mtls)?;
        let registry = registry::start(&bed.folder, host)?;
        let trust =
            || Ok::<_, anyhow::Error>(Trust { kubeconfig: kubeconfig.into(), kubectl: files::program("kubectl")? });
        let mtls = self.mtls.then(trust).transpose()?;
        let yard = Yard {
            client: bed.client(),
            network,
            mesh: proxy::Mesh { host, envoy: paths::envoy(Release::Newest)?, workers: self.workers, mtls },
            folder: bed.folder.path("pods"),
            kubeconfig: kubeconfig.into(),
            ca: bed.cluster.certificates().join("apiserver.crt"),
            graylane: paths::graylane_dir()?.join("graylane"),
        };
        let _inside = bed.runtime.enter();
        Ok(Mesh { kubelet: Kubelet::start(yard), istiod, registry })
    }
}

/// The node of all pods, and what puts pods on it and proxies into them.
const NODE_AND_POLICIES: &str = include_str!("bed/yaml/mesh.yaml");

/// Policies that change objects are beta in Kubernetes 1.34, and off by default.
const INJECTING: [&str; 2] =
    ["--feature-gates=MutatingAdmissionPolicy=true", "--runtime-config=admissionregistration.k8s.io/v1beta1=true"];

// === impl Bed ===

impl Bed {
    /// A bed with etcd, the API server and the controller manager.
    #[must_use]
    pub fn cluster() -> Setup {
        Setup { controllers: true, mesh: false, mtls: false, workers: 1 }
    }

    /// The same with istiod, docker-registry and pods that run.
    #[must_use]
    pub fn mesh() -> Setup {
        Setup { mesh: true, ..Self::cluster() }
    }

    /// A client with all rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A kubeconfig with all rights.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.cluster.kubeconfig()
    }

    /// A kubeconfig with the rights of a service account, which must exist.
    ///
    /// # Errors
    /// When the API server gives no token for it.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", account, "-n", namespace, "--duration", "2h"])?.stdout;
        self.cluster.write_kubeconfig(&self.folder.path(&format!("{namespace}-{account}.kubeconfig")), token.trim())
    }

    /// Where logs and files of the bed are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.root()
    }

    /// Runs async work on the runtime of the bed.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The API server.
    #[must_use]
    pub fn api_server(&self) -> &Part {
        &self.cluster.api_server
    }

    /// etcd.
    #[must_use]
    pub fn etcd(&self) -> &Part {
        &self.cluster.etcd
    }

    /// The controller manager.
    ///
    /// # Errors
    /// When the bed has none.
    pub fn controllers(&self) -> Result<&Part> {
        self.cluster.controllers.as_ref().context("this bed has no controller manager")
    }

    /// Applies the objects of a YAML text, of any kind, by server-side apply with force as field manager
    /// `bed`. A kind whose CRD has just been applied is waited for.
    ///
    /// # Errors
    /// When the text cannot be read, or the API server refuses an object; earlier ones stay applied.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        self.block_on(apply::apply(&self.client, yaml))
    }
}

impl fmt::Debug for Bed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bed").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if thread::panicking() {
            self.folder.keep(true);
        }
    }
}
