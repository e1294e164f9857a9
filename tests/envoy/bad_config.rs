//! A config that the filter refuses changes nothing: Envoy counts it, the last good one serves.

use std::path::Path;

use anyhow::{Result, ensure};
use graylane_tests::client::Ask;
use graylane_tests::envoy::Envoy;
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::Stage;
use graylane_tests::{client, ecds, on_every_envoy};

on_every_envoy!(refused_config_leaves_the_last_good_one_serving);

/// Each is wrong in another way: no JSON, an unknown field, another version, a lane that is not
/// named, a table of slots with a gap, nothing at all.
const BAD: [&str; 6] = [
    "{",
    r#"{"version":1,"generation":9,"role":"gateway","gropus":[]}"#,
    r#"{"version":2,"generation":9,"role":"gateway","groups":[]}"#,
    r#"{"version":1,"generation":9,"role":"gateway","groups":[{"name":"shop","rollout":"shop/summer","entry":{"rules":[{"name":"a","lane":"canaly","when":{"match":{"field":"path","is":"present"}}}]},"lanes":{"names":["canary"]}}]}"#,
    r#"{"version":1,"generation":9,"role":"gateway","groups":[{"name":"shop","rollout":"shop/summer","entry":{"slots":{"salt":"s","runs":[{"until":500,"lane":"canary"}]}},"lanes":{"names":["canary"]}}]}"#,
    "",
];

fn refused_config_leaves_the_last_good_one_serving(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("header")?;
    let envoy = scenario.start()?;
    let file = scenario.folder.join("ecds/gateway.json");
    let good = ecds::document(&file)?;
    for (number, bad) in (1..).zip(BAD) {
        ecds::change_text(&file, bad)?;
        refusals(&envoy, number)?;
        still_chooses(&scenario, bad)?;
    }
    a_good_config_is_taken_up_again(&scenario, &envoy, &file, &good)
}

fn a_good_config_is_taken_up_again(scenario: &Scenario, envoy: &Envoy, file: &Path, good: &str) -> Result<()> {
    ecds::change_text(file, good)?;
    ecds::change(file, |document| document.generation = 20)?;
    envoy.wait_for_generation("gateway", 20, 2)?;
    still_chooses(scenario, "a good config")
}

fn refusals(envoy: &Envoy, wanted: u64) -> Result<()> {
    poll::until("the refusal", PATIENCE, || {
        let counted = envoy.counter(&counter("config_fail"))?;
        ensure!(counted == wanted, "config_fail is {counted}, not {wanted}");
        Ok(())
    })
}

fn still_chooses(scenario: &Scenario, after: &str) -> Result<()> {
    for (group, expected) in [("beta", "orders canary"), ("alpha", "orders stable")] {
        let ask = Ask::get("127.0.0.1", "/").header("x-user-group", group);
        let answer = client::once(scenario.port(10000), &ask)?.text();
        ensure!(answer == expected, "after {after}: {group} got {answer}");
    }
    Ok(())
}

fn counter(name: &str) -> String {
    format!("extension_config_discovery.http_filter.graylane.gateway.{name}")
}
