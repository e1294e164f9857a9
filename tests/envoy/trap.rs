//! A module that crashes costs one request; after that everything goes to stable until a new config.

use anyhow::{Result, ensure};
use graylane_tests::client::{self, Ask};
use graylane_tests::envoy::wait_for_text;
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::Stage;
use graylane_tests::{ecds, on_every_envoy, paths};

/// What Envoy writes to its log when the module crashes.
pub const CRASH: &str = "Function: proxy_on";

on_every_envoy!(crash_costs_one_request_and_the_next_config_heals);

fn crash_costs_one_request_and_the_next_config_heals(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("header", &paths::filter_that_traps()?, |_, text| text)?;
    let envoy = scenario.start()?;
    let tester = Ask::get("127.0.0.1", "/").header("x-user-group", "beta");

    expect(&scenario, &tester, "200 orders canary")?;
    let crash = tester.clone().header("x-graylane-trap", "1");
    ensure!(answer(&scenario, &crash)?.starts_with("503"), "the crash must cost its own request");
    wait_for_text("the crash", || envoy.log_text(), CRASH)?;
    for _ in 0..20 {
        expect(&scenario, &tester, "200 orders stable")?;
        expect(&scenario, &crash, "200 orders stable")?;
    }

    ecds::change(&scenario.folder.join("ecds/gateway.json"), |_| ())?;
    envoy.wait_for_generation("gateway", 2, 2)?;
    expect(&scenario, &tester, "200 orders canary")
}

fn expect(scenario: &Scenario, ask: &Ask, wanted: &str) -> Result<()> {
    let answer = answer(scenario, ask)?;
    ensure!(answer == wanted, "{ask:?}: {answer}, not {wanted}");
    Ok(())
}

fn answer(scenario: &Scenario, ask: &Ask) -> Result<String> {
    let answer = client::once(scenario.port(10000), ask)?;
    Ok(format!("{} {}", answer.status.as_u16(), answer.text()))
}
