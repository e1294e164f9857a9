//! Whatever clients send, traffic is answered as by the same Envoy without the filter, and the filter
//! goes on deciding.

use anyhow::{Context, Result, ensure};
use graylane_policy::raw::{ClientMarks, RawConfig, RawTrace, Role};
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::envoy::Envoy;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy, paths};

use crate::cart::{self, Cart, INBOUND, OUTBOUND, received, who};
use crate::hostile_input;
use crate::trap::CRASH;

on_every_envoy!(
    gateway_answers_hostile_requests_as_without_the_filter,
    sidecar_answers_hostile_requests_as_without_the_filters,
);

fn gateway_answers_hostile_requests_as_without_the_filter(stage: &Stage) -> Result<()> {
    let [curious, bare] = [(); 2].map(|()| stage.copy_with("trust", &paths::filter()?, raise_limits));
    let (curious, bare) = (curious?, bare?);
    let document = reading_everything(Role::Gateway, "127.0.0.1")?;
    ecds::change(&curious.folder.join("ecds/gateway.json"), |now| *now = document)?;
    ecds::make_inert(&bare.folder.join("ecds/gateway.json"))?;
    let (with, _without) = (curious.start()?, bare.start()?);
    with.wait_for_generation("gateway", 2, 2)?;
    at_once(async {
        same_answers([curious.port(10000), bare.port(10000)], "127.0.0.1").await?;
        let mut connection = Connection::open(curious.port(10000), Protocol::Http1).await?;
        for (tester, expected) in [("yes", "orders canary"), ("no", "orders stable")] {
            let text = connection.send(&Ask::get("127.0.0.1", "/").header("x-tester", tester)).await?.text();
            ensure!(text.starts_with(expected), "{tester}: {text}");
        }
        Ok(())
    })?;
    never_crashed(&with)
}

fn sidecar_answers_hostile_requests_as_without_the_filters(stage: &Stage) -> Result<()> {
    let [curious, bare] = [(); 2].map(|()| stage.copy_with("chain", &paths::filter()?, raise_limits));
    let (curious, bare) = (curious?, bare?);
    for (side, role, host) in [("inbound", Role::Inbound, "cart"), ("outbound", Role::Outbound, "orders")] {
        let document = reading_everything(role, host)?;
        cart::change(&curious, side, |now| *now = document)?;
    }
    at_once(async {
        let (with, without) = (Cart::start(curious).await?, Cart::without_filters(bare).await?);
        for (side, host) in [(INBOUND, "cart"), (OUTBOUND, "orders")] {
            same_answers([with.scenario.port(side), without.scenario.port(side)], host).await?;
        }
        let tester = |host: &str| Ask::get(host, "/").header("x-tester", "yes");
        let inbound = with.send(INBOUND, &tester("cart")).await?;
        ensure!(received(&inbound, "x-release-stage")? == ["canary"], "{}", inbound.text());
        ensure!(who(&with.send(OUTBOUND, &tester("orders")).await?)? == "orders canary", "a tester's call");
        ensure!(who(&with.send(OUTBOUND, &Ask::get("orders", "/")).await?)? == "orders stable", "another call");
        never_crashed(&with.envoy)
    })
}

/// A document of generation 2 that looks at every part of a request.
fn reading_everything(role: Role, host: &str) -> Result<RawConfig> {
    let mut document: RawConfig = serde_json::from_str(include_str!("hostile.json")).context("hostile.json")?;
    (document.role, document.generation) = (role, 2);
    for group in &mut document.groups {
        for destination in &mut group.lanes.destinations {
            destination.hosts = vec![host.to_owned()];
        }
        let ring = RawTrace { workloads: vec!["*".into()], ttl_ms: 10_000 };
        let is_sidecar = role != Role::Gateway;
        group.lanes.trace = is_sidecar.then_some(ring);
        // So that marks are read, not only taken away.
        group.client_marks = is_sidecar.then_some(ClientMarks::Accept);
    }
    Ok(document)
}

/// Envoy refuses more than 100 headers and 60 kB by itself; the filter must see more than that.
fn raise_limits(file: &str, text: String) -> String {
    if !["envoy.yaml", "cart-stable.yaml"].contains(&file) {
        return text;
    }
    let limits = "max_request_headers_kb: 512\n          \
                  common_http_protocol_options: {max_headers_count: 4000}\n          stat_prefix: ";
    text.replace("stat_prefix: ", limits)
}

/// Sends every hostile request to the proxy with the filter and to the one without.
async fn same_answers([with, without]: [u16; 2], host: &str) -> Result<()> {
    let mut served = 0;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for (what, ask) in hostile_input::to(host) {
            let filtered = status(with, protocol, &ask).await;
            let plain = status(without, protocol, &ask).await;
            ensure!(filtered == plain, "{host} {protocol:?} {what}: {filtered}, without filter {plain}");
            served += u32::from(filtered.starts_with("200"));
        }
    }
    // If Envoy refused them all by itself, nothing would have reached the filter.
    ensure!(served > 500, "only {served} requests reached the filter");
    Ok(())
}

async fn status(port: u16, protocol: Protocol, ask: &Ask) -> String {
    let answer = async { Connection::open(port, protocol).await?.send(ask).await };
    match answer.await {
        Ok(answer) => answer.status.to_string(),
        Err(error) => format!("no answer: {error}"),
    }
}

/// A worker whose module has crashed would say so, and would be reloaded or bypassed.
fn never_crashed(envoy: &Envoy) -> Result<()> {
    let all = envoy.counters_with("vm_reload")?;
    ensure!(all.iter().all(|(_, count)| *count == 0), "{all:?}");
    let log = envoy.log_text();
    ensure!(!log.contains(CRASH), "the module crashed: {log}");
    Ok(())
}
