//! Whose requests a lane has, as the entry's metrics tell it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use graylane_policy::hash::slot_of;
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::document::{SALT, is_in_canary};
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy, paths};

use crate::behind_apps::{behind_apps, serve};
use crate::brake::braked;

on_every_envoy!(an_entry_tells_by_bucket_of_users_whose_requests_fail,);

const WORKERS: u32 = 2;
const USERS: u32 = 60;
/// Requests of each, on as many connections, so that every worker has some.
const EACH: usize = 4;
const CANARY: u32 = 5_000;

fn an_entry_tells_by_bucket_of_users_whose_requests_fail(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("header", &paths::filter()?, behind_apps)?;
    ecds::change(&scenario.folder.join("ecds/gateway.json"), |document| braked(document, CANARY, 0))?;
    let envoy = scenario.how("envoy.yaml", 9901, WORKERS)?.ready()?;
    envoy.wait_for_generation("gateway", 2, WORKERS + 1)?;
    let broken = (0..USERS).find(|user| is_in_canary(&user.to_string(), CANARY)).context("nobody is in the lane")?;
    at_once(async {
        let _apps = serve(&scenario).await?;
        for _ in 0..EACH {
            let mut connection = Connection::open(scenario.port(10000), Protocol::Http1).await?;
            for user in 0..USERS {
                // One user fails wherever it is; of stable's users one does as well.
                let status = if user == broken || is_first_of_stable(user) { "500" } else { "200" };
                let ask = Ask::get("127.0.0.1", "/").header("x-user-id", user.to_string());
                connection.send(&ask.header("x-toy-status", status)).await?;
            }
        }
        Ok(())
    })?;
    let mut buckets: BTreeMap<u16, u32> = BTreeMap::new();
    for user in (0..USERS).filter(|user| is_in_canary(&user.to_string(), CANARY)) {
        *buckets.entry(bucket(user)).or_default() += 1;
    }
    ensure!(buckets.len() > 8, "the users are of a few buckets only: {buckets:?}");
    let labels = [("rollout", "shop/summer"), ("lane", "canary")];
    for at in 0..16 {
        let wanted = f64::from(buckets.get(&at).copied().unwrap_or(0)) * EACH as f64;
        envoy.wait_for_sum(&format!("graylane_unit_{at}_requests_total"), &labels, wanted)?;
        let wanted = if at == bucket(broken) { EACH as f64 } else { 0.0 };
        envoy.wait_for_sum(&format!("graylane_unit_{at}_failures_total"), &labels, wanted)?;
    }
    let stats = envoy.stats()?;
    let of_stable = |at: i32| stats.sum(&format!("graylane_unit_{at}_requests_total"), &[("lane", "stable")]);
    ensure!((0..16).map(of_stable).sum::<f64>() == 0.0, "stable's users are counted");
    ensure!(stats.sum("graylane_failures_total", &[("lane", "stable")]) > 0.0, "none of stable failed");
    ensure!(stats.sum("graylane_brake", &labels) == 0.0, "one user tripped the brake");
    Ok(())
}

fn bucket(user: u32) -> u16 {
    slot_of(user.to_string().as_bytes(), SALT) % 16
}

fn is_first_of_stable(user: u32) -> bool {
    (0..USERS).find(|user| !is_in_canary(&user.to_string(), CANARY)) == Some(user)
}
