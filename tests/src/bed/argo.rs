//! Argo Rollouts: its controller, with its CRDs.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Bed;
use super::files::{self, Folder};
use super::part::{Part, Recipe};
use crate::{client, ports};

/// Where it looks for its own settings.
const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: argo-rollouts}}";

fn start(folder: &Folder, kubeconfig: &Path) -> Result<Part> {
    let (health, metrics) = (ports::free(), ports::free());
    let recipe = Recipe::new(files::program("rollouts-controller")?, folder.root(), folder.path("argo-rollouts.log"))
        .args(["--kubeconfig".into(), kubeconfig.as_os_str().to_owned()])
        .args(["--leader-elect=false", "--loglevel=info"])
        .args([format!("--healthzPort={health}"), format!("--metricsPort={metrics}")])
        .env("POD_NAMESPACE", "argo-rollouts");
    Part::start_new("argo-rollouts", recipe, move || {
        let answer = client::get((Ipv4Addr::LOCALHOST, health), "/healthz")?;
        ensure!(answer.contains("ok"), "{answer}");
        Ok(())
    })
}

// === impl Bed ===

impl Bed {
    /// Installs Argo Rollouts and starts its controller, with all rights. It ends with the value.
    ///
    /// # Errors
    /// When it has not been built, or is not ready in time.
    pub fn argo_rollouts(&self) -> Result<Part> {
        let crds = files::components()?.join("argo/crds.yaml");
        let crds = fs::read_to_string(&crds).with_context(|| format!("read {}", crds.display()))?;
        self.apply(&[NAMESPACE, &crds].join("\n---\n"))?;
        start(&self.folder, self.kubeconfig())
    }
}
