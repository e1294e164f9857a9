//! graylane as it is shipped: `istio/install/graylane.yaml` and the ConfigMap that its page tells of, with the rights
//! that are in it and no others.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed, Running};
use graylane_tests::client::Ask;
use graylane_tests::{client, paths, poll};
use serde_json::Value;

use crate::asking::{CANARY, STABLE, takes};
use crate::control::{PATIENCE, SUMMER, adopt, until_paused_at, until_phase};
use crate::releases::everybody_is_on;
use crate::traffic::HOST;

const NAMESPACE: &str = "graylane-system";
/// Who it is.
const ACCOUNT: &str = "system:serviceaccount:graylane-system:graylane";

#[test]
fn smoke_the_shipped_installation_moves_a_release_led_by_one_of_its_two_pods() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        install(bed, &paths::filter()?.display().to_string())?;
        adopt(bed)?;
        bed.wait_for_deployments(NAMESPACE)?;
        let leader = until_led(bed, None)?;
        answers_at_its_ports(bed, &leader)?;
        bed.apply(SUMMER)?;
        until_paused_at(bed, "canary=5%")?;
        let tester = Ask::get(HOST, "/").header("x-tester", "1");
        poll::until("the tester's lane", PATIENCE, || takes(bed, &tester, CANARY))?;
        // Its pod goes, as in a node that is drained; the other one leads on.
        bed.kubectl(&["-n", NAMESPACE, "delete", "pod", &leader.name(), "--wait=false"])?;
        until_led(bed, Some(&leader.name()))?;
        bed.graylane(&["abort", "summer", "-n", "shop", "--no-wait"])?.done()?;
        until_phase(bed, "RolledBack")?;
        everybody_is_on(bed, STABLE)?;
        was_never_forbidden(bed)
    });
}

/// Does what the page of the installation says; the image is what the pods of the bed run under this name.
pub fn install(bed: &Bed, module: &str) -> Result<()> {
    let file = paths::root().join("istio/install/graylane.yaml");
    bed.kubectl(&["apply", "--server-side", "-f", file.to_str().context("the path is text")?])?;
    let module = format!("--from-literal=module={module}");
    bed.kubectl(&["-n", NAMESPACE, "create", "configmap", "graylane", &module])?;
    Ok(())
}

/// The API server has refused it nothing, and written something for it.
pub fn was_never_forbidden(bed: &Bed) -> Result<()> {
    let writes = bed.writes()?;
    let ours: Vec<_> = writes.iter().filter(|write| write.user == ACCOUNT).collect();
    let forbidden: Vec<_> = ours.iter().filter(|write| write.code == 403).collect();
    ensure!(forbidden.is_empty(), "{forbidden:#?}");
    ensure!(ours.iter().any(|write| write.code == 200), "{ACCOUNT} wrote nothing: {writes:#?}");
    for pod in bed.pods(NAMESPACE, "graylane")? {
        let log = pod.app()?.log();
        ensure!(!log.to_lowercase().contains("forbidden"), "{log}");
    }
    Ok(())
}

/// Waits until one of its two pods, but not this one, holds the lease and is alone behind the Service of the API.
fn until_led(bed: &Bed, but: Option<&str>) -> Result<Arc<Running>> {
    poll::until("a leader", PATIENCE, || {
        let pods = bed.pods(NAMESPACE, "graylane")?;
        let path = "jsonpath={.spec.holderIdentity}";
        let holder = bed.kubectl(&["-n", NAMESPACE, "get", "lease", "graylane", "-o", path])?.stdout;
        ensure!(but != Some(holder.as_str()), "it is still {holder}");
        let leader = pods.iter().find(|pod| pod.name() == holder);
        let leader = leader.with_context(|| format!("the lease is held by {holder:?}"))?;
        let which = "kubernetes.io/service-name=graylane-api";
        let path = "jsonpath={.items[*].endpoints[*].addresses[0]}";
        let found = bed.kubectl(&["-n", NAMESPACE, "get", "endpointslices", "-l", which, "-o", path])?.stdout;
        ensure!(found == leader.place.ip.to_string(), "the Service of the API leads to {found:?}");
        ensure!(pods.len() == 2, "{} pods", pods.len());
        Ok(leader.clone())
    })
}

/// What its Deployment names is there: both probes, metrics, and an API that wants to know who asks.
fn answers_at_its_ports(bed: &Bed, leader: &Running) -> Result<()> {
    let path = "jsonpath={.spec.template.spec.containers[0]}";
    let container = bed.kubectl(&["-n", NAMESPACE, "get", "deployment", "graylane", "-o", path])?.stdout;
    let container: Value = serde_json::from_str(&container)?;
    let port = |name: &Value| {
        let ports = container["ports"].as_array()?;
        u16::try_from(ports.iter().find(|port| port["name"] == *name)?["containerPort"].as_u64()?).ok()
    };
    let at = |name: &Value| {
        let port = port(name).with_context(|| format!("no port {name}"))?;
        Ok::<_, anyhow::Error>(SocketAddr::from((leader.place.ip, port)))
    };
    for probe in ["livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        client::get(at(&get["port"])?, get["path"].as_str().context("a path")?).context(probe)?;
    }
    let metrics = client::get(at(&"metrics".into())?, "/metrics")?;
    ensure!(metrics.contains("graylane_controller_leader 1"), "{metrics}");
    let asked = client::once(at(&"api".into())?, &Ask::get("api", "/metrics/analysis").method("POST"))?;
    ensure!(asked.status == 401, "{} {}", asked.status, asked.text());
    Ok(())
}
