//! etcd, kube-apiserver and kube-controller-manager.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::files::{self, Folder};
use super::part::{Part, Recipe};
use super::writes;
use crate::client;
use anyhow::{Context, Result, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::runtime::Handle;

const ETCD: u16 = 2379;
pub(super) const API_SERVER: u16 = 6443;

/// Of the user with all rights; nobody but the bed can reach the API server.
const TOKEN: &str = "bed-admin";

/// What the API server and the controller manager read: keys, tokens, kubeconfig.
#[derive(Debug)]
pub(super) struct Cluster {
    // Dropped in this order: the clients before their servers.
    pub(super) controllers: Option<Part>,
    pub(super) api_server: Part,
    pub(super) etcd: Part,
    kubeconfig: PathBuf,
    host: Ipv4Addr,
    certificates: PathBuf,
}

// === impl Cluster ===

impl Cluster {
    /// Starts it on this address of the bed; to be called within a runtime.
    pub(super) fn start(folder: &Folder, host: Ipv4Addr, controllers: bool, more: &[&str]) -> Result<(Self, Client)> {
        let etcd = etcd(folder, host)?;
        let keys = Keys::write(folder)?;
        let certificates = folder.path("certificates");
        let api_server = api_server(folder, host, &keys, &certificates, more)?;
        let kubeconfig = folder.path("kubeconfig");
        let mut cluster = Self { controllers: None, api_server, etcd, kubeconfig, host, certificates };
        cluster.write_kubeconfig(&cluster.kubeconfig, TOKEN)?;
        let client = client_of(&cluster.kubeconfig)?;
        if controllers {
            cluster.controllers = Some(controller_manager(folder, host, &keys, &cluster.kubeconfig)?);
        }
        Ok((cluster, client))
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The folder with certificate and key of the API server.
    pub(super) fn certificates(&self) -> &Path {
        &self.certificates
    }

    /// Writes a kubeconfig for the bearer of a token.
    pub(super) fn write_kubeconfig(&self, path: &Path, token: &str) -> Result<PathBuf> {
        let (host, ca) = (self.host, self.certificates.join("apiserver.crt"));
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bed",
            "clusters": [{"name": "bed", "cluster": {
                "server": format!("https://{host}:{API_SERVER}"), "certificate-authority": ca,
            }}],
            "users": [{"name": "bed", "user": {"token": token}}],
            "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "bed"}}],
        });
        fs::write(path, text.to_string()).with_context(|| format!("write {}", path.display()))?;
        Ok(path.to_owned())
    }
}

struct Keys {
    service_accounts: PathBuf,
    tokens: PathBuf,
}

// === impl Keys ===

impl Keys {
    fn write(folder: &Folder) -> Result<Self> {
        let service_accounts = folder.path("service-accounts.key");
        let output = Command::new("openssl").args(["genrsa", "-out"]).arg(&service_accounts).arg("2048").output();
        let output = output.context("run openssl")?;
        ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        let tokens = folder.write("tokens.csv", &format!("{TOKEN},bed-admin,bed-admin,\"system:masters\"\n"))?;
        Ok(Self { service_accounts, tokens })
    }
}

fn etcd(folder: &Folder, host: Ipv4Addr) -> Result<Part> {
    let (clients, peers) = (format!("http://{host}:{ETCD}"), format!("http://{host}:{}", ETCD + 1));
    let recipe = Recipe::new(files::program("etcd")?, folder.root(), folder.path("etcd.log"))
        .args(["--name", "bed", "--logger", "zap"])
        .args(["--data-dir".into(), folder.data("etcd").into_os_string()])
        .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &format!("bed={peers}")]);
    Part::start_new("etcd", recipe, move || {
        let health = client::get((host, ETCD), "/health")?;
        ensure!(health.contains("true"), "{health}");
        Ok(())
    })
}

fn api_server(folder: &Folder, host: Ipv4Addr, keys: &Keys, certificates: &Path, more: &[&str]) -> Result<Part> {
    let flag = |name: &str, value: &Path| format!("--{name}={}", value.display());
    let policy = folder.write("audit-policy.yaml", writes::POLICY)?;
    let recipe = Recipe::new(files::program("kube-apiserver")?, folder.root(), folder.path("kube-apiserver.log"))
        .args([flag("audit-policy-file", &policy), flag("audit-log-path", &folder.path(writes::LOG))])
        .args([format!("--etcd-servers=http://{host}:{ETCD}")])
        .args([flag("cert-dir", certificates)])
        .args([format!("--bind-address={host}"), format!("--secure-port={API_SERVER}")])
        // Where pods would reach it; it may be no loopback address.
        .args(["--advertise-address=10.96.255.254", "--endpoint-reconciler-type=none"])
        .args([flag("service-account-key-file", &keys.service_accounts)])
        .args([flag("service-account-signing-key-file", &keys.service_accounts)])
        .args(["--service-account-issuer=https://kubernetes.default.svc"])
        // Istio's agent asks for tokens for the second one.
        .args(["--api-audiences=https://kubernetes.default.svc,istio-ca"])
        .args([flag("token-auth-file", &keys.tokens)])
        .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16"])
        // Pods need no service account, and no token of one.
        .args(["--disable-admission-plugins=ServiceAccount"])
        .args(more.iter().copied());
    let certificate = certificates.join("apiserver.crt");
    Part::start_new("kube-apiserver", recipe, move || healthy(host, API_SERVER, "/readyz", &certificate))
}

/// Deployments, endpoints, and what becomes of objects whose owner goes; no nodes, volumes or certificates.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,\
    endpointslice-controller,garbage-collector-controller,namespace-controller,serviceaccount-controller,\
    disruption-controller,clusterrole-aggregation-controller";

fn controller_manager(folder: &Folder, host: Ipv4Addr, keys: &Keys, kubeconfig: &Path) -> Result<Part> {
    const PORT: u16 = 10257;
    let certificates = folder.path("controller-certificates");
    let flag = |name: &str, value: &Path| format!("--{name}={}", value.display());
    let log = folder.path("kube-controller-manager.log");
    let recipe = Recipe::new(files::program("kube-controller-manager")?, folder.root(), log)
        .args([flag("kubeconfig", kubeconfig), flag("cert-dir", &certificates)])
        .args([flag("service-account-private-key-file", &keys.service_accounts)])
        .args([format!("--bind-address={host}"), format!("--secure-port={PORT}")])
        .args(["--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400"])
        .args([format!("--controllers={}", CONTROLLERS.replace(' ', ""))]);
    let certificate = certificates.join("kube-controller-manager.crt");
    Part::start_new("kube-controller-manager", recipe, move || healthy(host, PORT, "/healthz", &certificate))
}

fn client_of(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let config = Handle::current().block_on(Config::from_custom_kubeconfig(kubeconfig, &options))?;
    Ok(Client::try_from(config)?)
}

/// Both servers answer everybody who asks for their health.
fn healthy(host: Ipv4Addr, port: u16, path: &str, certificate: &Path) -> Result<()> {
    let output = Command::new("curl")
        .args(["-sS", "--fail-with-body", "--max-time", "5", "--cacert"])
        .arg(certificate)
        .arg(format!("https://{host}:{port}{path}"))
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
