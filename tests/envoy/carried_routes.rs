//! `routeBy: carried`: routes that match the carried header, as users may already have them.

use anyhow::{Result, ensure};
use graylane_policy::raw::{RawConfig, RouteBy};
use graylane_tests::client::{self, Ask};
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy, paths};

use crate::cart::{self, Cart, OUTBOUND, received, who};

on_every_envoy!(gateway_leads_to_routes_on_the_carried_header, sidecar_leads_to_routes_on_the_carried_header);

fn gateway_leads_to_routes_on_the_carried_header(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_bootstrap("trust", routes_on_the_carried_header)?;
    ecds::change(&scenario.folder.join("ecds/gateway.json"), by_carried_header)?;
    let envoy = scenario.start()?;
    envoy.wait_for_generation("gateway", 2, 2)?;
    for (tester, version, lane) in [("yes", "orders canary", "canary"), ("no", "orders stable", "-")] {
        let ask = Ask::get("127.0.0.1", "/").header("x-tester", tester).header("x-release-stage", "canary");
        let text = client::once(scenario.port(10000), &ask)?.text();
        ensure!(text.starts_with(version), "{tester}: {text}");
        ensure!(text.contains(&format!("x-release-stage: {lane}")), "{tester}: {text}");
        ensure!(text.contains("x-graylane-route: -"), "{tester}: {text}");
    }
    Ok(())
}

fn sidecar_leads_to_routes_on_the_carried_header(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("chain", &paths::filter()?, |file, text| match file {
        "cart-stable.yaml" => routes_on_the_carried_header(&text),
        _ => text,
    })?;
    cart::change(&scenario, "outbound", by_carried_header)?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        let call = || Ask::get("orders", "/");
        for (ask, expected) in [
            (call().header("x-release-stage", "canary"), "orders canary"),
            // The carried header is repaired, and with it the route.
            (call().header("baggage", "graylane.shop=canary;cohort=slot"), "orders canary"),
            (call().header("x-release-stage", "stable"), "orders stable"),
            (call(), "orders stable"),
        ] {
            let answer = cart.send(OUTBOUND, &ask).await?;
            ensure!(who(&answer)? == expected, "{ask:?}: {}", answer.text());
            ensure!(received(&answer, "x-graylane-route")?.is_empty(), "{}", answer.text());
        }
        for (lane, requests) in [("canary", 2.0), ("stable", 2.0)] {
            cart.envoy.wait_for_sum("graylane_requests_total", &[("lane", lane)], requests)?;
        }
        cart.envoy.wait_for_sum("graylane_lane_total", &[("reason", "fallback")], 0.0)
    })
}

/// The readiness gate is given up: nothing is ready, and the user's routes decide all the same.
fn by_carried_header(document: &mut RawConfig) {
    for destination in document.groups.iter_mut().flat_map(|group| &mut group.lanes.destinations) {
        destination.route_by = RouteBy::Carried;
        destination.ready.clear();
    }
}

fn routes_on_the_carried_header(text: &str) -> String {
    let matched = text.replace("headers: [{name: x-graylane-route,", "headers: [{name: x-release-stage,");
    matched.lines().filter(|line| !line.contains("request_headers_to_remove")).map(|line| format!("{line}\n")).collect()
}
