//! A module that crashes costs one request; after that everything goes to stable until a new config.

use anyhow::{Result, ensure};
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy, paths};

on_every_envoy!(crash_costs_one_request_and_the_next_config_heals);

fn crash_costs_one_request_and_the_next_config_heals(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("header", &paths::filter_that_traps()?, |_, text| text)?;
    let envoy = scenario.start()?;
    let tester = Ask::get("127.0.0.1", "/").header("x-user-group", "beta");

    expect(&scenario, &tester, "200 orders canary")?;
    let crash = tester.clone().header("x-graylane-trap", "1");
    ensure!(answer(&scenario, &crash)?.starts_with("503"), "the crash must cost its own request");
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
    at_once(async {
        let mut connection = Connection::open(scenario.port(10000), Protocol::Http1).await?;
        let answer = connection.send(ask).await?;
        Ok(format!("{} {}", answer.status.as_u16(), answer.text()))
    })
}
