//! A table of slots that nobody renews stops sending users into a lane; rules go on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use graylane_policy::raw::{RawConfig, RawField, RawRun, RawSlots};
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::envoy::Envoy;
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy};

on_every_envoy!(lapsed_slots_send_users_to_stable_and_rules_go_on);

fn lapsed_slots_send_users_to_stable_and_rules_go_on(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("header")?;
    let envoy = scenario.start()?;
    let port = scenario.port(10000);
    let expires = unix_now()? + 4;
    ecds::change(&scenario.folder.join("ecds/gateway.json"), |document| {
        everybody_to_canary(document, expires);
    })?;
    envoy.wait_for_generation("gateway", 2, 2)?;

    let user = Ask::get("127.0.0.1", "/").header("x-user-id", "ada");
    let tester = user.clone().header("x-user-group", "beta");
    ensure!(unix_now()? < expires, "this machine is too slow for the test");
    ensure!(text(port, &user)? == "orders canary", "before the end, slots decide");
    poll::until("the slots to lapse", PATIENCE, || {
        ensure!(text(port, &user)? == "orders stable", "still in the lane");
        Ok(())
    })?;
    ensure!(unix_now()? >= expires, "they lapsed early");
    ensure!(text(port, &tester)? == "orders canary", "rules do not lapse");
    counted(&envoy, "expired")
}

fn everybody_to_canary(document: &mut RawConfig, expires: u64) {
    for entry in document.groups.iter_mut().filter_map(|group| group.entry.as_mut()) {
        entry.slots = Some(RawSlots {
            salt: "shop/summer#1".into(),
            runs: vec![RawRun { until: 10_000, lane: "canary".into() }],
            expires_unix: Some(expires),
        });
        entry.stickiness.unit = vec![RawField::Header("x-user-id".into())];
    }
}

fn counted(envoy: &Envoy, reason: &str) -> Result<()> {
    poll::until("the count", Duration::from_secs(5), || {
        let count = envoy.stats()?.sum("graylane_lane_total", &[("reason", reason)]);
        ensure!(count >= 1.0, "graylane_lane_total{{reason={reason}}} is {count}");
        Ok(())
    })
}

fn text(port: u16, ask: &Ask) -> Result<String> {
    at_once(async {
        let mut connection = Connection::open(port, Protocol::Http1).await?;
        Ok(connection.send(ask).await?.text())
    })
}

fn unix_now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("a clock after 1970")?.as_secs())
}
