//! graylane on the mesh of a bed: adopted namespaces, a controller, releases.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{Bed, Part};
use graylane_tests::{client, paths, poll};
use serde_json::Value;

/// Releases move within seconds; a machine that compiles something else makes them slower.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A release of the shop by two weights, with waits for a person between them.
pub const SUMMER: &str = "
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: summer, namespace: shop}
spec:
  lanes: [{name: canary}]
  members:
  - {service: orders, hosts: [shop.example.com]}
  - {service: stock}
  entry: {gateways: [{namespace: istio-ingress}]}
  rules: [{name: testers, lane: canary, when: {match: {field: {header: x-tester}, is: present}}}]
  stickiness: {unit: [{header: x-user-id}]}
  steps: [{weight: 5%}, {pause: {}}, {weight: 50%}, {pause: {}}, {weight: 100%}]
  promotion: {strategy: copyTemplate}
  capacity: {floor: 0}
";

/// A controller that runs.
pub struct Control<'a> {
    bed: &'a Bed,
    /// Ends with the value.
    _process: Part,
}

// === impl Control ===

impl<'a> Control<'a> {
    /// Adopts the namespaces of the shop and starts a controller with all rights.
    pub fn of_shop(bed: &'a Bed) -> Result<Self> {
        Self::of_shop_with(bed, &[])
    }

    /// The same with more on its command line.
    pub fn of_shop_with(bed: &'a Bed, more: &[&str]) -> Result<Self> {
        bed.shop()?;
        adopt(bed)?;
        until_wired(bed)?;
        Self::with(bed, "controller", &paths::filter()?.display().to_string(), more)
    }

    /// Starts a controller. `name` is its log's, and its name in the lease.
    pub fn start(bed: &'a Bed, name: &str) -> Result<Self> {
        Self::with_module(bed, name, &paths::filter()?.display().to_string())
    }

    /// The same with a module of its own.
    pub fn with_module(bed: &'a Bed, name: &str, module: &str) -> Result<Self> {
        Self::with(bed, name, module, &[])
    }

    fn with(bed: &'a Bed, name: &str, module: &str, more: &[&str]) -> Result<Self> {
        let anywhere = "127.0.0.1:0";
        let args = [
            ["--module", module],
            ["--metrics-address", anywhere],
            ["--health-address", anywhere],
            ["--lease-namespace", "default"],
            ["--identity", name],
            ["--log-format", "text"],
        ];
        let args = [&["controller"][..], &args.concat(), more].concat();
        Ok(Self { bed, _process: bed.graylane_as(name, bed.kubeconfig(), &args)? })
    }

    /// Applies the release `summer` and promotes it past its first pause.
    pub fn moves_to_half(&self) -> Result<()> {
        self.bed.apply(SUMMER)?;
        until_paused_at(self.bed, "canary=5%")?;
        self.ask("promote")?;
        until_paused_at(self.bed, "canary=50%").map(drop)
    }

    /// Asks the release `summer` for something, as a person does.
    pub fn ask(&self, verb: &str) -> Result<()> {
        self.bed.graylane(&[verb, "summer", "-n", "shop", "--no-wait"])?.done()?;
        Ok(())
    }
}

/// Brings graylane's kind to the API server and its filters to the proxies of the shop.
pub fn adopt(bed: &Bed) -> Result<()> {
    bed.apply(&bed.graylane(&["crd"])?.done()?)?;
    bed.graylane(&["install", "--yes", "-n", "istio-ingress", "--gateway"])?.done()?;
    bed.graylane(&["install", "--yes", "-n", "shop"])?.done()?;
    Ok(())
}

/// The proxies of the shop, by namespace and Deployment.
pub const PROXIES: [(&str, &str); 5] = [
    ("istio-ingress", "gateway"),
    ("shop", "orders"),
    ("shop", "orders-canary"),
    ("shop", "stock"),
    ("shop", "stock-canary"),
];

/// Waits until every proxy has the listeners that adoption gave it. They drain connections once, which is
/// no matter of a release.
fn until_wired(bed: &Bed) -> Result<()> {
    poll::until("the filters in every listener", PATIENCE, || {
        for (namespace, deployment) in PROXIES {
            for pod in bed.pods(namespace, deployment)? {
                let listeners = client::get(pod.admin().at, "/config_dump?resource=dynamic_listeners")?;
                ensure!(listeners.contains("graylane."), "{} lacks them", pod.name());
            }
        }
        Ok(())
    })
}

/// The release `summer` as the API server has it.
pub fn release(bed: &Bed, name: &str) -> Result<Value> {
    let said = bed.kubectl(&["get", "grayrelease", name, "-n", "shop", "-o", "json"])?;
    serde_json::from_str(&said.stdout).with_context(|| said.stderr)
}

/// Waits until the status of `summer` is as wanted.
pub fn until(bed: &Bed, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    poll::until(what, PATIENCE, || {
        let status = release(bed, "summer")?["status"].take();
        ensure!(holds(&status), "{}: {} ({})", status["phase"], status["message"], status["weight"]);
        Ok(status)
    })
}

/// Waits until `summer` waits for a person at this weight.
pub fn until_paused_at(bed: &Bed, weight: &str) -> Result<Value> {
    until(bed, &format!("a pause at {weight}"), |status| {
        status["phase"] == "Paused" && status["weight"].as_str().unwrap_or_default() == weight
    })
}

/// Waits until `summer` is in this phase.
pub fn until_phase(bed: &Bed, phase: &str) -> Result<Value> {
    until(bed, phase, |status| status["phase"] == phase)
}

/// What must not grow while weights move, of every one of these proxies: listeners that change or drain.
pub fn disturbances(bed: &Bed, proxies: &[(&str, &str)]) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for (namespace, deployment) in proxies {
        let pods = bed.pods(namespace, deployment)?;
        ensure!(!pods.is_empty(), "no pod of {namespace}/{deployment} runs");
        for pod in pods {
            for counter in [
                "listener_manager.listener_added",
                "listener_manager.listener_modified",
                "listener_manager.total_filter_chains_draining",
                "listener_manager.lds.update_rejected",
            ] {
                all.insert(format!("{} {counter}", pod.name()), pod.admin().counter(counter)?);
            }
        }
    }
    Ok(all)
}
