//! istiod, with Istio's CRDs.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::files::{self, Folder};
use super::part::{Part, Recipe};
use crate::client;

/// Where proxies connect in plain text.
pub(super) const XDS: u16 = 15010;
/// Where they connect with certificates, when the bed has mTLS.
pub(super) const SECURE_XDS: u16 = 15012;
const MONITORING: u16 = 15014;
/// Health and debug pages.
pub(super) const HTTP: u16 = 8080;

/// What every mesh of the bed has: the namespace of istiod, and who may be injected.
const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}";

/// Without certificates there is no mTLS; its filter chains would wait for them for ever.
const PLAIN_TEXT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
";

/// The objects that have to be there before istiod starts.
pub(super) fn objects(mtls: bool) -> Result<String> {
    let crds = files::components()?.join("istio/crds.yaml");
    let crds = fs::read_to_string(&crds).with_context(|| format!("read {}", crds.display()))?;
    Ok([NAMESPACE, &crds, if mtls { "" } else { PLAIN_TEXT }].join("\n---\n"))
}

/// Starts istiod on this address.
pub(super) fn start(folder: &Folder, host: Ipv4Addr, kubeconfig: &Path, mtls: bool) -> Result<Part> {
    let mesh = folder.write("mesh.yaml", &mesh_config(host, mtls))?;
    let recipe = Recipe::new(files::program("pilot-discovery")?, folder.root(), folder.path("istiod.log"))
        .args(["discovery", "--log_output_level=default:warn"])
        .args(["--kubeconfig".into(), kubeconfig.as_os_str().to_owned()])
        .args(["--meshConfig".into(), mesh.into_os_string()])
        .args([format!("--grpcAddr={host}:{XDS}"), format!("--httpAddr={host}:{HTTP}")])
        .args([format!("--monitoringAddr={host}:{MONITORING}"), "--httpsAddr=".into(), "--ctrlz_port=0".into()])
        .env("PILOT_ENABLE_METADATA_EXCHANGE", "false")
        .env("PILOT_ENABLE_ALPN_FILTER", "false")
        .env("PILOT_ENVOY_FILTER_STATS", "true")
        .env("INJECT_ENABLED", "false")
        .env("VALIDATION_WEBHOOK_CONFIG_NAME", "")
        .env("INJECTION_WEBHOOK_CONFIG_NAME", "");
    let recipe = if mtls { with_own_ca(recipe, host) } else { without_certificates(recipe) };
    Part::start_new("istiod", recipe, move || {
        let answer = client::get((host, HTTP), "/ready")?;
        ensure!(client::get((host, MONITORING), "/version").is_ok(), "{answer}");
        Ok(())
    })
}

fn mesh_config(host: Ipv4Addr, mtls: bool) -> String {
    if mtls {
        return format!("{{defaultConfig: {{discoveryAddress: '{host}:{SECURE_XDS}'}}}}\n");
    }
    "{enableAutoMtls: false}\n".to_owned()
}

fn without_certificates(recipe: Recipe) -> Recipe {
    recipe.args(["--secureGRPCAddr="]).env("ENABLE_CA_SERVER", "false").env("PILOT_CERT_PROVIDER", "none")
}

fn with_own_ca(recipe: Recipe, host: Ipv4Addr) -> Recipe {
    recipe
        .args([format!("--secureGRPCAddr={host}:{SECURE_XDS}")])
        .env("POD_NAMESPACE", "istio-system")
        .env("PILOT_CERT_PROVIDER", "istiod")
        .env("ISTIOD_CUSTOM_HOST", format!("{host},localhost"))
}
