//! A town with controllers, and what the stories ask of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use graylane_tests::bed::{Bed, Part};
use graylane_tests::{poll, ports};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::town::Town;

/// Long enough for anything that has to happen at all on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// A new leader has done what was left within this, once it holds the lease.
pub const CONVERGED: Duration = Duration::from_secs(5);

/// A release with quick steps.
pub const SUMMER: &str = "
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: summer, namespace: shop}
spec:
  group: checkout
  lanes: [{name: canary}]
  members: [{service: orders}, {service: stock}]
  entry: {gateways: [{namespace: edge}]}
  steps: [{weight: 5%}, {pause: {duration: 1s}}, {weight: 50%}, {gate: {name: ask}}, {weight: 100%}]
";

/// A town and its controllers.
pub struct Stage<'a> {
    pub bed: &'a Bed,
    pub town: Town,
}

/// A controller that runs.
pub struct Instance {
    pub part: Part,
    pub name: String,
    metrics: String,
}

// === impl Stage ===

impl<'a> Stage<'a> {
    pub fn set(bed: &'a Bed) -> Result<Self> {
        Ok(Self { bed, town: Town::build(bed)? })
    }

    /// The kubeconfig of the installed service account: a controller has its rights and no others.
    pub fn account(&self) -> Result<PathBuf> {
        self.bed.kubeconfig_of("graylane-system", "graylane")
    }

    /// Starts a controller with the rights of its account.
    pub fn controller(&self, name: &str) -> Result<Instance> {
        self.controller_by(name, &self.account()?)
    }

    /// The same with further arguments.
    pub fn controller_with(&self, name: &str, more: &[&str]) -> Result<Instance> {
        self.start(name, &self.account()?, more)
    }

    /// Starts a controller that reaches the API server by a kubeconfig.
    pub fn controller_by(&self, name: &str, kubeconfig: &Path) -> Result<Instance> {
        self.start(name, kubeconfig, &[])
    }

    fn start(&self, name: &str, kubeconfig: &Path, more: &[&str]) -> Result<Instance> {
        let address = format!("127.0.0.1:{}", ports::free());
        let args = [
            "controller",
            "--identity",
            name,
            "--lease-namespace",
            "graylane-system",
            "--module",
            "file:///filter.wasm",
            "--metrics-address",
            &address,
            "--health-address",
            &address,
        ];
        let log = if more.contains(&"--log") { [].as_slice() } else { &["--log", "info,kube_lease_manager=debug"] };
        let part = self.bed.graylane_as(name, kubeconfig, &[&args, log, more].concat())?;
        Ok(Instance { part, name: name.into(), metrics: address })
    }

    pub fn release(&self, name: &str) -> Result<DynamicObject> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.bed.client(), "shop", &graylane::cluster::gray_release());
        Ok(self.bed.block_on(api.get(name))?)
    }

    /// Waits until the status of a release fulfils a condition.
    pub fn until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        poll::until(&format!("{name}: {what}"), SOON, || {
            let release = self.release(name)?;
            let status = release.data.get("status").cloned().unwrap_or_default();
            ensure!(holds(&status), "its status is {status:#}");
            Ok(status)
        })
    }

    pub fn until_phase(&self, name: &str, phase: &str) -> Result<Value> {
        self.until(name, phase, |status| status["phase"] == phase)
    }

    /// Waits until the release stands at its gate, the last thing before everything moves.
    pub fn until_gate(&self, name: &str) -> Result<Value> {
        self.until(name, "at its gate", |status| status["step"] == 3 && status["pause"]["reason"] == "Gate")
    }

    /// Asks something of a release, as the command line does.
    pub fn ask(&self, name: &str, id: &str, verb: &str) -> Result<()> {
        let request = format!(r#"graylane.io/request={{"id": "{id}", "verb": "{verb}"}}"#);
        self.bed.kubectl(&["annotate", "--overwrite", "grayrelease", name, "--namespace=shop", &request])?;
        Ok(())
    }

    /// The config objects of a namespace, by name.
    pub fn config(&self, namespace: &str, name: &str) -> Result<DynamicObject> {
        let kind = graylane::istio::config::Emitter::EnvoyFilter.kind();
        let api: Api<DynamicObject> = Api::namespaced_with(self.bed.client(), namespace, &kind);
        Ok(self.bed.block_on(api.get(name))?)
    }

    /// Who holds the lease.
    pub fn leader(&self) -> Result<String> {
        let path = "jsonpath={.spec.holderIdentity}";
        Ok(self.bed.kubectl(&["get", "lease", "graylane", "--namespace=graylane-system", "-o", path])?.stdout)
    }

    /// How long ago the one who holds the lease took it.
    pub fn since_taken(&self) -> Result<Duration> {
        let path = "jsonpath={.spec.acquireTime}";
        let taken = self.bed.kubectl(&["get", "lease", "graylane", "--namespace=graylane-system", "-o", path])?.stdout;
        let taken: SystemTime = taken.parse::<Timestamp>().with_context(|| format!("taken at {taken:?}"))?.into();
        Ok(SystemTime::now().duration_since(taken)?)
    }

    /// Waits until one of these leads, and says which.
    pub fn until_led_by<'i>(&self, instances: &[&'i Instance]) -> Result<&'i Instance> {
        poll::until("a leader", SOON, || {
            let leader = self.leader()?;
            let found = instances.iter().find(|instance| instance.name == leader);
            let instance = found.copied().with_context(|| format!("the lease is held by `{leader}`"))?;
            ensure!(instance.number("graylane_controller_leader")? >= 1.0, "it does not know yet");
            Ok(instance)
        })
    }
}

// === impl Instance ===

impl Instance {
    pub fn page(&self, path: &str) -> Result<(u16, String)> {
        let mut command = std::process::Command::new("curl");
        let url = format!("http://{}{path}", self.metrics);
        let output = command.args(["-sS", "--max-time", "5", "-w", "\n%{http_code}", &url]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (page, code) = text.rsplit_once('\n').context("no code")?;
        Ok((code.trim().parse()?, page.to_owned()))
    }

    /// The sum of all series whose text begins like this.
    pub fn number(&self, beginning: &str) -> Result<f64> {
        let (code, page) = self.page("/metrics")?;
        ensure!(code == 200, "{code}: {page}");
        let lines = page.lines().filter(|line| line.starts_with(beginning));
        Ok(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    /// The whole lines of the log, each of which has to be a JSON object.
    pub fn log_lines(&self) -> Result<Vec<Value>> {
        let log = self.part.log();
        // The last line may be just being written.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read = |line: &str| {
            let read = serde_json::from_str(line).ok().filter(Value::is_object);
            read.with_context(|| format!("a line of the log is no JSON object: {line}"))
        };
        whole.lines().map(read).collect()
    }

    /// The log must not say that something was forbidden.
    pub fn was_never_forbidden(&self) -> Result<()> {
        let log = self.part.log();
        match log.lines().find(|line| line.contains("forbidden") || line.contains("Forbidden")) {
            Some(line) => bail!("{line}"),
            None => Ok(()),
        }
    }
}

/// How long something takes.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    Ok((work()?, start.elapsed()))
}
