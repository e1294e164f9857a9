//! A table of slots that nobody renews stops sending users into a lane; rules go on.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use graylane_policy::raw::{RawConfig, RawField, RawSlots};
use graylane_tests::client::{self, Ask};
use graylane_tests::document::{entries, slots};
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::stage::Stage;
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
    poll::until("the count", PATIENCE, || {
        let lapsed = envoy.stats()?.sum("graylane_lane_total", &[("reason", "expired")]);
        ensure!(lapsed >= 1.0, "{lapsed} lapsed picks");
        Ok(())
    })
}

fn everybody_to_canary(document: &mut RawConfig, expires: u64) {
    for entry in entries(document) {
        entry.slots = Some(RawSlots { expires_unix: Some(expires), ..slots(10_000) });
        entry.stickiness.unit = vec![RawField::Header("x-user-id".into())];
    }
}

fn text(port: u16, ask: &Ask) -> Result<String> {
    Ok(client::once(port, ask)?.text())
}

pub fn unix_now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("a clock after 1970")?.as_secs())
}
