//! Whom stickiness follows: the same unit gets the same version, and shares are what the weights say.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use graylane_policy::hash::slot_of;
use graylane_policy::raw::{NoUnit, RawCondition, RawConfig, RawField};
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::document::{SALT, entries, is_in_canary, rule, slots};
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, jwt, on_every_envoy};

on_every_envoy!(
    best_source_of_the_unit_decides_by_its_slot,
    percent_of_a_rule_follows_users_and_only_grows,
    requests_without_a_unit_are_drawn_at_random,
);

fn best_source_of_the_unit_decides_by_its_slot(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_bootstrap("header", jwt::verifying)?;
    // One of the two tenants is in the lane, the other is not.
    let canary = u32::from(slot_of(b"acme", SALT)).midpoint(u32::from(slot_of(b"other", SALT))) + 1;
    change(&scenario, |document| {
        for entry in entries(document) {
            entry.slots = Some(slots(canary));
            entry.stickiness.unit = vec![RawField::Claim("tenant".into()), RawField::Cookie("session".into())];
        }
    })?;
    let envoy = scenario.start()?;
    envoy.wait_for_generation("gateway", 2, 2)?;
    at_once(async {
        let mut client = Connection::open(scenario.port(10000), Protocol::Http1).await?;
        let mut lanes = BTreeSet::new();
        for session in 0..100 {
            let session = format!("s{session}");
            let ask = Ask::get("127.0.0.1", "/").header("cookie", format!("a=b; session={session}"));
            ensure!(in_canary(&mut client, &ask).await? == is_in_canary(&session, canary), "{session}");
            lanes.insert(is_in_canary(&session, canary));
            for (tenant, token) in [("acme", jwt::ACME), ("other", jwt::OTHER)] {
                let ask = ask.clone().header("authorization", format!("Bearer {token}"));
                ensure!(in_canary(&mut client, &ask).await? == is_in_canary(tenant, canary), "{tenant} {session}");
            }
        }
        ensure!(lanes.len() == 2, "all sessions were in one lane");
        Ok(())
    })
}

const USERS: u32 = 400;

fn percent_of_a_rule_follows_users_and_only_grows(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("header")?;
    let envoy = scenario.start()?;
    let mut before = BTreeSet::new();
    for (generation, percent) in (2..).zip([2_500, 6_000]) {
        change(&scenario, |document| {
            for entry in entries(document) {
                entry.rules = vec![rule("some", RawCondition::Percent(percent))];
                entry.stickiness.unit = vec![RawField::Header("x-user-id".into())];
            }
        })?;
        envoy.wait_for_generation("gateway", generation, 2)?;
        let chosen = at_once(users_in_canary(&scenario))?;
        ensure!(at_once(users_in_canary(&scenario))? == chosen, "a user was moved from one request to the next");
        is_share(chosen.len(), USERS, percent)?;
        ensure!(chosen.is_superset(&before), "a user left though the share grew");
        before = chosen;
    }
    at_once(async {
        let mut client = Connection::open(scenario.port(10000), Protocol::Http1).await?;
        ensure!(!in_canary(&mut client, &Ask::get("127.0.0.1", "/")).await?, "nobody is no part of any percentage");
        Ok(())
    })
}

fn requests_without_a_unit_are_drawn_at_random(stage: &Stage) -> Result<()> {
    const REQUESTS: u32 = 2_000;
    let scenario = stage.copy("header")?;
    change(&scenario, |document| {
        for entry in entries(document) {
            entry.slots = Some(slots(3_000));
            entry.stickiness.no_unit = NoUnit::Random;
        }
    })?;
    let envoy = scenario.start()?;
    envoy.wait_for_generation("gateway", 2, 2)?;
    let seen = at_once(async {
        let mut client = Connection::open(scenario.port(10000), Protocol::Http1).await?;
        let mut seen = 0;
        for _ in 0..REQUESTS {
            seen += u32::from(in_canary(&mut client, &Ask::get("127.0.0.1", "/")).await?);
        }
        Ok(seen)
    })?;
    is_share(seen as usize, REQUESTS, 3_000)?;
    for (lane, wanted) in [("canary", seen), ("stable", REQUESTS - seen)] {
        let drawn = [("lane", lane), ("cohort", "random")];
        envoy.wait_for_sum("graylane_requests_total", &drawn, wanted.into())?;
    }
    envoy.wait_for_sum("graylane_requests_total", &[], REQUESTS.into())
}

fn change(scenario: &Scenario, edit: impl FnOnce(&mut RawConfig)) -> Result<()> {
    ecds::change(&scenario.folder.join("ecds/gateway.json"), edit)
}

async fn users_in_canary(scenario: &Scenario) -> Result<BTreeSet<u32>> {
    let mut client = Connection::open(scenario.port(10000), Protocol::Http1).await?;
    let mut chosen = BTreeSet::new();
    for user in 0..USERS {
        if in_canary(&mut client, &Ask::get("127.0.0.1", "/").header("x-user-id", user.to_string())).await? {
            chosen.insert(user);
        }
    }
    Ok(chosen)
}

async fn in_canary(client: &mut Connection, ask: &Ask) -> Result<bool> {
    let text = client.send(ask).await?.text();
    ensure!(text == "orders canary" || text == "orders stable", "{text}");
    Ok(text == "orders canary")
}

/// Within five standard deviations, which chance leaves once in two million times.
fn is_share(seen: usize, of: u32, per_10_000: u32) -> Result<()> {
    let share = f64::from(per_10_000) / 10_000.0;
    let expected = f64::from(of) * share;
    let bound = 5.0 * (expected * (1.0 - share)).sqrt();
    ensure!((seen as f64 - expected).abs() <= bound, "{seen} of {of}, not {expected} +- {bound:.0}");
    Ok(())
}
