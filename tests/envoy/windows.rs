//! A rule holds in its time window, by the clock of the proxy.

use anyhow::{Result, ensure};
use graylane_policy::raw::{RawField, RawOperator, RawRule};
use graylane_tests::client::{self, Ask};
use graylane_tests::document::{entries, matching, rule};
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::stage::Stage;
use graylane_tests::{ecds, on_every_envoy};

use crate::expiry::unix_now;

on_every_envoy!(rules_hold_in_their_time_window);

fn rules_hold_in_their_time_window(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("header")?;
    let envoy = scenario.start()?;
    let turn = unix_now()? + 3;
    ecds::change(&scenario.folder.join("ecds/gateway.json"), |document| {
        for entry in entries(document) {
            entry.rules = vec![
                window("over", None, Some(turn)),
                window("soon", Some(turn), Some(turn + 600)),
                window("much-later", Some(turn + 600), None),
            ];
        }
    })?;
    envoy.wait_for_generation("gateway", 2, 2)?;
    let lanes = || -> Result<Vec<String>> {
        let ask = |name| Ask::get("127.0.0.1", "/").header(name, "1");
        let text = |name| Ok(client::once(scenario.port(10000), &ask(name))?.text());
        ["over", "soon", "much-later"].into_iter().map(text).collect()
    };
    let before = lanes()?;
    ensure!(unix_now()? < turn, "this machine is too slow for the test");
    ensure!(before == ["orders canary", "orders stable", "orders stable"], "{before:?}");
    poll::until("the turn", PATIENCE, || {
        let after = lanes()?;
        ensure!(after == ["orders stable", "orders canary", "orders stable"], "{after:?}");
        Ok(())
    })?;
    ensure!(unix_now()? >= turn, "it came early");
    Ok(())
}

/// A rule for requests that have the header of its name.
fn window(name: &str, from_unix: Option<u64>, until_unix: Option<u64>) -> RawRule {
    let when = matching(RawField::Header(name.into()), RawOperator::Present);
    RawRule { from_unix, until_unix, ..rule(name, when) }
}
