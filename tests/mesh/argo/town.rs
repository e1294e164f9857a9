//! The shop with `orders` as a Rollout, made as the documents tell: what `graylane render argo` prints is
//! applied, with the user's pod template in the Rollout.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use graylane_tests::bed::{Bed, Part};
use graylane_tests::{paths, poll, ports};
use serde_json::{Value, json};

use crate::control::{PATIENCE, adopt, until};

pub struct Town<'a> {
    bed: &'a Bed,
    strategy: Value,
    controller: Part,
    _argo: Part,
}

// === impl Town ===

impl<'a> Town<'a> {
    /// Builds it with one version, and applies a release.
    pub fn build(bed: &'a Bed, release: &str, version: &str) -> Result<Self> {
        bed.shop()?;
        let argo = bed.argo_rollouts()?;
        adopt(bed)?;
        let api = format!("127.0.0.1:{}", ports::free());
        let controller = controller(bed, &api)?;
        let url = format!("http://{api}/metrics/analysis");
        let_argo_ask(bed)?;
        bed.kubectl(&["-n", "shop", "delete", "deployment", "orders", "orders-canary"])?;
        let file = bed.folder().join("release.yaml");
        fs::write(&file, release)?;
        let file = file.display().to_string();
        let made = bed.graylane(&["render", "argo", "-f", &file, "--weights", "20,50", "--api", &url])?.done()?;
        let made: Vec<Value> = serde_saphyr::from_multiple(&made)?;
        let (rollouts, others): (Vec<Value>, Vec<Value>) = made.into_iter().partition(|one| one["kind"] == "Rollout");
        for object in others {
            bed.apply(&object.to_string())?;
        }
        let strategy = rollouts.into_iter().next().context("no strategy was printed")?;
        let town = Self { bed, strategy, controller, _argo: argo };
        town.give(version)?;
        town.until_healthy()?;
        bed.apply(release)?;
        until(bed, "a wait for a new version", |status| status["waiting"]["reason"] == "Rollout")?;
        Ok(town)
    }

    /// Gives the Rollout a version.
    pub fn give(&self, version: &str) -> Result<()> {
        let mut rollout = self.strategy.clone();
        rollout["spec"]["replicas"] = 2.into();
        rollout["spec"]["selector"] = json!({"matchLabels": {"app": "orders"}});
        let args =
            ["--name", version, "--listen", "127.0.0.1:8080", "--call", "127.0.0.1:9081", "--host", "stock:9081"];
        rollout["spec"]["template"] = json!({
            "metadata": {"labels": {"app": "orders", "graylane.io/enabled": "true"}},
            "spec": {"containers": [{"name": "app", "image": "graylane-app", "args": args,
                "readinessProbe": {"httpGet": {"path": "/ready?hops=0", "port": 8080}}}]},
        });
        self.bed.apply(&rollout.to_string())
    }

    /// Puts the printed strategy back.
    pub fn strategy(&self) -> Result<()> {
        let strategy = json!({"spec": self.strategy["spec"]});
        self.kubectl_patch(&strategy.to_string())
    }

    fn until_healthy(&self) -> Result<()> {
        poll::until("a healthy Rollout", PATIENCE, || {
            let rollout = self.rollout()?;
            ensure!(rollout["status"]["phase"] == "Healthy", "{}", rollout["status"]);
            let rule = self.get("destinationrule", "orders")?;
            let labels = &rule["spec"]["subsets"][0]["labels"]["rollouts-pod-template-hash"];
            ensure!(*labels == rollout["status"]["stableRS"], "{}", rule["spec"]);
            Ok(())
        })
    }

    pub fn rollout(&self) -> Result<Value> {
        self.get("rollout.argoproj.io", "orders")
    }

    pub fn generation(&self, kind: &str, name: &str) -> Result<Value> {
        Ok(self.get(kind, name)?["metadata"]["generation"].take())
    }

    /// The AnalysisRuns that Argo has made, oldest first.
    pub fn analysis_runs(&self) -> Result<Vec<Value>> {
        let what = ["get", "analysisruns", "-n", "shop", "--sort-by=.metadata.creationTimestamp", "-o", "json"];
        let mut list: Value = serde_json::from_str(&self.bed.kubectl(&what)?.stdout)?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let said = self.bed.kubectl(&["get", kind, name, "-n", "shop", "-o", "json"])?;
        serde_json::from_str(&said.stdout).with_context(|| said.stderr)
    }

    pub fn kubectl_patch(&self, patch: &str) -> Result<()> {
        let what = ["patch", "rollout.argoproj.io", "orders", "-n", "shop", "--type=merge", "-p", patch];
        self.bed.kubectl(&what).map(drop)
    }

    /// As `kubectl argo rollouts` writes.
    pub fn kubectl_patch_status(&self, patch: &str) -> Result<()> {
        let what = [
            "patch",
            "rollout.argoproj.io",
            "orders",
            "-n",
            "shop",
            "--subresource=status",
            "--type=merge",
            "-p",
            patch,
        ];
        self.bed.kubectl(&what).map(drop)
    }

    /// The log must not say that something was forbidden.
    pub fn was_never_forbidden(&self) -> Result<()> {
        match self.controller.log().lines().find(|line| line.to_lowercase().contains("forbidden")) {
            Some(line) => bail!("{line}"),
            None => Ok(()),
        }
    }
}

/// What a person does once, as `docs/argo.md` says: an account that may ask, and its token in a Secret.
fn let_argo_ask(bed: &Bed) -> Result<()> {
    let account = "--serviceaccount=shop:graylane-asker";
    bed.kubectl(&["-n", "shop", "create", "serviceaccount", "graylane-asker"])?;
    bed.kubectl(&["create", "clusterrolebinding", "graylane-asker", "--clusterrole=graylane-asker", account])?;
    let token = bed.kubectl(&["-n", "shop", "create", "token", "graylane-asker", "--audience=graylane"])?.stdout;
    let token = format!("--from-literal=token={}", token.trim());
    bed.kubectl(&["-n", "shop", "create", "secret", "generic", "graylane-token", &token]).map(drop)
}

/// A controller with the rights of the installation.
fn controller(bed: &Bed, api: &str) -> Result<Part> {
    let installed = fs::read_to_string(paths::root().join("istio/install/controller.yaml"))?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&installed)?;
    // Its Deployment is this process here.
    for object in objects.into_iter().filter(|object| object["kind"] != "Deployment" && !object.is_null()) {
        bed.apply(&object.to_string())?;
    }
    let (module, anywhere) = (paths::filter()?.display().to_string(), "127.0.0.1:0");
    let args = [
        ["--module", module.as_str()],
        ["--metrics-address", anywhere],
        ["--health-address", anywhere],
        ["--lease-namespace", "graylane-system"],
        ["--api-address", api],
        ["--identity", "controller"],
        ["--log-format", "text"],
    ];
    let args = [&["controller"][..], &args.concat()].concat();
    bed.graylane_as("controller", &bed.kubeconfig_of("graylane-system", "graylane")?, &args)
}

/// The weights that a release has had, in order.
pub fn weights_of(status: &Value) -> Vec<String> {
    let entries = status["history"].as_array().into_iter().flatten();
    let weights = entries.filter(|entry| entry["reason"] == "Weight");
    weights.filter_map(|entry| entry["message"].as_str().map(String::from)).collect()
}
