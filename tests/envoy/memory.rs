//! Memory and the number of series stay where they are, however many traces, users and hosts pass.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane_policy::raw::{ClientMarks, RawConfig, RawEntry, RawField};
use graylane_tests::document::slots;
use graylane_tests::envoy::Envoy;
use graylane_tests::on_every_envoy;
use graylane_tests::paths;
use graylane_tests::stage::{Stage, at_once};

use crate::cart::{self, Cart, INBOUND, OUTBOUND};

on_every_envoy!(memory_and_series_stay_where_they_are);

/// To each side; several times the slots of the trace ring, so that it is full.
const WARM_UP: u32 = 9_000;
/// To each side.
const REQUESTS: u32 = 42_000;
/// To each side; each has one request under way.
const CONNECTIONS: u32 = 50;
/// Twelve bytes for each request. A key or a series for each trace or user would take several times as
/// much.
const ALLOWED_KB: u64 = 1024;

fn memory_and_series_stay_where_they_are(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("chain", &paths::filter()?, |file, text| match file {
        "cart-stable.yaml" => answering_by_itself(&text),
        _ => text,
    })?;
    for side in ["inbound", "outbound"] {
        cart::change(&scenario, side, choose_by_user)?;
    }
    let cart = at_once(Cart::start(scenario))?;
    let mut clients = connect(&cart)?;
    send(&mut clients, 1, WARM_UP)?;
    let before = Footprint::of(&cart.envoy)?;
    send(&mut clients, WARM_UP + 1, WARM_UP + REQUESTS)?;
    let after = Footprint::of(&cart.envoy)?;
    ensure!(after.series == before.series, "{before:?} became {after:?}");
    ensure!(after.allocated_kb <= before.allocated_kb + ALLOWED_KB, "{before:?} became {after:?}");
    ensure!(after.resident_kb <= before.resident_kb + ALLOWED_KB, "{before:?} became {after:?}");
    let counted = cart.envoy.stats()?.sum("graylane_requests_total", &[]);
    ensure!(counted == f64::from(2 * (WARM_UP + REQUESTS)), "{counted} requests were counted");
    Ok(())
}

/// Every route answers at once; calls of `payment` fail, so that failures are noted in the ring too.
fn answering_by_itself(text: &str) -> String {
    let payment =
        without_access_log(text).replace("route: {cluster: payment-stable}", "direct_response: {status: 503}");
    let clusters = ["app", "cart-stable", "orders-stable", "orders-canary"];
    clusters.iter().fold(payment, |text, cluster| {
        text.replace(&format!("route: {{cluster: {cluster}}}"), "direct_response: {status: 200}")
    })
}

/// Two lines for each request would only cost time.
fn without_access_log(text: &str) -> String {
    let mut parts = text.split("          access_log:\n");
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        rest.push_str(part.find("          http_filters:\n").and_then(|end| part.get(end..)).unwrap_or(part));
    }
    rest
}

fn choose_by_user(document: &mut RawConfig) {
    for group in &mut document.groups {
        let mut entry = RawEntry { slots: Some(slots(5_000)), ..RawEntry::default() };
        entry.stickiness.unit = vec![RawField::Header("x-user-id".into())];
        group.entry = Some(entry);
        group.client_marks = Some(ClientMarks::Accept);
    }
}

/// Connections to both sides in turn.
fn connect(cart: &Cart) -> Result<Vec<TcpStream>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        for side in [INBOUND, OUTBOUND] {
            let client = TcpStream::connect(("127.0.0.1", cart.scenario.port(side)))?;
            client.set_read_timeout(Some(Duration::from_secs(10)))?;
            client.set_nodelay(true)?;
            clients.push(client);
        }
    }
    Ok(clients)
}

/// Sends the requests of these numbers to both sides, one at a time on each connection.
fn send(clients: &mut [TcpStream], first: u32, last: u32) -> Result<()> {
    let numbers: Vec<u32> = (first..=last).collect();
    for some in numbers.chunks(CONNECTIONS as usize) {
        for (number, sides) in some.iter().zip(clients.chunks_mut(2)) {
            let text = request(*number);
            for client in sides {
                client.write_all(text.as_bytes())?;
            }
        }
        for client in clients.iter_mut().take(2 * some.len()) {
            read_answer(client)?;
        }
    }
    Ok(())
}

/// A request with a value of its own in every place the filter looks at; half of them in a lane.
fn request(number: u32) -> String {
    let host = match number % 4 {
        0 => "orders",
        1 => "payment",
        2 => "cart",
        _ => &format!("h{number}.example"),
    };
    let mut text = format!("GET /p{number}?version={number} HTTP/1.1\r\nhost: {host}\r\nx-user-id: u{number}\r\n");
    let lane = if number.is_multiple_of(8) { format!("lane{number}") } else { "canary".into() };
    if number.is_multiple_of(2) {
        let _ = write!(text, "x-release-stage: {lane}\r\nx-graylane-cohort: g{number}=slot,shop=slot\r\n");
    }
    let _ = write!(text, "traceparent: 00-{number:032x}-{:016x}-01\r\n\r\n", number + 1);
    text
}

/// Reads an answer without a body.
fn read_answer(client: &mut TcpStream) -> Result<()> {
    let mut buffer = [0; 4096];
    let mut end = 0;
    while !buffer[..end].ends_with(b"\r\n\r\n") {
        let read = client.read(&mut buffer[end..]).context("an answer")?;
        ensure!(read > 0, "the connection was closed");
        end += read;
    }
    Ok(())
}

/// What a proxy takes.
#[derive(Debug)]
struct Footprint {
    series: usize,
    /// What Envoy's allocator has given out.
    allocated_kb: u64,
    /// With the memory of the module, which is not of that allocator.
    resident_kb: u64,
}

// === impl Footprint ===

impl Footprint {
    fn of(envoy: &Envoy) -> Result<Self> {
        Ok(Self {
            series: envoy.stats()?.series("graylane_"),
            allocated_kb: envoy.allocated_kb()?,
            resident_kb: envoy.resident_kb()?,
        })
    }
}
