//! A lane whose only endpoint goes before the document says so, and comes back.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use graylane_policy::vacant::HOLD_MS;
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{on_every_envoy, paths};
use serde_json::json;
use tokio::task::block_in_place;

use crate::cart::{Cart, OUTBOUND, who};

on_every_envoy!(a_lane_without_an_endpoint_fails_one_request_and_stable_serves_until_it_is_back);

const REQUESTS: usize = 40;
const HOLD: Duration = Duration::from_millis(HOLD_MS);
/// The endpoint of the lane as the files of the chain have it.
const CANARY: u16 = 10_150;
const ENDPOINTS: &str = "eds/orders-canary.json";

fn a_lane_without_an_endpoint_fails_one_request_and_stable_serves_until_it_is_back(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("chain", &paths::filter()?, with_discovered_endpoints)?;
    fs::create_dir(scenario.folder.join("eds"))?;
    discover(&scenario, true)?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        let mut connection = cart.connect(OUTBOUND, Protocol::Http1).await?;
        ensure!(serving(&mut connection, &tester()).await?.as_deref() == Some("orders canary"));

        tell(&cart, false)?;
        let begun = Instant::now();
        let mut failed = 0_u32;
        for at in 0..REQUESTS {
            match serving(&mut connection, &tester()).await?.as_deref() {
                Some("orders stable") => {}
                None => failed += 1,
                other => anyhow::bail!("{other:?} served request {at}"),
            }
        }
        // On a machine that is very busy the lane may be asked again meanwhile.
        let allowed = 1 + begun.elapsed().as_millis() / HOLD.as_millis();
        ensure!(failed >= 1 && u128::from(failed) <= allowed, "{failed} failed, and only {allowed} may have");
        let user = Ask::get("orders", "/");
        ensure!(serving(&mut connection, &user).await?.as_deref() == Some("orders stable"));
        let served = REQUESTS as f64 - f64::from(failed);
        cart.envoy.wait_for_sum("graylane_lane_total", &[("reason", "fallback"), ("lane", "canary")], served)?;
        let failures = [("lane", "canary"), ("service", "orders.shop")];
        cart.envoy.wait_for_sum("graylane_failures_total", &failures, f64::from(failed))?;

        tell(&cart, true)?;
        let back = Instant::now();
        while serving(&mut connection, &tester()).await?.as_deref() == Some("orders stable") {
            ensure!(back.elapsed() < 2 * HOLD, "the lane is not taken again");
        }
        for _ in 0..REQUESTS {
            ensure!(serving(&mut connection, &tester()).await?.as_deref() == Some("orders canary"));
        }
        Ok(())
    })
}

fn tester() -> Ask {
    Ask::get("orders", "/").header("x-release-stage", "canary").header("x-graylane-cohort", "shop=rule")
}

/// Who served a request; nobody, when Envoy said that nobody can.
async fn serving(connection: &mut Connection, ask: &Ask) -> Result<Option<String>> {
    let answer = connection.send(ask).await?;
    if answer.status == 503 && answer.text().contains("no healthy upstream") {
        return Ok(None);
    }
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    who(&answer).map(Some)
}

/// Endpoints of the lane are read from a file, as a control plane would send them.
fn with_discovered_endpoints(file: &str, text: String) -> String {
    if file != "cart-stable.yaml" {
        return text;
    }
    let (before, cluster) = text.split_once("  - name: orders-canary\n").unwrap_or((&text, ""));
    let (_, after) = cluster.split_once("  - name: ").unwrap_or((cluster, ""));
    format!(
        "{before}  - name: orders-canary
    type: EDS
    eds_cluster_config:
      eds_config: {{path_config_source: {{path: {ENDPOINTS}, watched_directory: {{path: eds}}}}}}
  - name: {after}"
    )
}

fn discover(scenario: &Scenario, is_there: bool) -> Result<()> {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": scenario.port(CANARY)}});
    let endpoints = if is_there { json!([{"lb_endpoints": [{"endpoint": {"address": address}}]}]) } else { json!([]) };
    let response = json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": "orders-canary",
        "endpoints": endpoints
    }]});
    let file = scenario.folder.join(ENDPOINTS);
    fs::write(file.with_extension("new"), response.to_string())?;
    Ok(fs::rename(file.with_extension("new"), file)?)
}

fn tell(cart: &Cart, is_there: bool) -> Result<()> {
    discover(&cart.scenario, is_there)?;
    block_in_place(|| {
        poll::until("Envoy to hear of the endpoints", PATIENCE, || {
            let total = cart.envoy.counter("cluster.orders-canary.membership_total")?;
            ensure!(total == u64::from(is_there), "{total} endpoints");
            Ok(())
        })
    })
}
