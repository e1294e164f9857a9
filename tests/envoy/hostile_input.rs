//! Requests that no well-meaning client sends.

use graylane_tests::client::Ask;

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

/// What goes with a lane on its way.
const TRAVELLING: [&str; 6] = ["baggage", "traceparent", "b3", "x-b3-traceid", "x-request-id", "x-graylane-cohort"];

/// No UTF-8, empty, or full of separators.
const BAD: [&[u8]; 9] = [
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

/// What a request is called, and the request.
pub type Hostile = (String, Ask);

/// All of them, sent to this host.
pub fn to(host: &str) -> Vec<Hostile> {
    let get = || Ask::get(host, "/");
    let mut asks = bad_values(get);
    asks.extend(repeated(get));
    asks.extend(long_cookies(get));
    asks.extend(query_soups(host));
    asks.extend(storms(get));
    asks.extend(odd_requests(host));
    asks
}

/// Values that are no UTF-8, empty, long, or full of separators, in every header.
fn bad_values(get: impl Fn() -> Ask) -> Vec<Hostile> {
    let long = vec![b'a'; 8_000];
    let mut asks = Vec::new();
    for name in NAMES {
        for value in BAD.into_iter().chain([long.as_slice()]) {
            asks.push((called(name, value), get().header(name, value)));
            // The same on a request that is in a lane, for those who believe it.
            if TRAVELLING.contains(&name) {
                let in_lane = get().header("x-release-stage", "canary").header(name, value);
                asks.push((format!("canary, {}", called(name, value)), in_lane));
            }
        }
    }
    asks
}
fn called(name: &str, value: &[u8]) -> String {
    let shown = value.escape_ascii().to_string();
    format!("{name}: {}", shown.get(..60).unwrap_or(&shown))
}

fn repeated(get: impl Fn() -> Ask) -> Vec<Hostile> {
    let times =
        |name: &str, count: usize| (0..count).fold(get(), |ask, number| ask.header(name, format!("v{number}=\u{e9}")));
    NAMES.iter().map(|name| (format!("{name} 60 times"), times(name, 60))).collect()
}

fn long_cookies(get: impl Fn() -> Ask) -> Vec<Hostile> {
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

fn query_soups(host: &str) -> Vec<Hostile> {
    let ask = |query: &str| Ask::get(host, &format!("/?{query}"));
    let mut asks: Vec<Hostile> = [
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

fn storms(get: impl Fn() -> Ask) -> Vec<Hostile> {
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

fn odd_requests(host: &str) -> Vec<Hostile> {
    let hosts = ["127.0.0.1:", "127.0.0.1:99999", "[::1]:80", "LOCALHOST.", "a..b", "x_y", "-"];
    let mut asks: Vec<Hostile> = hosts.iter().map(|host| (format!("host {host}"), Ask::get(host, "/"))).collect();
    let long = "h".repeat(5_000);
    asks.push(("a host of 5 kB".into(), Ask::get(&long, "/")));
    for method in ["OPTIONS", "PURGE", "get", "HEAD"] {
        asks.push((format!("method {method}"), Ask::get(host, "/").method(method)));
    }
    for path in ["//", "/%", "/%ff", "/..%2f..", "/a;b=c", "/\u{7f}"] {
        asks.push((format!("path {path}"), Ask::get(host, path)));
    }
    asks
}
