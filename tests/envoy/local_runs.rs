//! `graylane run --local` on real Envoys: steps, gates, requests, and everything that may go wrong.

use std::time::Duration;

use anyhow::{Result, ensure};
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy};

use crate::local_folder::{Local, SHARES, Still, WORKERS};

on_every_envoy!(
    steps_wait_for_every_worker_and_for_requests,
    a_run_that_was_killed_goes_on_where_it_was,
    a_release_file_of_garbage_keeps_the_weights_and_a_removed_one_withdraws,
    a_version_whose_probe_fails_falls_back_and_holds_the_raise,
    an_envoy_that_stands_still_holds_the_raise_and_is_named,
    a_second_run_and_a_push_are_refused,
    a_folder_that_is_stopped_keeps_its_files,
    stop_needs_no_run_and_its_undo_brings_the_lanes_back,
);

fn steps_wait_for_every_worker_and_for_requests(stage: &Stage) -> Result<()> {
    let local = Local::of(stage, SHARES)?;
    let _envoy = local.envoy()?;
    let _run = local.run()?;
    local.until("the first weight to have arrived", |status| {
        ensure!(status["phase"] == "Paused" && status["weight"] == "canary=30%", "{}", status["message"]);
        Ok(())
    })?;
    // The step was ended, so every worker of both filters has to have it already.
    let first = at_once(local.lanes())?;
    ensure!(local.agrees(&first)?, "somebody is elsewhere than the status says");
    local.ask("promote")?;
    local.until_weight("canary=70%")?;
    let second = at_once(local.lanes())?;
    ensure!(local.agrees(&second)?, "somebody is elsewhere than the status says");
    ensure!(first.iter().zip(&second).all(|(was, is)| !was || *is), "somebody left the canary while it grew");

    let waited = local.step_times()?;
    println!("write -> every worker, as the engine saw it: {waited:?} ms");
    at_once(abort_under_load(&local))
}

/// Everything is back within a second, and nobody notices more than that.
async fn abort_under_load(local: &Local) -> Result<()> {
    let port = local.scenario.port(10000);
    let mut connections = Vec::new();
    for _ in 0..WORKERS * 4 {
        connections.push(Connection::open(port, Protocol::Http1).await?);
    }
    let start = std::time::Instant::now();
    let (mut last_canary, mut asked) = (Duration::ZERO, 0_u32);
    local.ask("abort")?;
    while start.elapsed() < Duration::from_secs(3) {
        for (user, connection) in connections.iter_mut().enumerate() {
            let answer = connection.send(&Ask::get("127.0.0.1", &format!("/?user={user}"))).await?;
            asked += 1;
            ensure!(answer.status == 200 && connection.is_open(), "request {asked} got {}", answer.status);
            if answer.text() == "orders canary" {
                last_canary = start.elapsed();
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("abort -> last answer of the canary: {last_canary:?}, {asked} requests");
    ensure!(last_canary < Duration::from_secs(1), "the canary still answered after {last_canary:?}");
    tokio::task::block_in_place(|| local.until_phase("RolledBack"))
}

fn a_run_that_was_killed_goes_on_where_it_was(stage: &Stage) -> Result<()> {
    let local = Local::of(stage, SHARES)?;
    let _envoy = local.envoy()?;
    let run = local.run()?;
    local.until_weight("canary=30%")?;
    let before = at_once(local.lanes())?;
    let generation = local.generation()?;
    // Dropping it kills it, as `kill -9` does.
    drop(run);
    ensure!(at_once(local.lanes())? == before, "somebody moved while nothing ran");
    let _run = local.run()?;
    local.until_looked()?;
    ensure!(local.generation()? == generation, "what was right was written again");
    ensure!(at_once(local.lanes())? == before, "somebody was moved by the new run");
    local.ask("promote")?;
    local.until_weight("canary=70%")
}

fn a_release_file_of_garbage_keeps_the_weights_and_a_removed_one_withdraws(stage: &Stage) -> Result<()> {
    let local = Local::of(stage, SHARES)?;
    let _envoy = local.envoy()?;
    let run = local.run()?;
    local.until_weight("canary=30%")?;
    let before = at_once(local.lanes())?;
    let generation = local.generation()?;
    local.write_release("spec: [this is no release\n")?;
    local.until("the garbage to be told", |status| {
        let told = status["conditions"].to_string();
        ensure!(told.contains("summer.yaml:1"), "{told}");
        Ok(())
    })?;
    ensure!(at_once(local.lanes())? == before && local.generation()? == generation, "somebody was moved by garbage");
    // Also by a run that knows nothing else.
    drop(run);
    let _run = local.run()?;
    local.until_said("summer.yaml:1")?;
    ensure!(at_once(local.lanes())? == before && local.generation()? == generation, "somebody was moved by garbage");

    std::fs::remove_file(local.release_file())?;
    local.until_gone()?;
    ensure!(at_once(local.lanes())?.iter().all(|is| !is), "somebody is still in the canary");
    ensure!(ecds::document(&local.gateway_file()).is_err(), "what is left still needs the module");
    Ok(())
}

fn a_version_whose_probe_fails_falls_back_and_holds_the_raise(stage: &Stage) -> Result<()> {
    let local = Local::of(stage, SHARES)?;
    let _envoy = local.envoy()?;
    let mut version = local.probed()?;
    let _run = local.run()?;
    local.until_weight("canary=30%")?;
    version.close();
    local.until("the version to be taken for not ready", |status| {
        ensure!(status["notReady"][0]["service"] == "orders.shop", "{status}");
        Ok(())
    })?;
    // The status is kept before the push, so it may say so a moment before the gateway knows.
    poll::until("everybody to fall back", PATIENCE, || {
        ensure!(at_once(local.lanes())?.iter().all(|is| !is), "somebody was sent to a version that is not ready");
        Ok(())
    })?;
    local.ask("promote")?;
    local.until("the raise to be held", |status| {
        ensure!(status["waiting"]["reason"] == "Endpoints" && status["weight"] == "canary=30%", "{status}");
        Ok(())
    })?;
    version.open()?;
    local.until_weight("canary=70%")?;
    ensure!(local.agrees(&at_once(local.lanes())?)?, "somebody is elsewhere than the status says");
    Ok(())
}

fn an_envoy_that_stands_still_holds_the_raise_and_is_named(stage: &Stage) -> Result<()> {
    let local = Local::of(stage, SHARES)?;
    let envoy = local.envoy()?;
    let _run = local.run()?;
    local.until_weight("canary=30%")?;
    let still = Still::of(&envoy)?;
    local.ask("promote")?;
    local.until("the proxy to be named", |status| {
        ensure!(status["waiting"]["reason"] == "Acknowledgement", "{status}");
        ensure!(status["waiting"]["message"].to_string().contains("gateway"), "{status}");
        Ok(())
    })?;
    drop(still);
    local.until_phase("Paused")?;
    ensure!(local.agrees(&at_once(local.lanes())?)?, "somebody is elsewhere than the status says");
    Ok(())
}

fn a_second_run_and_a_push_are_refused(stage: &Stage) -> Result<()> {
    let local = Local::of(stage, SHARES)?;
    let _envoy = local.envoy()?;
    let run = local.run()?;
    local.until_weight("canary=30%")?;
    for command in ["run", "push"] {
        let said = local.refused(command)?;
        let holder = format!("graylane run --local {}` (process {})", local.folder().display(), run.id());
        ensure!(said.contains(&holder) && said.contains("end it first"), "{command}: {said}");
    }
    drop(run);
    let said = local.refused("push")?;
    ensure!(said.contains("status/shop.summer.json") && said.contains("`shop/summer`"), "{said}");
    ensure!(said.contains("start `graylane run --local` again"), "{said}");
    let _run = local.run()?;
    local.ask("abort")?;
    local.until_phase("RolledBack")
}

fn a_folder_that_is_stopped_keeps_its_files(stage: &Stage) -> Result<()> {
    let local = Local::of(stage, SHARES)?;
    let _envoy = local.envoy()?;
    let _run = local.run()?;
    local.until_weight("canary=30%")?;
    let before = at_once(local.lanes())?;
    std::fs::write(local.folder().join("stopped"), "")?;
    ecds::make_inert(&local.gateway_file())?;
    local.ask("promote")?;
    local.until("the stop to be told", |status| {
        ensure!(status["waiting"]["reason"] == "Stopped", "{status}");
        Ok(())
    })?;
    ensure!(ecds::document(&local.gateway_file()).is_err(), "the file was put back");
    std::fs::remove_file(local.folder().join("stopped"))?;
    local.until_weight("canary=70%")?;
    let after = at_once(local.lanes())?;
    ensure!(before.iter().zip(&after).all(|(was, is)| !was || *is), "somebody left the canary");
    ensure!(local.agrees(&after)?, "somebody is elsewhere than the status says");
    // Whoever else writes there is overruled.
    ecds::make_inert(&local.gateway_file())?;
    local.until("the file to be put right", |_| ecds::document(&local.gateway_file()).map(drop))
}

fn stop_needs_no_run_and_its_undo_brings_the_lanes_back(stage: &Stage) -> Result<()> {
    let local = Local::of(stage, SHARES)?;
    let _envoy = local.envoy()?;
    let run = local.run()?;
    local.until_weight("canary=30%")?;
    let before = at_once(local.lanes())?;
    ensure!(before.iter().any(|lane| *lane), "nobody was in the lane");
    drop(run);
    local.done("stop", &["--reason", "the cart is broken"])?;
    poll::until("everybody on stable", PATIENCE, || {
        let lanes = at_once(local.lanes())?;
        ensure!(lanes.iter().all(|lane| !lane), "{lanes:?}");
        Ok(())
    })?;
    let said = std::fs::read_to_string(local.folder().join("stopped"))?;
    ensure!(said.contains("the cart is broken"), "{said}");
    // A run that comes back leaves it so, and says why it waits.
    let _run = local.run()?;
    local.until("the stop to be told", |status| {
        ensure!(status["waiting"]["reason"] == "Stopped", "{status}");
        Ok(())
    })?;
    ensure!(at_once(local.lanes())?.iter().all(|lane| !lane), "somebody is in the lane again");
    local.done("stop", &["--undo"])?;
    poll::until("the same users in the lane", PATIENCE, || {
        let lanes = at_once(local.lanes())?;
        ensure!(lanes == before, "{lanes:?}");
        Ok(())
    })
}
