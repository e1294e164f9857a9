//! Releases on a real mesh, from the first weight to the end.

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::client::Ask;
use graylane_tests::figures::judge;
use graylane_tests::poll;

use crate::asking::{CANARY, STABLE, path, takes};
use crate::control::{Control, PATIENCE, PROXIES, SUMMER, disturbances, release, until, until_paused_at, until_phase};
use crate::readiness::GENTLY;
use crate::traffic::{HOST, Traffic};

#[test]
fn smoke_a_release_moves_its_users_and_becomes_stable_without_a_failed_request() {
    // Acknowledged is what every worker of every Envoy runs: here each has two.
    bed::tell(&Bed::mesh().workers(2), |bed| {
        let control = Control::of_shop(bed)?;
        pods_end_gently(bed)?;
        bed.apply(SUMMER)?;
        let begun = until_paused_at(bed, "canary=5%")?;
        ensure!(begun["proxies"]["acknowledged"] == PROXIES.len(), "{}", begun["proxies"]);
        every_worker_runs_it(bed)?;
        let traffic = Traffic::begin(bed)?;
        let before = disturbances(bed, &PROXIES)?;
        share_of_users(bed, 200, 2..=22)?;
        testers_are_on_canary(bed)?;
        paused_and_resumed(bed, &control)?;
        until_paused_at(bed, "canary=50%")?;
        share_of_users(bed, 200, 70..=130)?;
        ensure!(
            disturbances(bed, &PROXIES)? == before,
            "listeners changed: {before:?} {:?}",
            disturbances(bed, &PROXIES)?
        );
        control.ask("promote")?;
        let done = until_phase(bed, "Succeeded")?;
        let (served, failed) = traffic.stop(bed)?;
        ensure!(failed == 0 && served > 500, "{failed} of {served} requests failed");
        println!("{served} requests served, none failed; {}", done["history"]);
        everybody_is_on(bed, CANARY)
    })
}

#[test]
fn smoke_an_abort_takes_everybody_back_at_once() {
    bed::tell(&Bed::mesh(), |bed| {
        let control = Control::of_shop(bed)?;
        control.moves_to_half()?;
        let traffic = Traffic::begin(bed)?;
        control.ask("abort")?;
        until_phase(bed, "RolledBack")?;
        everybody_is_on(bed, STABLE)?;
        let (served, failed) = traffic.stop(bed)?;
        ensure!(failed == 0, "{failed} of {served} requests failed");
        Ok(())
    })
}

/// Handover and undo are ordinary updates of stable, which serves everybody meanwhile: pods that go at once drop what
/// they are asked.
pub fn pods_end_gently(bed: &Bed) -> Result<()> {
    for name in ["orders", "orders-canary", "stock", "stock-canary"] {
        bed.kubectl(&["-n", "shop", "patch", "deployment", name, "--patch", GENTLY])?;
    }
    bed.wait_for_deployments("shop")
}

#[test]
fn what_has_become_stable_is_taken_back_by_undo_without_a_failed_request() {
    bed::tell(&Bed::mesh(), |bed| {
        let control = Control::of_shop(bed)?;
        pods_end_gently(bed)?;
        bed.apply(SUMMER)?;
        until_paused_at(bed, "canary=5%")?;
        let traffic = Traffic::begin(bed)?;
        bed.graylane(&["promote", "--full", "summer", "-n", "shop", "--no-wait"])?.done()?;
        until_phase(bed, "Succeeded")?;
        everybody_is_on(bed, CANARY)?;
        control.ask("undo")?;
        until_phase(bed, "RolledBack")?;
        everybody_is_on(bed, STABLE)?;
        let (served, failed) = traffic.stop(bed)?;
        judge(
            "a release through to stable and back by undo",
            format!("{failed} of {served} requests failed"),
            "0",
            failed == 0,
        )
    })
}

/// Two workers and the main thread of each, one generation.
fn every_worker_runs_it(bed: &Bed) -> Result<()> {
    for (namespace, deployment) in PROXIES {
        let pod = bed.pod(namespace, deployment)?;
        let concurrency = pod.admin().counter("server.concurrency")?;
        ensure!(concurrency == 2, "{deployment} has {concurrency} workers");
        let stats = pod.stats()?;
        let workers = stats.of("graylane_config_workers").map(|sample| sample.value).collect::<Vec<_>>();
        ensure!(!workers.is_empty() && workers.iter().all(|workers| *workers == 3.0), "{deployment}: {workers:?}");
    }
    Ok(())
}

/// A release that a person has paused stays where it is, and goes on when it is resumed.
fn paused_and_resumed(bed: &Bed, control: &Control<'_>) -> Result<()> {
    control.ask("pause")?;
    until(bed, "a pause that was asked for", |status| status["pause"]["reason"] == "Asked")?;
    let paused = release(bed, "summer")?["status"].take();
    ensure!(paused["phase"] == "Paused" && paused["weight"] == "canary=5%", "{paused}");
    testers_are_on_canary(bed)?;
    control.ask("resume")?;
    // It is back at the step of the release that waits for somebody.
    until(bed, "the pause of the step", |status| status["pause"]["reason"] == "Step")?;
    control.ask("promote")
}

/// How many of so many users come to the canary.
fn share_of_users(bed: &Bed, users: u32, wanted: std::ops::RangeInclusive<usize>) -> Result<()> {
    let mut canary = 0;
    for user in 0..users {
        let path = path(bed, &Ask::get(HOST, "/").header("x-user-id", user.to_string()))?;
        match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["orders-canary", "stock-canary"] => canary += 1,
            ["orders-stable", "stock-stable"] => {}
            _ => anyhow::bail!("user {user} left a lane: {path:?}"),
        }
    }
    ensure!(wanted.contains(&canary), "{canary} of {users} users are on canary, not {wanted:?}");
    Ok(())
}

fn testers_are_on_canary(bed: &Bed) -> Result<()> {
    takes(bed, &Ask::get(HOST, "/").header("x-tester", "1"), CANARY).context("a tester")
}

/// After a promotion stable pods run the canary's template, and so give its name.
pub fn everybody_is_on(bed: &Bed, wanted: [&str; 2]) -> Result<()> {
    poll::until("the end", PATIENCE, || {
        for user in 0..50 {
            let ask = Ask::get(HOST, "/").header("x-user-id", user.to_string());
            takes(bed, &ask, wanted).with_context(|| format!("user {user}"))?;
        }
        Ok(())
    })
}
