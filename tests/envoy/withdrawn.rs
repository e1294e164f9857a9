//! A lane that a service cannot serve: who counts the fallback, and what becomes of long streams.

use anyhow::{Result, ensure};
use graylane_policy::raw::RawConfig;
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::on_every_envoy;
use graylane_tests::stage::{Stage, at_once};
use hyper::Response;
use hyper::body::Incoming;

use crate::cart::{Cart, INBOUND, OUTBOUND, received, who};

on_every_envoy!(fallback_is_counted_by_the_caller, streams_on_a_withdrawn_lane_are_counted_until_they_end);

fn fallback_is_counted_by_the_caller(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        // The stable pod of a service without a canary serves this; its caller has counted that.
        cart.send(INBOUND, &in_canary("cart")).await?;
        served_by(&cart, "orders", "orders canary").await?;
        served_by(&cart, "payment", "payment").await?;
        cart.change("outbound", nothing_is_ready)?;
        served_by(&cart, "orders", "orders stable").await?;

        cart.envoy.wait_for_sum("graylane_lane_total", &[("reason", "fallback"), ("lane", "canary")], 2.0)?;
        for service in ["orders.shop", "payment.shop"] {
            let stable = [("service", service), ("lane", "stable"), ("cohort", "fallback"), ("direction", "outbound")];
            cart.envoy.wait_for_sum("graylane_requests_total", &stable, 1.0)?;
        }
        let canary = [("service", "orders.shop"), ("lane", "canary"), ("cohort", "rule")];
        cart.envoy.wait_for_sum("graylane_requests_total", &canary, 1.0)
    })
}

fn streams_on_a_withdrawn_lane_are_counted_until_they_end(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        let open = |wanted: f64| {
            let labels = [("rollout", "shop/summer"), ("lane", "canary")];
            cart.envoy.wait_for_sum("graylane_open_streams", &labels, wanted)
        };
        let _stable = begin_stream(&cart, &Ask::get("orders", "/")).await?;
        let first = begin_stream(&cart, &in_canary("orders")).await?;
        let second = begin_stream(&cart, &in_canary("orders")).await?;
        open(2.0)?;
        drop(first);
        open(1.0)?;
        cart.change("outbound", nothing_is_ready)?;
        let _late = begin_stream(&cart, &in_canary("orders")).await?;
        open(1.0)?;
        drop(second);
        open(0.0)
    })
}

fn in_canary(authority: &str) -> Ask {
    Ask::get(authority, "/").header("x-release-stage", "canary").header("x-graylane-cohort", "shop=rule")
}

/// Whoever serves, the lane goes on.
async fn served_by(cart: &Cart, authority: &str, expected: &str) -> Result<()> {
    let answer = cart.send(OUTBOUND, &in_canary(authority)).await?;
    ensure!(who(&answer)? == expected, "{authority}: {}", answer.text());
    ensure!(received(&answer, "x-release-stage")? == ["canary"], "{}", answer.text());
    ensure!(received(&answer, "x-graylane-route")?.is_empty(), "{}", answer.text());
    Ok(())
}

fn nothing_is_ready(document: &mut RawConfig) {
    for destination in document.groups.iter_mut().flat_map(|group| &mut group.lanes.destinations) {
        destination.ready.clear();
    }
}

/// A call whose answer never ends, on a connection of its own.
async fn begin_stream(cart: &Cart, ask: &Ask) -> Result<(Connection, Response<Incoming>)> {
    let mut connection = cart.connect(OUTBOUND, Protocol::Http2).await?;
    let answer = connection.start(&ask.clone().header("x-toy-stream", "50")).await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    Ok((connection, answer))
}
