//! Metrics come out of Envoy as real Prometheus labels, and clients cannot make their number grow.

use anyhow::{Result, ensure};
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::envoy::Envoy;
use graylane_tests::on_every_envoy;
use graylane_tests::stage::{Stage, at_once};

on_every_envoy!(outcomes_carry_their_labels, series_do_not_grow_with_what_clients_send);

fn outcomes_carry_their_labels(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("header")?;
    let envoy = scenario.start()?;
    at_once(async {
        let mut connection = Connection::open(scenario.port(10000), Protocol::Http1).await?;
        for group in ["beta", "alpha", "beta"] {
            let ask = Ask::get("127.0.0.1", "/").header("x-user-group", group);
            connection.send(&ask).await?;
        }
        Ok(())
    })?;
    let outcome = |lane: &'static str, cohort: &'static str| {
        [
            ("service", "orders.shop"),
            ("rollout", "shop/summer"),
            ("lane", lane),
            ("cohort", cohort),
            ("direction", "gateway"),
            ("status_code", "200"),
        ]
    };
    envoy.wait_for_sum("graylane_requests_total", &outcome("canary", "rule"), 2.0)?;
    envoy.wait_for_sum("graylane_requests_total", &outcome("stable", "slot"), 1.0)?;
    envoy.wait_for_sum("graylane_requests_total", &[], 3.0)?;
    envoy.wait_for_sum("graylane_request_milliseconds", &[("lane", "canary")], 2.0)
}

fn series_do_not_grow_with_what_clients_send(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("trust")?;
    let envoy = scenario.start()?;
    at_once(async {
        let mut connection = Connection::open(scenario.port(10000), Protocol::Http2).await?;
        for number in 0..500 {
            connection.send(&inventive(number)).await?;
        }
        let before = envoy.stats()?.series("graylane_");
        for number in 500..3_000 {
            connection.send(&inventive(number)).await?;
        }
        let after = envoy.stats()?.series("graylane_");
        ensure!(before == after, "{before} series became {after}: {:#?}", ours(&envoy)?);
        Ok(())
    })
}

/// A request with a value of its own in every place the filter looks at.
fn inventive(number: u32) -> Ask {
    let host = if number.is_multiple_of(2) { "127.0.0.1".to_owned() } else { format!("h{number}.example") };
    Ask::get(&host, &format!("/p{number}?env=e{number}&version={number}"))
        .header("x-tester", if number.is_multiple_of(3) { "yes".to_owned() } else { number.to_string() })
        .header("x-release-stage", format!("lane{number}"))
        .header("x-graylane-cohort", format!("shop=c{number}"))
        .header("x-graylane-route", format!("r{number}"))
        .header("baggage", format!("graylane.shop=l{number},k{number}=v{number}"))
        .header("traceparent", format!("00-{number:032x}-{number:016x}-01"))
        .header("cookie", format!("graylane-unit=u{number}; c{number}=1"))
        .header("x-user-id", number.to_string())
}

fn ours(envoy: &Envoy) -> Result<Vec<String>> {
    let stats = envoy.stats()?;
    let names = ["graylane_requests_total", "graylane_lane_total", "graylane_context_total"];
    let samples = names.iter().flat_map(|name| stats.of(name));
    Ok(samples.map(|sample| format!("{sample:?}")).collect())
}
