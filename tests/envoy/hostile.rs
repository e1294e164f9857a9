//! Whatever clients send, traffic is answered as by the same Envoy without the filter, and the filter
//! goes on deciding.

use anyhow::{Context, Result, ensure};
use graylane_policy::raw::RawConfig;
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::envoy::Envoy;
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy, paths};

on_every_envoy!(hostile_requests_are_answered_as_without_the_filter);

/// Every header the filter may look at, and two it does not.
const NAMES: [&str; 18] = [
    "cookie",
    "baggage",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-request-id",
    "x-release-stage",
    "x-release-id",
    "x-user-group",
    "x-version",
    "x-user-id",
    "x-graylane-route",
    "x-graylane-cohort",
    "x-graylane-untrusted-x-release-stage",
    "x-graylane-untrusted-baggage",
    "user-agent",
    "x-other",
];

fn hostile_requests_are_answered_as_without_the_filter(stage: &Stage) -> Result<()> {
    let curious = scenario_that_reads_everything(stage)?;
    let bare = stage.copy_with("trust", &paths::filter()?, raise_limits)?;
    ecds::make_inert(&bare.folder.join("ecds/gateway.json"))?;
    let (with, _without) = (curious.start()?, bare.start()?);
    with.wait_for_generation("gateway", 2, 2)?;
    at_once(async {
        let mut served = 0;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            for (what, ask) in hostile() {
                let with = status(curious.port(10000), protocol, &ask).await;
                let without = status(bare.port(10000), protocol, &ask).await;
                ensure!(with == without, "{protocol:?} {what}: {with}, without filter {without}");
                served += u32::from(with.starts_with("200"));
            }
        }
        // If Envoy refused them all by itself, nothing would have reached the filter.
        ensure!(served > 400, "only {served} requests reached the filter");
        still_decides(&curious).await
    })?;
    never_crashed(&with)
}

fn scenario_that_reads_everything(stage: &Stage) -> Result<Scenario> {
    let scenario = stage.copy_with("trust", &paths::filter()?, raise_limits)?;
    let text = include_str!("hostile.json");
    let document: RawConfig = serde_json::from_str(text).context("hostile.json")?;
    ecds::change(&scenario.folder.join("ecds/gateway.json"), |now| {
        *now = RawConfig { generation: 2, ..document };
    })?;
    Ok(scenario)
}

/// Envoy refuses more than 100 headers and 60 kB by itself; the filter must see more than that.
fn raise_limits(file: &str, text: String) -> String {
    if file != "envoy.yaml" {
        return text;
    }
    let limits = "max_request_headers_kb: 512\n          \
                  common_http_protocol_options: {max_headers_count: 4000}\n          stat_prefix: ";
    text.replace("stat_prefix: ", limits)
}

async fn status(port: u16, protocol: Protocol, ask: &Ask) -> String {
    let answer = async { Connection::open(port, protocol).await?.send(ask).await };
    match answer.await {
        Ok(answer) => answer.status.to_string(),
        Err(error) => format!("no answer: {error}"),
    }
}

async fn still_decides(scenario: &Scenario) -> Result<()> {
    let mut connection = Connection::open(scenario.port(10000), Protocol::Http1).await?;
    for (tester, expected) in [("yes", "orders canary"), ("no", "orders stable")] {
        let answer = connection.send(&Ask::get("127.0.0.1", "/").header("x-tester", tester)).await?;
        ensure!(answer.text().starts_with(expected), "{tester}: {}", answer.text());
    }
    Ok(())
}

/// A worker whose module has crashed would be reloaded or bypassed; neither may have happened.
fn never_crashed(envoy: &Envoy) -> Result<()> {
    let all = envoy.counters_with("vm_reload")?;
    ensure!(all.iter().all(|(_, count)| *count == 0), "{all:?}");
    let log = envoy.log_text();
    ensure!(!log.contains("Function: proxy_on"), "the module crashed: {log}");
    Ok(())
}

fn hostile() -> Vec<(String, Ask)> {
    let mut asks = bad_values();
    asks.extend(repeated());
    asks.extend(long_cookies());
    asks.extend(query_soups());
    asks.extend(storms());
    asks.extend(odd_requests());
    asks
}

fn get() -> Ask {
    Ask::get("127.0.0.1", "/")
}

/// Values that are no UTF-8, empty, long, or full of separators, in every header.
fn bad_values() -> Vec<(String, Ask)> {
    let values: [&[u8]; 9] = [
        b"\xff\xfe\x80",
        b"\xf0\x28\x8c\x28",
        b"",
        b"=;=;,,;;==",
        b"%",
        b"%%%zz%f%00%ff",
        b"\xc3\xa4=\xc3\xb6;cohort=\xe4",
        b"99999999999999999999999999.1e400.-1",
        b"00-00000000000000000000000000000000-0000000000000000-00",
    ];
    let long = vec![b'a'; 8_000];
    let mut asks = Vec::new();
    for name in NAMES {
        for value in values.into_iter().chain([long.as_slice()]) {
            let shown = value.escape_ascii().to_string();
            let what = format!("{name}: {}", shown.get(..60).unwrap_or(&shown));
            asks.push((what, get().header(name, value)));
        }
    }
    asks
}

fn repeated() -> Vec<(String, Ask)> {
    let times =
        |name: &str, count: usize| (0..count).fold(get(), |ask, number| ask.header(name, format!("v{number}=\u{e9}")));
    NAMES.iter().map(|name| (format!("{name} 60 times"), times(name, 60))).collect()
}

fn long_cookies() -> Vec<(String, Ask)> {
    let pairs: String = (0..6_000).map(|number| format!("c{number}=v; ")).collect();
    let crumbs = (0..1_500).fold(get(), |ask, number| ask.header("cookie", format!("c{number}=1")));
    vec![
        ("60 kB of cookies".into(), get().header("cookie", &pairs)),
        ("one cookie of 60 kB".into(), get().header("cookie", format!("lane={}", "a".repeat(60_000)))),
        ("60 kB of separators".into(), get().header("cookie", ";".repeat(60_000))),
        ("60 kB of quotes".into(), get().header("cookie", "\"".repeat(60_000))),
        ("1,500 crumbs".into(), crumbs),
    ]
}

fn query_soups() -> Vec<(String, Ask)> {
    let ask = |query: &str| Ask::get("127.0.0.1", &format!("/?{query}"));
    let mut asks: Vec<(String, Ask)> = [
        "%",
        "%%%%%",
        "=&=&&&==&",
        "%zz=%",
        "env=%",
        "env=%f",
        "env=%ff%fe",
        "env=%00",
        "env",
        "&env&",
        "?env=?",
        "env=%25252525",
        "%65nv=gr%61y",
        "+=+&env=+",
        "version=1e999",
        "version=-0",
    ]
    .iter()
    .map(|query| (format!("query {query}"), ask(query)))
    .collect();
    for part in ["%", "&", "=", "%25", "a&", "env=%g&"] {
        let soup = part.repeat(30_000 / part.len());
        asks.push((format!("30 kB of {part}"), ask(&soup)));
    }
    asks
}

fn storms() -> Vec<(String, Ask)> {
    let storm = |count: usize, value: &'static [u8]| {
        (0..count).fold(get(), |ask, number| ask.header(&format!("x-h{number}"), value))
    };
    vec![
        ("1,000 headers".into(), storm(1_000, b"v")),
        ("1,000 headers that are no UTF-8".into(), storm(1_000, b"\xff\x00".get(..1).unwrap_or(b"v"))),
        ("3,900 headers".into(), storm(3_900, b"v")),
        ("4,100 headers, more than Envoy takes".into(), storm(4_100, b"v")),
    ]
}

fn odd_requests() -> Vec<(String, Ask)> {
    let hosts = ["127.0.0.1:", "127.0.0.1:99999", "[::1]:80", "LOCALHOST.", "a..b", "x_y", "-"];
    let mut asks: Vec<(String, Ask)> = hosts.iter().map(|host| (format!("host {host}"), Ask::get(host, "/"))).collect();
    let long = "h".repeat(5_000);
    asks.push(("a host of 5 kB".into(), Ask::get(&long, "/")));
    for method in ["OPTIONS", "PURGE", "get", "HEAD"] {
        asks.push((format!("method {method}"), get().method(method)));
    }
    for path in ["//", "/%", "/%ff", "/..%2f..", "/a;b=c", "/\u{7f}"] {
        asks.push((format!("path {path}"), Ask::get("127.0.0.1", path)));
    }
    asks
}
