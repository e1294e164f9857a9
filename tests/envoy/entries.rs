//! An entry on a sidecar: a filter of its own, before the one that carries the lane and counts.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use graylane_policy::raw::{RawCondition, RawConfig, RawOperator};
use graylane_tests::client::{Answer, Ask};
use graylane_tests::envoy::Envoy;
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{on_every_envoy, paths};

use crate::cart::{self, Cart, INBOUND, OUTBOUND, received, who};

on_every_envoy!(
    first_service_chooses_for_what_comes_in,
    first_service_does_not_believe_its_clients,
    client_chooses_for_what_it_sends,
);

const ROUTER: &str = "          - name: envoy.filters.http.router\n";

fn first_service_chooses_for_what_comes_in(stage: &Stage) -> Result<()> {
    let scenario = sidecar_with_entry(stage, "inbound")?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        cart.envoy.wait_for_generation("entry", 1, 2)?;
        let tester = cart.send(INBOUND, &tester("cart")).await?;
        is_marked(&tester)?;
        is_not_marked(&cart.send(INBOUND, &Ask::get("cart", "/")).await?)?;
        counted_once(&cart.envoy, "inbound", [("cart.shop", "fallback"), ("cart.shop", "slot")])?;
        each_reloads_alone(&cart, "inbound", "outbound")
    })
}

fn first_service_does_not_believe_its_clients(stage: &Stage) -> Result<()> {
    let scenario = sidecar_with_entry(stage, "inbound")?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        cart.envoy.wait_for_generation("entry", 1, 2)?;
        for (header, value) in [
            ("x-release-stage", "canary"),
            ("x-graylane-cohort", "shop=slot"),
            ("x-graylane-route", "canary"),
            ("baggage", "graylane.shop=canary;cohort=slot"),
        ] {
            let forged = Ask::get("cart", "/").header(header, value);
            is_not_marked(&cart.send(INBOUND, &forged).await?)?;
            is_marked(&cart.send(INBOUND, &forged.header("x-user-group", "beta")).await?)?;
        }
        cart.envoy.wait_for_sum("graylane_context_total", &[("lane", "canary")], 4.0)?;
        cart.envoy.wait_for_sum("graylane_context_total", &[("lane", "stable")], 4.0)
    })
}

fn client_chooses_for_what_it_sends(stage: &Stage) -> Result<()> {
    let scenario = sidecar_with_entry(stage, "outbound")?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        cart.envoy.wait_for_generation("entry", 1, 2)?;
        let tester = cart.send(OUTBOUND, &tester("orders")).await?;
        ensure!(who(&tester)? == "orders canary", "{}", tester.text());
        is_marked(&tester)?;
        let other = cart.send(OUTBOUND, &Ask::get("orders", "/")).await?;
        ensure!(who(&other)? == "orders stable", "{}", other.text());
        is_not_marked(&other)?;
        counted_once(&cart.envoy, "outbound", [("orders.shop", "rule"), ("orders.shop", "slot")])?;
        each_reloads_alone(&cart, "outbound", "inbound")
    })
}

/// The chain with the additional filter that chooses lanes before the one of this side, and its document as
/// `graylane render` writes it.
pub fn sidecar_with_entry(stage: &Stage, side: &str) -> Result<Scenario> {
    let scenario = stage.copy_with("chain", &paths::filter()?, |file, text| match file {
        "cart-stable.yaml" => with_entry_filter(&text, side).expect("the sidecar has a filter of this side"),
        _ => text,
    })?;
    let output = Command::new(paths::graylane_dir()?.join("graylane"))
        .args(["render", "-f", "release/summer.yaml", "--role", side, "--entry", "--output", "ecds", "--module"])
        .arg(paths::filter()?)
        .current_dir(&scenario.folder)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(scenario.folder.join(cart::file("entry")), output.stdout)?;
    Ok(scenario)
}

fn with_entry_filter(text: &str, side: &str) -> Option<String> {
    let name = format!("          - name: graylane.{side}\n");
    let (before, rest) = text.split_once(&name)?;
    let (config, after) = rest.split_once(ROUTER)?;
    let entry = config.replace(&cart::file(side), &cart::file("entry"));
    let own = if side == "outbound" { "graylane.entry.outbound" } else { "graylane.entry" };
    Some(format!("{before}          - name: {own}\n{entry}{name}{config}{ROUTER}{after}"))
}

fn tester(authority: &str) -> Ask {
    Ask::get(authority, "/").header("x-user-group", "beta")
}

fn is_marked(answer: &Answer) -> Result<()> {
    for (header, value) in [("x-release-stage", "canary"), ("x-graylane-cohort", "shop=rule")] {
        ensure!(received(answer, header)? == [value], "{header}: {}", answer.text());
    }
    has_no_route_header(answer)
}

fn is_not_marked(answer: &Answer) -> Result<()> {
    for header in ["x-release-stage", "x-graylane-cohort", "baggage"] {
        ensure!(received(answer, header)?.is_empty(), "{header}: {}", answer.text());
    }
    has_no_route_header(answer)
}

fn has_no_route_header(answer: &Answer) -> Result<()> {
    ensure!(received(answer, "x-graylane-route")?.is_empty(), "{}", answer.text());
    Ok(())
}

/// Two requests went through two filters of ours: the entry counts why a lane was chosen, the other
/// one where it came from and what became of it.
fn counted_once(envoy: &Envoy, side: &str, requests: [(&str, &str); 2]) -> Result<()> {
    for (service, cohort) in requests {
        let labels = [("service", service), ("cohort", cohort), ("direction", side)];
        envoy.wait_for_sum("graylane_requests_total", &labels, 1.0)?;
    }
    envoy.wait_for_sum("graylane_requests_total", &[], 2.0)?;
    envoy.wait_for_sum("graylane_request_milliseconds", &[], 2.0)?;
    envoy.wait_for_sum("graylane_lane_total", &[("lane", "canary"), ("reason", "rule")], 1.0)?;
    envoy.wait_for_sum("graylane_lane_total", &[("lane", "canary"), ("reason", "header")], 1.0)?;
    envoy.wait_for_sum("graylane_context_total", &[], 2.0)?;
    envoy.wait_for_sum("graylane_context_total", &[("source", "header"), ("lane", "canary")], 1.0)?;
    envoy.wait_for_sum("graylane_open_streams", &[], 0.0)
}

/// Each of the three filters of the proxy has gauges of its own, and a new document of one leaves the
/// others where they are.
fn each_reloads_alone(cart: &Cart, side: &str, other: &str) -> Result<()> {
    let standing = |entry: u64, mine: u64| -> Result<()> {
        for (role, generation) in [("entry", entry), (side, mine), (other, 1)] {
            cart.envoy.wait_for_generation(role, generation, 2)?;
            let filter = if (role, side) == ("entry", "outbound") { "entry.outbound" } else { role };
            let reloads = format!("extension_config_discovery.http_filter.graylane.{filter}.config_reload");
            let reloads = cart.envoy.counter(&reloads)?;
            ensure!(reloads == generation, "{role} was loaded {reloads} times for generation {generation}");
        }
        Ok(())
    };
    standing(1, 1)?;
    cart.change("entry", |document| wish_for(document, "gamma").expect("the document has a rule"))?;
    standing(2, 1)?;
    cart.change(side, |_| ())?;
    standing(2, 2)
}

fn wish_for(document: &mut RawConfig, group: &str) -> Result<()> {
    let entry = document.groups.first_mut().and_then(|group| group.entry.as_mut()).context("no entry")?;
    let rule = entry.rules.first_mut().context("no rule")?;
    let RawCondition::Match(condition) = &mut rule.when else { anyhow::bail!("another condition") };
    condition.is = RawOperator::Exact(group.into());
    Ok(())
}
