//! Whose failure it is: each service on the way tells its own from those of the services it calls.

use anyhow::{Result, ensure};
use graylane_tests::client::{self, Ask};
use graylane_tests::on_every_envoy;
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::Stage;

use crate::readmes::CHAIN;

on_every_envoy!(failures_are_own_downstream_or_unknown);

/// Admin ports of the sidecars on the way of a stable request.
const FRONTEND: u16 = 9911;
const CART: u16 = 9913;
const ORDERS: u16 = 9914;

fn failures_are_own_downstream_or_unknown(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    let _running = scenario.start_all(&CHAIN)?;
    for (proxy, roles) in [(FRONTEND, ["inbound", "outbound"]), (CART, ["inbound", "outbound"])] {
        for role in roles {
            scenario.admin(proxy).wait_for_generation(role, 1, 2)?;
        }
    }
    scenario.admin(ORDERS).wait_for_generation("inbound", 1, 2)?;

    fails(&scenario, "/?fail=orders:503", 1)?;
    counts(&scenario, ORDERS, "orders.shop", [1.0, 0.0, 0.0])?;
    counts(&scenario, CART, "cart.shop", [0.0, 1.0, 0.0])?;
    counts(&scenario, FRONTEND, "frontend.shop", [0.0, 1.0, 0.0])?;

    // The calls below succeed, so it is nobody else's.
    fails(&scenario, "/?fail=cart:500", 2)?;
    counts(&scenario, ORDERS, "orders.shop", [1.0, 0.0, 0.0])?;
    counts(&scenario, CART, "cart.shop", [1.0, 1.0, 0.0])?;
    counts(&scenario, FRONTEND, "frontend.shop", [0.0, 2.0, 0.0])?;

    // Applications that forward no trace id: calls failed meanwhile, but nobody knows for whom.
    fails(&scenario, "/?fail=orders:503&forward=none", 3)?;
    counts(&scenario, ORDERS, "orders.shop", [2.0, 0.0, 0.0])?;
    counts(&scenario, CART, "cart.shop", [1.0, 1.0, 1.0])?;
    counts(&scenario, FRONTEND, "frontend.shop", [0.0, 2.0, 1.0])
}

fn fails(scenario: &Scenario, path: &str, trace: u32) -> Result<()> {
    let ask = Ask::get("127.0.0.1", path).header("traceparent", format!("00-{trace:032x}-00f067aa0ba902b7-01"));
    let answer = client::once(scenario.port(10000), &ask)?;
    ensure!(answer.status.is_server_error(), "{path}: {} {}", answer.status, answer.text());
    Ok(())
}

/// Failures on the inbound side of a proxy: own, downstream, unknown.
fn counts(scenario: &Scenario, proxy: u16, service: &str, wanted: [f64; 3]) -> Result<()> {
    for (origin, wanted) in ["own", "downstream", "unknown"].into_iter().zip(wanted) {
        let labels = [("direction", "inbound"), ("service", service), ("origin", origin)];
        scenario.admin(proxy).wait_for_sum("graylane_failures_total", &labels, wanted)?;
    }
    Ok(())
}
