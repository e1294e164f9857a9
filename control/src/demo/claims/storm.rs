//! A storm of hostile requests, sent to the gateway with the filter and to the same gateway without.

use anyhow::Result;

use super::{CANARY, of, took};
use crate::demo::console::Console;
use crate::demo::stage::Stage;
use crate::demo::traffic::{ask_all, client};
use crate::http::Ask;

/// How often each request is sent.
const ROUNDS: usize = 10;
/// Requests afterwards, on enough connections to reach every worker.
const TESTERS: usize = 40;

/// Checks that both gateways answer alike and that the filter is alive afterwards.
///
/// # Errors
/// When an admin interface does not answer.
pub async fn check(stage: &Stage, console: &mut Console) -> Result<()> {
    let storm = storm();
    let mut different = Vec::new();
    let mut served = 0;
    for (what, ask) in &storm {
        console.progress(&format!("hostile requests: {what}"));
        let ours = answers(&stage.entry(true), ask).await;
        let plain = answers(&stage.entry(false), ask).await;
        served += usize::from(ours.iter().all(|answer| answer.starts_with("frontend-stable>")));
        if ours != plain {
            different.push(format!("{what}: {} against {}", ours.join(","), plain.join(",")));
        }
    }
    let kinds = storm.len();
    let figure = match different.as_slice() {
        [] => format!("{} answers alike, {served} of {kinds} kinds served", kinds * ROUNDS),
        _ => different.join("; "),
    };
    // Requests that Envoy itself refuses would say nothing about the filter.
    let holds = different.is_empty() && served * 2 > kinds;
    console.check(holds, "hostile headers, with and without filter", figure, "all alike");
    aftermath(stage, console).await
}

/// A module that had crashed would have left its stack in the log, and testers to stable.
async fn aftermath(stage: &Stage, console: &mut Console) -> Result<()> {
    let log = std::fs::read_to_string(stage.dir.join("logs/gateway.log"))?;
    let crashes = log.matches("Function: proxy_").count();
    let tester = Ask::get("/").with("x-user-group", "beta");
    let (answers, _) = ask_all(&stage.entry(true), 8, vec![tester; TESTERS]).await?;
    let right = took(&answers, &CANARY);
    let figure = format!("{crashes} crashes, testers in canary {}", of(right, TESTERS));
    console.check(crashes == 0 && right == TESTERS, "  the filter after the storm", figure, "no crash, all testers");
    Ok(())
}

/// Status and way of each answer; what broke the connection counts as an answer of its own.
async fn answers(entry: &str, ask: &Ask) -> Vec<String> {
    let mut client = client(entry);
    let mut answers = Vec::new();
    for _ in 0..ROUNDS {
        let answer = match client.ask(ask).await {
            Ok(answer) => match crate::demo::traffic::seen(&answer) {
                Ok(seen) => seen.path().join(">"),
                Err(_) => answer.status.as_u16().to_string(),
            },
            Err(_) => "broken".into(),
        };
        answers.push(answer);
    }
    answers.dedup();
    answers
}

/// Requests that try to break a filter: bytes that are no text, and much of everything.
fn storm() -> Vec<(&'static str, Ask)> {
    let get = |path: &str| Ask::get(path);
    let many = (0..1_000).fold(get("/"), |ask, number| ask.with(&format!("x-filler-{number}"), "v"));
    let repeated = (0..500).fold(get("/"), |ask, number| ask.with("x-user-group", format!("g{number}")));
    let cookies = (0..200).fold(get("/"), |ask, number| ask.with("cookie", format!("c{number}=v")));
    vec![
        (
            "bytes that are not UTF-8",
            get("/").with("x-user-group", b"\xff\xfe\x80beta").with("cookie", b"tester=\xc3\x28"),
        ),
        ("1,000 headers", many),
        ("the same header 500 times", repeated),
        ("200 cookie headers", cookies),
        ("a cookie of 60 kB", get("/").with("cookie", format!("tester={}", "x".repeat(60_000)))),
        ("a query of percent signs", get(&format!("/?{}env=%zz%", "%25%&=%".repeat(2_000)))),
        ("10,000 empty query keys", get(&format!("/?{}", "&=".repeat(10_000)))),
        ("broken trace headers", get("/").with("traceparent", "00-zz-0-\u{e9}").with("b3", "-".repeat(5_000))),
        ("broken baggage", get("/").with("baggage", format!("graylane.shop=%%;cohort=,,=;{}", ",=;".repeat(5_000)))),
        ("a version that is none", get("/checkout").with("x-version", "99999999999999999999.%.-1")),
        ("an empty user", get("/").with("x-user-id", "")),
        ("a user of 50 kB", get("/").with("x-user-id", "u".repeat(50_000))),
    ]
}
