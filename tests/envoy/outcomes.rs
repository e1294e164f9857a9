//! What counts as a failure, what does not, and what is not counted at all.

use std::time::Duration;

use anyhow::{Result, ensure};
use graylane_tests::client::{self, Ask, Connection, Protocol};
use graylane_tests::envoy::{Envoy, wait_for_text};
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{on_every_envoy, paths};

use crate::behind_apps::{behind_apps, serve};
use crate::origins::specimen;

/// Traces of a slow request and of one in time.
const SLOW: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const QUICK: &str = "0af7651916cd43dd8448eb211c80319c";

on_every_envoy!(
    access_log_names_lane_release_and_trace,
    grpc_status_in_trailers_is_the_outcome,
    slow_requests_are_counted_for_their_objective_and_named,
    what_clients_cause_is_no_failure,
);

fn access_log_names_lane_release_and_trace(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("header")?;
    let envoy = scenario.start()?;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    client::once(scenario.port(10000), &tester().header("traceparent", trace))?;
    for wanted in [
        r#""lane":"canary""#,
        r#""release":"shop/summer""#,
        r#""cohort":"shop=rule""#,
        "4bf92f3577b34da6a3ce929d0e0e4736",
    ] {
        wait_for_text("the access log", || envoy.access_log(), wanted)?;
    }
    Ok(())
}

/// Of the statuses of gRPC only those that tell of the server are failures: 14 is one, 5 (not found) is none.
fn grpc_status_in_trailers_is_the_outcome(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("grpc", &paths::filter()?, behind_apps)?;
    let envoy = scenario.start()?;
    at_once(async {
        let _apps = serve(&scenario).await?;
        let mut connection = Connection::open(scenario.port(10000), Protocol::Http2).await?;
        for status in ["0", "14", "5", "14", "0"] {
            let answer = connection.send(&grpc_call(status)).await?;
            let trailer = answer.trailers.get("grpc-status").and_then(|value| value.to_str().ok());
            ensure!(trailer == Some(status), "trailers {:?}", answer.trailers);
        }
        Ok(())
    })?;
    counts(&envoy, 5.0, 2.0)
}

fn slow_requests_are_counted_for_their_objective_and_named(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("metrics", &paths::filter()?, behind_apps)?;
    let envoy = scenario.start()?;
    at_once(async {
        let _apps = serve(&scenario).await?;
        let mut connection = Connection::open(scenario.port(10000), Protocol::Http1).await?;
        let tester = Ask::get("127.0.0.1", "/").header("x-tester", "yes");
        let with_trace = |trace: &str| tester.clone().header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        connection.send(&with_trace(SLOW).header("x-toy-slow", "600")).await?;
        connection.send(&with_trace(QUICK)).await.map(drop)
    })?;
    envoy.wait_for_sum("graylane_requests_total", &[], 2.0)?;
    let slow = [("over_ms", "500"), ("lane", "canary")];
    envoy.wait_for_sum("graylane_slow_requests_total", &slow, 1.0)?;
    envoy.wait_for_sum("graylane_slow_requests_total", &[], 1.0)?;
    let stats = envoy.stats()?;
    ensure!(specimen(&stats, "slow", &slow)?.as_deref() == Some(SLOW), "the slow request is not named");
    ensure!(specimen(&stats, "failed", &[])?.is_none(), "nothing has failed");
    Ok(())
}

/// A 404, a client that goes away and a mirrored copy are none of the version's doing.
fn what_clients_cause_is_no_failure(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("header", &paths::filter()?, behind_apps)?;
    let envoy = scenario.start()?;
    at_once(async {
        let _apps = serve(&scenario).await?;
        let mut connection = Connection::open(scenario.port(10000), Protocol::Http1).await?;
        connection.send(&tester().header("x-toy-status", "404")).await?;
        connection.send(&tester().header("x-toy-status", "500")).await?;
        let mirrored = Ask::get("127.0.0.1-shadow", "/").header("x-user-group", "beta");
        connection.send(&mirrored.header("x-toy-status", "500")).await?;
        let _connection = abandon(&scenario).await?;
        // With the applications and the connection still there: if they went first, Envoy would count their end.
        let is_reset = || {
            ensure!(envoy.counter("http.gateway.downstream_rq_rx_reset")? == 1, "it has not been reset yet");
            Ok(())
        };
        tokio::task::block_in_place(|| poll::until("the abandoned request to end", PATIENCE, is_reset))
    })?;
    // The 404, the 500 and the one that followed the reset.
    counts(&envoy, 3.0, 1.0)
}

/// A request whose client resets it long before the answer.
async fn abandon(scenario: &Scenario) -> Result<Connection> {
    let mut connection = Connection::open(scenario.port(10000), Protocol::Http2).await?;
    let slow = tester().header("x-toy-slow", "20000");
    let gone = tokio::time::timeout(Duration::from_millis(300), connection.send(&slow)).await;
    ensure!(gone.is_err(), "it was answered");
    // The reset is sent by the connection, so the connection has to live until it has been.
    connection.send(&tester().header("x-toy-status", "204").method("HEAD")).await?;
    Ok(connection)
}

fn counts(envoy: &Envoy, requests: f64, failures: f64) -> Result<()> {
    let ours = [("service", "orders.shop")];
    envoy.wait_for_sum("graylane_requests_total", &ours, requests)?;
    envoy.wait_for_sum("graylane_failures_total", &ours, failures)
}

fn tester() -> Ask {
    Ask::get("127.0.0.1", "/").header("x-user-group", "beta")
}

fn grpc_call(status: &str) -> Ask {
    Ask::get("127.0.0.1", "/shop.Orders/Get")
        .method("POST")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-toy-grpc", status)
}
