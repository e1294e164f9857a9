//! Istio's agent, which runs an Envoy, pulls its Wasm modules and gets its certificates.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use graylane_policy::metric::LABELS;
use serde_json::json;

use super::envoy::{cluster, route};
use super::{APP_HEALTH, Identity, Mesh, Trust};
use crate::bed::files;
use crate::bed::istio::{SECURE_XDS, XDS};
use crate::bed::kubelet::{ADMIN, APP};
use crate::bed::part::Recipe;
use crate::bed::registry;

/// Where the agent keeps modules. Each pod has one of its own.
const CACHE: &str = "/var/lib/istio/data";

pub(super) fn recipe(mesh: &Mesh, identity: &Identity, recipe: Recipe, folder: &Path) -> Result<Recipe> {
    let agent = files::program("pilot-agent")?;
    let recipe = recipe
        .args(["unshare", "--mount", "sh", "-c", &format!("mount -t tmpfs tmpfs {CACHE} && exec \"$@\""), "sh"])
        .args([agent.as_os_str()])
        .args(["proxy", identity.kind(), "--domain", &identity.domain()])
        .args(["--proxyComponentLogLevel=wasm:info,misc:error", "--log_output_level=default:warn,wasm:info"])
        .env("PROXY_CONFIG", config(mesh, identity, folder)?.to_string())
        .env("INSTANCE_IP", identity.ip.to_string())
        .env("POD_NAME", identity.name())
        .env("POD_NAMESPACE", identity.namespace())
        .env("SERVICE_ACCOUNT", identity.service_account())
        .env("TRUST_DOMAIN", "cluster.local")
        .env("JWT_POLICY", "third-party-jwt")
        .env("ISTIO_META_CLUSTER_ID", "Kubernetes")
        .env("ISTIO_META_INTERCEPTION_MODE", "NONE")
        .env("ISTIO_META_WORKLOAD_NAME", identity.workload())
        .env("ISTIO_METAJSON_LABELS", json!(identity.labels()).to_string())
        .env("WASM_INSECURE_REGISTRIES", format!("{}:{}", mesh.host, registry::PORT));
    match &mesh.mtls {
        None => Ok(recipe
            .env("FILE_MOUNTED_CERTS", "true")
            .env("PILOT_CERT_PROVIDER", "system")
            .env("CA_ADDR", format!("{}:{XDS}", mesh.host))),
        Some(trust) => {
            show_papers(trust, identity, folder)?;
            Ok(recipe.env("PILOT_CERT_PROVIDER", "istiod").env("CA_ADDR", format!("{}:{SECURE_XDS}", mesh.host)))
        }
    }
}

fn config(mesh: &Mesh, identity: &Identity, folder: &Path) -> Result<serde_json::Value> {
    let port = if mesh.mtls.is_some() { SECURE_XDS } else { XDS };
    let mut config = json!({
        "discoveryAddress": format!("{}:{port}", mesh.host),
        "binaryPath": mesh.envoy,
        "configPath": folder.join("agent"),
        "proxyBootstrapTemplatePath": template(folder)?,
        "proxyAdminPort": ADMIN,
        "concurrency": identity.workers,
        "extraStatTags": LABELS,
        "terminationDrainDuration": "1s",
    });
    if mesh.mtls.is_none() {
        config["controlPlaneAuthPolicy"] = json!("NONE");
    }
    Ok(config)
}

/// Istio's own template, with an admin listener that the tests reach, and with a path to the app, whose
/// readiness Istio's agent would ask for on a port of its own.
fn template(folder: &Path) -> Result<PathBuf> {
    const ADMIN_AT: &str = "\"address\": \"{{ .localhost }}\",\n        \"port_value\": {{ .config.ProxyAdminPort }}";
    const CLUSTERS: &str = "\"static_resources\": {\n    \"clusters\": [";
    const READY: &str =
        "{\n                            \"match\": {\n                              \"prefix\": \"/healthz/ready\"";
    let source = files::components()?.join("istio/envoy_bootstrap.json");
    let mut text = fs::read_to_string(&source).with_context(|| format!("read {}", source.display()))?;
    let app = cluster("bed-app", Ipv4Addr::LOCALHOST, APP);
    let route = route(&(APP_HEALTH, "bed-app", ""));
    let edits = [
        (ADMIN_AT, ADMIN_AT.replace(".localhost", ".wildcard")),
        (CLUSTERS, format!("{CLUSTERS}{app},")),
        (READY, format!("{route},{READY}")),
    ];
    for (there, instead) in edits {
        ensure!(text.contains(there), "{} looks different where this was: {there}", source.display());
        text = text.replacen(there, &instead, 1);
    }
    let path = folder.join("envoy_bootstrap.json");
    fs::write(&path, text)?;
    Ok(path)
}

/// What the kubelet projects into a pod: a token for istiod, and the certificate of its CA.
fn show_papers(trust: &Trust, identity: &Identity, folder: &Path) -> Result<()> {
    let secrets = folder.join("var/run/secrets");
    let namespace = identity.namespace();
    let account = identity.service_account();
    let token = trust.kubectl(&["create", "token", &account, "-n", &namespace, "--audience", "istio-ca"])?;
    let path = "jsonpath={.data.root-cert\\.pem}";
    let root = trust.kubectl(&["get", "configmap", "istio-ca-root-cert", "-n", &namespace, "-o", path])?;
    for (file, text) in [("tokens/istio-token", token.trim()), ("istio/root-cert.pem", &root)] {
        let file = secrets.join(file);
        fs::create_dir_all(file.parent().context("no folder")?)?;
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

// === impl Trust ===

impl Trust {
    fn kubectl(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(&self.kubectl).args(args).env("KUBECONFIG", &self.kubeconfig).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {said}", args.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
