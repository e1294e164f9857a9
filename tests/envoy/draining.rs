//! Streams that outlive their lane: counted until they end, closed where the release says so, and no others.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use graylane_policy::raw::RawConfig;
use graylane_tests::app::App;
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::envoy::Envoy;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy, paths, poll};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::task::block_in_place;

use crate::behind_apps::{behind_apps, serve};
use crate::cart::{Cart, OUTBOUND, file};
use crate::local_folder::{Local, Run, SHARES, WORKERS};

on_every_envoy!(
    calls_in_a_lane_that_is_gone_are_closed_after_their_time_and_no_others,
    calls_are_closed_although_the_module_has_left_the_config_meanwhile,
    calls_in_a_lane_that_is_gone_go_on_where_nobody_asks_for_more,
    an_aborted_release_tells_how_many_streams_are_left_and_closes_them,
    a_release_that_does_not_say_so_keeps_its_streams_and_counts_them,
);

const PATIENCE: Duration = Duration::from_secs(20);
const AFTER: Duration = Duration::from_secs(3);
const CLOSED: &str = "graylane_closed_streams_total";

/// A call whose answer never ends.
struct Endless {
    _connection: Connection,
    body: Incoming,
}

/// How a stream went on.
#[derive(Debug, PartialEq)]
enum Next {
    Frame,
    Over,
}

// === impl Endless ===

impl Endless {
    async fn begin(mut connection: Connection, ask: Ask) -> Result<Self> {
        let answer = connection.start(&ask.header("x-toy-stream", "20")).await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        let mut stream = Self { _connection: connection, body: answer.into_body() };
        stream.goes_on().await?;
        Ok(stream)
    }

    async fn next(&mut self) -> Result<Next> {
        let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.context("the stream hangs")?;
        Ok(if frame.is_some_and(|frame| frame.is_ok()) { Next::Frame } else { Next::Over })
    }

    /// What is on its way already counts for nothing.
    async fn goes_on(&mut self) -> Result<()> {
        for _ in 0..5 {
            ensure!(self.next().await? == Next::Frame, "the stream is over");
        }
        Ok(())
    }

    async fn goes_on_for(&mut self, time: Duration) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.goes_on().await.with_context(|| format!("after {:?}", begun.elapsed()))?;
        }
        Ok(())
    }

    /// Waits for its end, which is not before this.
    async fn until_over(&mut self, earliest: Instant) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.next().await? == Next::Frame {
            if Instant::now() > deadline {
                bail!("the stream was not closed");
            }
        }
        ensure!(Instant::now() >= earliest, "closed {:?} too early", earliest - Instant::now());
        Ok(())
    }
}

fn in_canary() -> Ask {
    Ask::get("orders", "/").header("x-release-stage", "canary").header("x-graylane-cohort", "shop=rule")
}

/// A call of `cart`, on both protocols in turn: a reset and a closed connection are two ways to end.
async fn call(cart: &Cart, protocol: Protocol, ask: Ask) -> Result<Endless> {
    Endless::begin(cart.connect(OUTBOUND, protocol).await?, ask).await
}

fn draining(document: &mut RawConfig) {
    let after_ms = u64::try_from(AFTER.as_millis()).ok();
    document.groups.iter_mut().for_each(|group| group.drain_after_ms = after_ms);
}

fn open(envoy: &Envoy, wanted: f64) -> Result<()> {
    let labels = [("service", "orders.shop"), ("rollout", "shop/summer"), ("lane", "canary")];
    envoy.wait_for_sum("graylane_open_streams", &labels, wanted)
}

fn calls_in_a_lane_that_is_gone_are_closed_after_their_time_and_no_others(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        cart.change("outbound", draining)?;
        let mut stable = call(&cart, Protocol::Http2, Ask::get("orders", "/")).await?;
        let mut first = call(&cart, Protocol::Http1, in_canary()).await?;
        let mut second = call(&cart, Protocol::Http2, in_canary()).await?;
        // Another generation of the same lanes ends nobody's call.
        cart.change("outbound", |document| document.groups.iter_mut().for_each(|group| group.baggage ^= true))?;
        let mut third = call(&cart, Protocol::Http2, in_canary()).await?;
        open(&cart.envoy, 3.0)?;
        stable.goes_on_for(AFTER).await?;
        open(&cart.envoy, 3.0)?;

        let withdrawn = Instant::now();
        cart.change("outbound", |document| document.groups.clear())?;
        for stream in [&mut first, &mut second, &mut third] {
            stream.until_over(withdrawn + AFTER).await?;
        }
        println!("closed {:?} after the change, asked for {AFTER:?}", withdrawn.elapsed());
        open(&cart.envoy, 0.0)?;
        cart.envoy.wait_for_sum(CLOSED, &[("lane", "canary"), ("direction", "outbound")], 3.0)?;
        let failed = cart.envoy.stats()?.sum("graylane_failures_total", &[]);
        ensure!(failed == 0.0, "{failed} streams that were closed count as failures");
        stable.goes_on_for(AFTER).await
    })
}

fn calls_are_closed_although_the_module_has_left_the_config_meanwhile(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        cart.change("outbound", draining)?;
        let mut stable = call(&cart, Protocol::Http2, Ask::get("orders", "/")).await?;
        let mut in_lane = call(&cart, Protocol::Http2, in_canary()).await?;
        let withdrawn = Instant::now();
        cart.change("outbound", |document| document.groups.clear())?;
        // What graylane does once every proxy has confirmed that.
        ecds::make_inert(&cart.scenario.folder.join(file("outbound")))?;
        in_lane.until_over(withdrawn + AFTER).await?;
        open(&cart.envoy, 0.0)?;
        stable.goes_on_for(AFTER).await
    })
}

fn calls_in_a_lane_that_is_gone_go_on_where_nobody_asks_for_more(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        let mut in_lane = call(&cart, Protocol::Http2, in_canary()).await?;
        cart.change("outbound", |document| document.groups.clear())?;
        in_lane.goes_on_for(AFTER * 2).await?;
        open(&cart.envoy, 1.0)?;
        ensure!(cart.envoy.stats()?.sum(CLOSED, &[]) == 0.0, "something was closed");
        drop(in_lane);
        open(&cart.envoy, 0.0)
    })
}

/// A release at work, with a stream in its lane and one in stable.
struct Shop {
    local: Local,
    in_lane: Endless,
    stable: Endless,
    _run: Run,
    _envoy: Envoy,
    _apps: [App; 2],
}

async fn shop(stage: &Stage, drain: &str) -> Result<Shop> {
    let scenario = stage.copy_with("reload", &paths::filter()?, |file, text| match file {
        "release/proxies.yaml" => text.replace("concurrency: 1", &format!("concurrency: {WORKERS}")),
        "release/summer.yaml" => format!("{text}  steps: {SHARES}\n{drain}"),
        _ => behind_apps(file, text),
    })?;
    let local = Local { scenario };
    let apps = serve(&local.scenario).await?;
    let (envoy, run) = block_in_place(|| anyhow::Ok((local.envoy()?, local.run()?)))?;
    block_in_place(|| local.until_weight("canary=30%"))?;
    let port = local.scenario.port(10000);
    let ask = |tester: &str| Ask::get("127.0.0.1", "/").header("x-tester", tester);
    let in_lane = Endless::begin(Connection::open(port, Protocol::Http2).await?, ask("yes")).await?;
    let stable = Endless::begin(Connection::open(port, Protocol::Http2).await?, ask("no")).await?;
    Ok(Shop { local, in_lane, stable, _run: run, _envoy: envoy, _apps: apps })
}

// === impl Shop ===

impl Shop {
    /// Takes the release back, and waits until the status tells of the stream that is left.
    fn abort(&self) -> Result<()> {
        self.local.ask("abort")?;
        self.local.until("the streams to be told", |status| {
            ensure!(status["phase"] == "RolledBack", "{status}");
            let streams = &status["streams"];
            ensure!(streams["left"] == 1 && streams["services"]["orders.shop"] == 1, "{streams}");
            Ok(())
        })
    }
}

fn an_aborted_release_tells_how_many_streams_are_left_and_closes_them(stage: &Stage) -> Result<()> {
    at_once(async {
        let mut shop = shop(stage, "  drain: {streams: close, after: 6s}\n").await?;
        let asked = Instant::now();
        block_in_place(|| shop.abort())?;
        shop.in_lane.until_over(asked + Duration::from_secs(6)).await?;
        println!("closed {:?} after abort, asked for 6 s", asked.elapsed());
        until_empty(&shop.local)?;
        shop.stable.goes_on_for(AFTER).await
    })
}

fn a_release_that_does_not_say_so_keeps_its_streams_and_counts_them(stage: &Stage) -> Result<()> {
    at_once(async {
        let mut shop = shop(stage, "").await?;
        block_in_place(|| shop.abort())?;
        shop.in_lane.goes_on_for(AFTER * 2).await?;
        let Shop { local, in_lane, mut stable, _run, _envoy, _apps } = shop;
        drop(in_lane);
        stable.goes_on().await?;
        until_empty(&local)
    })
}

/// Waits until the status tells that none is left.
fn until_empty(local: &Local) -> Result<()> {
    block_in_place(|| {
        poll::until("the last stream to be told", PATIENCE, || {
            let status = local.status()?;
            let streams = &status["streams"];
            ensure!(streams["left"] == 0 && streams["untilMs"].is_u64(), "{streams}");
            ensure!(status["history"].to_string().contains("StreamsEnded"), "{}", status["history"]);
            Ok(())
        })
    })
}
