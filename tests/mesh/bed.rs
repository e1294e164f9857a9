//! What tests of the mesh rely on: pods live and die as on a cluster, and proxies know each other.

use std::time::Duration;

use anyhow::{Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::client::{self, Ask};
use graylane_tests::poll::{self, PATIENCE};

use crate::asking::{STABLE, anybody, takes};

#[test]
fn smoke_a_crashed_app_is_started_again_and_a_frozen_one_gets_no_requests() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        bed.kubectl(&["-n", "shop", "scale", "deployment", "stock", "--replicas=2"])?;
        bed.wait_for_deployments("shop")?;
        let pods = bed.pods("shop", "stock")?;
        ensure!(pods.len() == 2, "{} pods of stock", pods.len());
        let name = pods[0].name();
        pods[0].app()?.kill()?;
        let restarts = |bed: &Bed| {
            let path = "jsonpath={.status.containerStatuses[?(@.name==\"app\")].restartCount}";
            Ok::<_, anyhow::Error>(bed.kubectl(&["-n", "shop", "get", "pod", &name, "-o", path])?.stdout)
        };
        poll::until("the restart", PATIENCE, || {
            let restarts = restarts(bed)?;
            ensure!(restarts == "1", "{restarts:?} restarts");
            Ok(())
        })?;
        pods[0].app()?.freeze()?;
        poll::until("the frozen pod to leave the endpoints", PATIENCE, || has_ready_endpoints(bed, "stock", 2))?;
        // istiod tells the proxies a moment after the endpoints have changed.
        poll::until("ten answers in a row", PATIENCE, || (0..10).try_for_each(|_| takes(bed, &anybody(), STABLE)))?;
        pods[0].app()?.thaw()?;
        poll::until("its return", PATIENCE, || has_ready_endpoints(bed, "stock", 3))
    });
}

#[test]
fn smoke_a_pod_that_is_cut_off_answers_nobody_until_it_is_mended() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        poll::until("the shop", PATIENCE, || takes(bed, &anybody(), STABLE))?;
        let stock = bed.pod("shop", "stock")?;
        stock.place.cut()?;
        ensure!(stock.stats().is_err(), "a pod that is cut off answered");
        stock.place.mend()?;
        poll::until("the pod", PATIENCE, || stock.stats().map(drop))?;
        poll::until("the shop again", PATIENCE, || takes(bed, &anybody(), STABLE))
    });
}

#[test]
fn a_deployment_rolls_out_and_a_deleted_pod_is_replaced() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        let before = bed.pod("shop", "orders")?.name();
        bed.kubectl(&["-n", "shop", "patch", "deployment", "orders", "--patch", RENAMED])?;
        bed.wait_for_deployments("shop")?;
        poll::until("the new version", PATIENCE, || takes(bed, &anybody(), ["orders-new", "stock-stable"]))?;
        let rolled = bed.pod("shop", "orders")?.name();
        ensure!(rolled != before, "the pod is still {before}");
        bed.kubectl(&["-n", "shop", "delete", "pod", &rolled, "--wait=false"])?;
        poll::until("another pod", PATIENCE, || {
            let now = bed.pod("shop", "orders")?.name();
            ensure!(now != rolled, "the pod is still {rolled}");
            Ok(())
        })?;
        bed.wait_for_deployments("shop")?;
        poll::until("its answer", PATIENCE, || takes(bed, &anybody(), ["orders-new", "stock-stable"]))
    });
}

#[test]
fn traffic_goes_on_while_the_api_server_and_istiod_are_away() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        poll::until("the shop", PATIENCE, || takes(bed, &anybody(), STABLE))?;
        bed.istiod()?.stop()?;
        bed.api_server().stop()?;
        takes(bed, &anybody(), STABLE)?;
        bed.api_server().start()?;
        bed.istiod()?.start()?;
        bed.kubectl(&["-n", "shop", "scale", "deployment", "stock", "--replicas=2"])?;
        bed.wait_for_deployments("shop")?;
        takes(bed, &anybody(), STABLE)
    });
}

#[test]
fn with_mtls_proxies_take_requests_of_each_other_and_of_nobody_else() {
    bed::tell(&Bed::mesh().mtls(), |bed| {
        bed.shop()?;
        bed.apply(STRICT)?;
        poll::until("the shop", PATIENCE, || takes(bed, &anybody(), STABLE))?;
        let orders = bed.pod("shop", "orders")?;
        poll::until("plain text to be refused", Duration::from_secs(10), || {
            ensure!(orders.answer(8080, &Ask::get("orders", "/")).is_err(), "plain text was answered");
            Ok(())
        })?;
        takes(bed, &anybody(), STABLE)?;
        let certificates = client::get(orders.admin().at, "/certs")?;
        ensure!(certificates.contains("spiffe://cluster.local/ns/shop/sa/default"), "{certificates}");
        Ok(())
    });
}

const RENAMED: &str = r#"{"spec": {"template": {"spec": {"containers": [{"name": "app",
    "args": ["--name", "orders-new", "--listen", "127.0.0.1:8080", "--call", "127.0.0.1:9081", "--host", "stock:9081"]}]}}}}"#;

const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";

/// Counts the endpoints that serve.
fn has_ready_endpoints(bed: &Bed, service: &str, wanted: usize) -> Result<()> {
    let selector = format!("kubernetes.io/service-name={service}");
    let path = "jsonpath={.items[*].endpoints[*].conditions.ready}";
    let said = bed.kubectl(&["-n", "shop", "get", "endpointslices", "-l", &selector, "-o", path])?;
    let ready = said.stdout.split_whitespace().filter(|ready| *ready == "true").count();
    ensure!(ready == wanted, "{ready} endpoints are ready");
    Ok(())
}
