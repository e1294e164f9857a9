//! A document pushed again while streams that began with it are still open: Envoy hands back the root
//! context those streams hold, without configuring it again.

use std::fs;

use anyhow::{Context, Result, ensure};
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy, paths};
use http_body_util::BodyExt;

use crate::behind_apps::{behind_apps, serve};

on_every_envoy!(a_document_pushed_again_is_reported_by_every_worker);

fn a_document_pushed_again_is_reported_by_every_worker(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("header", &paths::filter()?, behind_apps)?;
    let envoy = scenario.start()?;
    let file = scenario.folder.join("ecds/gateway.json");
    at_once(async {
        let _apps = serve(&scenario).await?;
        let mut holder = Connection::open(scenario.port(10000), Protocol::Http2).await?;
        let stream = Ask::get("127.0.0.1", "/").header("x-toy-stream", "50");
        let mut body = holder.start(&stream).await?.into_body();
        body.frame().await.context("the stream ended")??;
        let first = fs::read(&file)?;
        ecds::change(&file, |document| document.generation = 2)?;
        tokio::task::block_in_place(|| envoy.wait_for_generation("gateway", 2, 2))?;
        let fresh = file.with_extension("json.old");
        fs::write(&fresh, &first)?;
        fs::rename(&fresh, &file)?;
        tokio::task::block_in_place(|| {
            poll::until("the first document to be in force again", PATIENCE, || {
                let generation = envoy.stats()?.sum("graylane_config_generation", &[("role", "gateway")]);
                at_once_more(scenario.port(10000))?;
                ensure!(generation == 1.0, "generation {generation}");
                Ok(())
            })?;
            envoy.wait_for_generation("gateway", 1, 2)
        })?;
        body.frame().await.context("the stream ended")??;
        Ok(())
    })
}

/// A request of its own: what shows a worker that a document is in force again.
fn at_once_more(port: u16) -> Result<()> {
    graylane_tests::client::get(port, "/").map(drop)
}
