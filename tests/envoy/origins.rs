//! Whose failure it is: each service on the way tells its own from those of the services it calls.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context, Result, ensure};
use graylane_policy::specimen::{PARTS, Specimen};
use graylane_tests::client::{self, Ask};
use graylane_tests::on_every_envoy;
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::Stage;
use graylane_tests::stats::Stats;

use crate::readmes::CHAIN;

on_every_envoy!(
    failures_are_own_downstream_or_unknown,
    a_failed_request_of_a_lane_is_named_where_it_failed,
    a_service_that_hangs_is_told_from_users_who_leave,
);

/// Admin port of the gateway.
const GATEWAY: u16 = 9901;
/// Admin ports of the sidecars on the way of a stable request.
const FRONTEND: u16 = 9911;
const CART: u16 = 9913;
const ORDERS: u16 = 9914;
/// The sidecar of the version in the lane.
const ORDERS_CANARY: u16 = 9915;
/// How the metrics that a request's id travels in end.
const PART_NAMES: [&str; PARTS] = ["0", "1", "2", "3", "check"];

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

fn a_failed_request_of_a_lane_is_named_where_it_failed(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    let _running = scenario.start_all(&CHAIN)?;
    for (proxy, role) in [(CART, "outbound"), (ORDERS_CANARY, "inbound"), (ORDERS, "inbound")] {
        scenario.admin(proxy).wait_for_generation(role, 1, 2)?;
    }
    let ask = |path: &str, trace: u32| {
        let ask = Ask::get("127.0.0.1", path).header("x-user-group", "beta").header("traceparent", parent(trace));
        client::once(scenario.port(10000), &ask)
    };
    ensure!(ask("/", 1)?.status == 200, "nothing fails yet");
    ensure!(ask("/?fail=orders-canary:503", 2)?.status.is_server_error(), "the canary of orders was not reached");
    // Who called it, and who was called.
    for (proxy, direction) in [(CART, "outbound"), (ORDERS_CANARY, "inbound")] {
        poll::until("the failed request to be named", PATIENCE, || {
            let named = named(&scenario, proxy, "orders.shop", direction)?.context("no request is named")?;
            ensure!(named == trace_id(2), "{direction}: {named}");
            Ok(())
        })?;
    }
    // Cart failed because orders did, and says so only as the caller.
    fails(&scenario, "/?fail=orders-stable:503", 3)?;
    counts(&scenario, ORDERS, "orders.shop", [1.0, 0.0, 0.0])?;
    for (proxy, service) in [(CART, "cart.shop"), (ORDERS, "orders.shop")] {
        let named = named(&scenario, proxy, service, "inbound")?;
        ensure!(named.is_none(), "{service} names {named:?}");
    }
    Ok(())
}

fn a_service_that_hangs_is_told_from_users_who_leave(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    let _running = scenario.start_all(&CHAIN)?;
    for (proxy, role) in [(GATEWAY, "gateway"), (CART, "inbound"), (CART, "outbound"), (ORDERS_CANARY, "inbound")] {
        scenario.admin(proxy).wait_for_generation(role, 1, 2)?;
    }
    // Cart gives up and fails. It may answer before its proxy has seen the call end, so whose failure that was is
    // either one's; orders has answered nothing.
    let hangs = Ask::get("127.0.0.1", "/?delay=orders-canary:60000&limit=cart:300").header("x-user-group", "beta");
    let answer = client::once(scenario.port(10000), &hangs.header("traceparent", parent(1)))?;
    ensure!(answer.status.is_server_error(), "{} {}", answer.status, answer.text());
    let calls = [("direction", "outbound"), ("service", "orders.shop"), ("lane", "canary")];
    let ended = |reason| [&calls[..], &[("reason", reason)]].concat();
    let cart = scenario.admin(CART);
    cart.wait_for_sum("graylane_abandoned_total", &ended("gave_up"), 1.0)?;
    let failures = [("direction", "inbound"), ("service", "cart.shop")];
    cart.wait_for_sum("graylane_failures_total", &failures, 1.0)?;
    // The user leaves while orders has the request: nobody fails, and nobody has given up.
    let mut user = TcpStream::connect((Ipv4Addr::LOCALHOST, scenario.port(10000)))?;
    let (path, parent) = ("/?delay=orders-canary:60000", parent(2));
    write!(user, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-user-group: beta\r\ntraceparent: {parent}\r\n\r\n")?;
    cart.wait_for_sum("graylane_open_streams", &calls, 1.0)?;
    drop(user);
    cart.wait_for_sum("graylane_abandoned_total", &ended("left"), 1.0)?;
    cart.wait_for_sum("graylane_abandoned_total", &ended("gave_up"), 1.0)?;
    scenario.admin(GATEWAY).wait_for_sum("graylane_abandoned_total", &[("reason", "left")], 1.0)?;
    cart.wait_for_sum("graylane_failures_total", &failures, 1.0)?;
    cart.wait_for_sum("graylane_requests_total", &calls, 0.0)
}

/// The failed request of the lane that a proxy names, as a reader of its page makes it out.
fn named(scenario: &Scenario, proxy: u16, service: &str, direction: &str) -> Result<Option<String>> {
    let stats = scenario.admin(proxy).stats()?;
    let labels = [("service", service), ("rollout", "shop/summer"), ("lane", "canary"), ("direction", direction)];
    specimen(&stats, "failed", &labels)
}

/// The request that a page names for its trouble, `failed` or `slow`.
pub fn specimen(stats: &Stats, trouble: &str, labels: &[(&str, &str)]) -> Result<Option<String>> {
    let mut parts = [0; PARTS];
    for (value, part) in parts.iter_mut().zip(PART_NAMES) {
        let sum = stats.sum(&format!("graylane_{trouble}_trace_{part}"), labels);
        ensure!((0.0..=f64::from(u32::MAX)).contains(&sum) && sum.fract() == 0.0, "part {part} is {sum}");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
        let whole = sum as u32;
        *value = whole;
    }
    Ok(Specimen::from_parts(&parts).map(|id| id.to_string()))
}

fn trace_id(trace: u32) -> String {
    format!("{trace:08x}{:024x}", 0xabcd)
}

fn parent(trace: u32) -> String {
    format!("00-{}-00f067aa0ba902b7-01", trace_id(trace))
}

fn fails(scenario: &Scenario, path: &str, trace: u32) -> Result<()> {
    let ask = Ask::get("127.0.0.1", path).header("traceparent", parent(trace));
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
