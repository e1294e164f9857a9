//! What Kubernetes puts into a container so that its program finds the API server: address, token, CA.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::Yard;
use crate::bed::cluster::API_SERVER;
use crate::bed::files;
use crate::bed::part::Recipe;

/// Where clients look, seen through `/var/run`.
const THERE: &str = "/run/secrets/kubernetes.io/serviceaccount";

/// Mounts the folder with the papers and becomes the program; nobody else sees the mount.
const MOUNT: &str = "mkdir -p $0 && mount --bind serviceaccount $0 && exec \"$@\"";

/// A program that runs with the service account of its pod.
pub(super) fn recipe(yard: &Yard, pod: &Pod, recipe: Recipe, folder: &Path) -> Result<Recipe> {
    let papers = folder.join("serviceaccount");
    fs::create_dir_all(&papers)?;
    let namespace = pod.namespace().unwrap_or_default();
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    fs::write(papers.join("namespace"), &namespace)?;
    fs::write(papers.join("token"), token(yard, &namespace, account)?)?;
    fs::copy(&yard.ca, papers.join("ca.crt")).with_context(|| format!("copy {}", yard.ca.display()))?;
    Ok(recipe
        .args(["unshare", "--mount", "sh", "-c", MOUNT, THERE])
        .env("KUBERNETES_SERVICE_HOST", yard.mesh.host.to_string())
        .env("KUBERNETES_SERVICE_PORT", API_SERVER.to_string()))
}

fn token(yard: &Yard, namespace: &str, account: &str) -> Result<String> {
    kubectl(yard, &["create", "token", account, "-n", namespace, "--duration", "2h"])
}

/// Runs kubectl with all rights, as a kubelet asks the API server.
pub(super) fn kubectl(yard: &Yard, args: &[&str]) -> Result<String> {
    let output = Command::new(files::program("kubectl")?).args(args).env("KUBECONFIG", &yard.kubeconfig).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {}: {said}", args.join(" "));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
