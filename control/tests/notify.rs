//! Notices to receivers that take them, fail at first, or are dead; of made-up statuses, and of the binary.

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use graylane::engine::seams::Object;
use graylane::engine::status::{Entry, Status};
use graylane::notify::body::Kind;
use graylane::notify::{Notices, Patience};
use graylane::release::finding::Findings;
use serde_json::Value;

const QUICK: Patience = Patience { first: Duration::from_millis(10), longest: Duration::from_millis(40), tries: 6 };

#[derive(Clone, Default)]
struct Receiver {
    taken: Arc<Mutex<Vec<(String, Value)>>>,
    /// How often it fails before it takes anything.
    fails: Arc<AtomicU32>,
}

impl Receiver {
    async fn start(&self) -> Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}/hook", listener.local_addr()?);
        let router = axum::Router::new().route("/hook", axum::routing::post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(address)
    }

    async fn until(&self, count: usize) -> Result<Vec<(String, Value)>> {
        let begun = Instant::now();
        loop {
            let taken = self.taken.lock().map(|taken| taken.clone()).unwrap_or_default();
            if taken.len() >= count {
                return Ok(taken);
            }
            ensure!(begun.elapsed() < Duration::from_secs(20), "only {taken:?} came");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: axum::Json<Value>) -> StatusCode {
    let fails = &receiver.fails;
    if fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if let Ok(mut taken) = receiver.taken.lock() {
        taken.push((kind.to_owned(), body.0));
    }
    StatusCode::OK
}

fn object() -> Object {
    Object {
        id: "shop/summer".into(),
        uid: "uid".into(),
        fence: "1".into(),
        generation: 1,
        created_ms: 1,
        deleting: false,
        held: false,
        spec: Err(Findings::of("release.yaml", "not needed here", "")),
        paused: false,
        request: None,
        status: Status::default(),
    }
}

fn status(reasons: &[&str]) -> Status {
    let entry = |reason: &&str| Entry { at_ms: 1_000, reason: (*reason).into(), message: "because".into() };
    Status { history: reasons.iter().map(entry).collect(), ..Status::default() }
}

#[tokio::test]
async fn a_receiver_that_fails_at_first_gets_each_notice_once_and_in_order() -> Result<()> {
    let receiver = Receiver { fails: Arc::new(AtomicU32::new(3)), ..Receiver::default() };
    let notices = Notices::start(&receiver.start().await?, Kind::Cloudevents, QUICK)?;
    notices.tell(&object(), &status(&["Started", "Weight", "AnalysisFailed", "RolledBack"]));
    let taken = receiver.until(2).await?;
    let types: Vec<_> = taken.iter().map(|(_, body)| body["type"].as_str().unwrap_or_default()).collect();
    ensure!(types == ["io.graylane.release.AnalysisFailed", "io.graylane.release.RolledBack"], "{types:?}");
    let (kind, event) = &taken[0];
    ensure!(kind == "application/cloudevents+json" && event["specversion"] == "1.0", "{kind} {event}");
    ensure!(event["data"]["release"] == "shop/summer" && event["data"]["message"] == "because", "{event}");
    Ok(())
}

#[tokio::test]
async fn a_failed_verdict_names_its_fault_and_the_end_of_the_rollback_does_not_again() -> Result<()> {
    let receiver = Receiver::default();
    let notices = Notices::start(&receiver.start().await?, Kind::Cloudevents, QUICK)?;
    let failure = serde_json::json!({"lane": "canary", "message": "because", "decidedMs": 1_000, "fault": {
        "service": "orders.shop", "lane": "canary", "objective": "success rate", "kind": "own", "firstBadMs": 500,
        "n": 50, "failures": 10, "traces": ["0af7651916cd43dd8448eb211c80319c"]}});
    let status = Status { failure: serde_json::from_value(failure)?, ..status(&["AnalysisFailed", "RolledBack"]) };
    notices.tell(&object(), &status);
    let taken = receiver.until(2).await?;
    let fault = &taken[0].1["data"]["fault"];
    ensure!(fault["service"] == "orders.shop" && fault["firstBadMs"] == 500, "{fault}");
    ensure!(fault["traces"][0] == "0af7651916cd43dd8448eb211c80319c", "{fault}");
    ensure!(taken[1].1["data"].get("fault").is_none(), "{}", taken[1].1);
    Ok(())
}

#[tokio::test]
async fn a_message_for_people_says_what_happened_to_which_release() -> Result<()> {
    let receiver = Receiver::default();
    let notices = Notices::start(&receiver.start().await?, Kind::Slack, QUICK)?;
    notices.tell(&object(), &status(&["Succeeded"]));
    let taken = receiver.until(1).await?;
    let text = taken[0].1["text"].as_str().unwrap_or_default();
    ensure!(text.contains("*shop/summer* Succeeded: because"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_dead_receiver_holds_up_nobody() -> Result<()> {
    // It takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    for address in [format!("http://{}/", silent.local_addr()?), "http://127.0.0.1:1/".to_owned()] {
        let notices = Notices::start(&address, Kind::Slack, QUICK)?;
        let begun = Instant::now();
        for _ in 0..10_000 {
            notices.tell(&object(), &status(&["Paused"]));
        }
        ensure!(begun.elapsed() < Duration::from_secs(5), "{address}: took {:?}", begun.elapsed());
    }
    Ok(())
}

/// A release that waits for a person at its first step, and the one proxy that will never run it.
const FOLDER: [(&str, &str); 3] = [
    (
        "release.yaml",
        "apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: summer, namespace: shop}
spec:
  lanes: [{name: canary}]
  members: [{service: orders}]
  rules: [{name: testers, lane: canary, when: {match: {field: {header: x-tester}, is: present}}}]
  steps: [{pause: {}}]
  promotion: {strategy: manual}
",
    ),
    (
        "proxies.yaml",
        "module: filter.wasm
proxies:
- {name: gateway, admin: '127.0.0.1:1', filters: [{role: gateway, ecds: gateway.json}]}
",
    ),
    // No Envoy runs, so nobody loads it.
    ("filter.wasm", ""),
];

#[tokio::test]
async fn the_binary_tells_its_webhook_what_became_of_a_release_until_it_is_taken() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (name, text) in FOLDER {
        std::fs::write(folder.path().join(name), text)?;
    }
    let receiver = Receiver { fails: Arc::new(AtomicU32::new(1)), ..Receiver::default() };
    let url = receiver.start().await?;
    let _running = tokio::process::Command::new(env!("CARGO_BIN_EXE_graylane"))
        .args(["run", "--notify-kind", "cloudevents", "--notify-url", &url, "--local"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let taken = receiver.until(1).await?;
    let (kind, event) = &taken[0];
    ensure!(kind == "application/cloudevents+json" && event["type"] == "io.graylane.release.Paused", "{kind} {event}");
    ensure!(event["data"]["release"] == "shop/summer" && event["data"]["attempt"] == 1, "{event}");
    ensure!(receiver.fails.load(Ordering::SeqCst) == 0, "the first try was answered with 503");
    Ok(())
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    for address in ["", "hooks.example/x", "ftp://hooks.example/x"] {
        assert!(Notices::start(address, Kind::Slack, QUICK).is_err(), "{address}");
    }
}
