//! Thirty configs in thirty seconds under load: no connection is closed, no request fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane_policy::raw::{RawConfig, RawField};
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::document::{entries, slots};
use graylane_tests::envoy::Envoy;
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy, paths};
use http_body_util::BodyExt;
use tokio::task::JoinHandle;

use crate::behind_apps::{behind_apps, serve};

on_every_envoy!(reloads_under_load_close_and_fail_nothing);

const RELOADS: u32 = 30;
const WORKERS: u32 = 2;

/// What all clients of a story share.
#[derive(Clone, Default)]
struct Traffic {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

fn reloads_under_load_close_and_fail_nothing(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("header", &paths::filter()?, behind_apps)?;
    let envoy = scenario.how("envoy.yaml", 9901, WORKERS)?.ready()?;
    at_once(async {
        let _apps = serve(&scenario).await?;
        let traffic = Traffic::default();
        let clients = traffic.begin(scenario.port(10000)).await?;
        let stream = traffic.begin_stream(scenario.port(10000)).await?;
        reload_every_second(&scenario, &envoy, &traffic).await?;
        traffic.over.store(true, Ordering::Relaxed);
        for client in clients {
            client.await??;
        }
        stream.await??;
        nothing_was_disturbed(&envoy)
    })
}

async fn reload_every_second(scenario: &Scenario, envoy: &Envoy, traffic: &Traffic) -> Result<()> {
    let file = scenario.folder.join("ecds/gateway.json");
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    for reload in 1..=RELOADS {
        every_second.tick().await;
        ecds::change(&file, |document| share_of_canary(document, reload * 300))?;
        let answered = traffic.answered.swap(0, Ordering::Relaxed);
        ensure!(reload == 1 || answered > 0, "nothing was answered in the second before reload {reload}");
    }
    let generation = u64::from(RELOADS) + 1;
    tokio::task::block_in_place(|| envoy.wait_for_generation("gateway", generation, WORKERS + 1))
}

fn nothing_was_disturbed(envoy: &Envoy) -> Result<()> {
    let discovery = "extension_config_discovery.http_filter.graylane.gateway";
    let reloads = envoy.counter(&format!("{discovery}.config_reload"))?;
    let refused = envoy.counter(&format!("{discovery}.config_fail"))?;
    ensure!(reloads == u64::from(RELOADS) + 1 && refused == 0, "{reloads} reloads, {refused} refused");
    for counter in [
        "listener_manager.listener_modified",
        "listener_manager.total_filter_chains_draining",
        "http.gateway.downstream_cx_drain_close",
        "http.gateway.downstream_cx_destroy_local",
        "http.gateway.downstream_rq_5xx",
    ] {
        ensure!(envoy.counter(counter)? == 0, "{counter} is {}", envoy.counter(counter)?);
    }
    Ok(())
}

fn share_of_canary(document: &mut RawConfig, share: u32) {
    for entry in entries(document) {
        entry.slots = Some(slots(share));
        entry.stickiness.unit = vec![RawField::Header("x-user-id".into())];
    }
}

// === impl Traffic ===

impl Traffic {
    async fn begin(&self, port: u16) -> Result<Vec<JoinHandle<Result<()>>>> {
        let mut clients = Vec::new();
        for protocol in [Protocol::Http1, Protocol::Http1, Protocol::Http1, Protocol::Http2] {
            let connection = Connection::open(port, protocol).await?;
            clients.push(tokio::spawn(self.clone().ask_until_over(connection)));
        }
        Ok(clients)
    }

    /// One connection for the whole story: it is never opened again.
    async fn ask_until_over(self, mut connection: Connection) -> Result<()> {
        let mut user = 0_u64;
        while !self.over.load(Ordering::Relaxed) {
            user += 1;
            let ask = Ask::get("127.0.0.1", "/").header("x-user-id", user.to_string());
            let answer = connection.send(&ask).await.with_context(|| format!("request {user}"))?;
            ensure!(answer.status == 200, "request {user} got {}", answer.status);
            self.answered.fetch_add(1, Ordering::Relaxed);
            // A pause: four clients would fill both cores of a small machine.
            tokio::time::sleep(Duration::from_millis(6)).await;
        }
        ensure!(connection.is_open(), "the connection was closed");
        Ok(())
    }

    async fn begin_stream(&self, port: u16) -> Result<JoinHandle<Result<()>>> {
        let mut connection = Connection::open(port, Protocol::Http2).await?;
        let ask = Ask::get("127.0.0.1", "/").header("x-toy-stream", "50");
        let mut body = connection.start(&ask).await?.into_body();
        let over = self.over.clone();
        Ok(tokio::spawn(async move {
            let mut ticks = 0;
            while !over.load(Ordering::Relaxed) {
                let frame = tokio::time::timeout(Duration::from_secs(5), body.frame()).await?;
                frame.context("the stream ended")?.context("the stream broke")?;
                ticks += 1;
            }
            ensure!(ticks > 100 && connection.is_open(), "the stream gave {ticks} ticks");
            Ok(())
        }))
    }
}
