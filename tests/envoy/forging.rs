//! A client that writes our headers itself gets stable, with the filter and without it.

use anyhow::{Result, ensure};
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy};

on_every_envoy!(forged_marks_lead_to_stable, forged_marks_lead_to_stable_without_the_filter);

/// What a lane would look like on the wire, in each place it may travel in.
const MARKS: [(&str, &str); 8] = [
    ("x-release-stage", "canary"),
    ("x-graylane-route", "canary"),
    ("x-graylane-cohort", "shop=rule"),
    ("baggage", "graylane.shop=canary;cohort=rule"),
    ("x-graylane-untrusted-x-release-stage", "canary"),
    ("x-graylane-untrusted-baggage", "graylane.shop=canary"),
    ("x-graylane-untrusted-x-graylane-route", "canary"),
    ("x-graylane-lane", "canary"),
];

fn forged_marks_lead_to_stable(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("trust")?;
    let _envoy = scenario.start()?;
    at_once(every_forgery_gets_stable(&scenario))
}

fn forged_marks_lead_to_stable_without_the_filter(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("trust")?;
    let envoy = scenario.start()?;
    ecds::make_inert(&scenario.folder.join("ecds/gateway.json"))?;
    let reloads = "extension_config_discovery.http_filter.graylane.gateway.config_reload";
    poll::until_true("the filter to go", PATIENCE, || envoy.counter(reloads).is_ok_and(|reloads| reloads >= 2))?;
    at_once(every_forgery_gets_stable(&scenario))
}

async fn every_forgery_gets_stable(scenario: &Scenario) -> Result<()> {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = Connection::open(scenario.port(10000), protocol).await?;
        for ask in forgeries() {
            let answer = connection.send(&ask).await?;
            let text = answer.text();
            ensure!(
                text.starts_with("orders stable") && text.contains("x-graylane-route: -"),
                "{protocol:?} {ask:?}: {text}"
            );
            ensure!(text.contains("x-release-stage: -"), "{protocol:?} {ask:?}: {text}");
        }
    }
    Ok(())
}

/// Every mark alone, twice, with an innocent value before it, and all of them together.
fn forgeries() -> Vec<Ask> {
    let get = || Ask::get("127.0.0.1", "/");
    let mut asks = vec![MARKS.iter().fold(get(), |ask, (name, value)| ask.header(name, value))];
    for (name, value) in MARKS {
        asks.push(get().header(name, value));
        asks.push(get().header(name, value).header(name, value));
        asks.push(get().header(name, "stable").header(name, value));
        asks.push(get().header(name, "").header(name, value));
        asks.push(get().header(name, format!("{value},{value}")));
        asks.push(get().header(name, format!(" {value} ")));
    }
    asks
}
