//! The analysis API over real connections.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use graylane::api::auth::Auth;
use graylane::api::record::Record;
use graylane::api::serve::{Api, router};
use graylane::build::Side;
use graylane::counts::question::Asked;
use graylane::engine::judging::{Judgement, LaneJudgement};
use graylane::release::{Release, read, validate};
use graylane_analysis::{Cell, Cohort, Evidence, Interval, Outcome, Plan, Tally};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

const TOKEN: &str = "a-long-random-text";

fn release() -> Result<Release> {
    let text = "apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: summer, namespace: shop}
spec:
  lanes: [{name: canary}]
  members: [{service: orders}]
  entry: {gateways: [{namespace: istio-ingress}]}
  steps: [{analysis: {duration: 5m}}]
  analysis: {latency: [{overMs: 250, share: 95%}]}
";
    let mut checked = validate::check(read::read_text("release.yaml", text)?, &[Side::Gateway, Side::Outbound])?;
    Ok(checked.remove(0).release)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Ten seconds with 100 requests of the canary in each, of which one fails and five are slow.
fn counted() -> Result<Record> {
    let (record, release) = (Record::default(), release()?);
    let mut verdict = Evidence::default().verdict(&Plan::default(), 0);
    (verdict.outcome, verdict.reason) = (Outcome::Wait, "not decided".into());
    let lane = LaneJudgement { verdict, evidence: Evidence::default(), unanswered: None };
    let judgement = Judgement { lanes: [("canary".into(), lane)].into(), ..Judgement::default() };
    let cell = Cell { service: "orders.shop".into(), lane: "canary".into(), cohort: Cohort::Slot };
    let tally = Tally { requests: 100, failures: 1, slow: [(250, 5)].into(), ..Tally::default() };
    let begin = now_ms() - 10_000;
    for second in 0..10 {
        let from_ms = begin + second * 1000;
        let cells = BTreeMap::from([(cell.clone(), tally.clone())]);
        let interval = Interval { from_ms, to_ms: from_ms + 1000, cells, ..Interval::default() };
        record.take("uid", &release, &interval, (&judgement, &Asked::default()));
    }
    Ok(record)
}

async fn server(auth: Auth) -> Result<SocketAddr> {
    serving(counted()?, auth).await
}

async fn serving(record: Record, auth: Auth) -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let api = Api { record, auth };
    tokio::spawn(async move { axum::serve(listener, router(api)).await });
    Ok(address)
}

fn token() -> Result<Auth> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), format!("{TOKEN}\n"))?;
    Ok(Auth::token(file.path())?)
}

type Connection = SendRequest<Full<bytes::Bytes>>;

async fn connect(address: SocketAddr) -> Result<Connection> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (connection, driver) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    Ok(connection)
}

struct Said {
    status: StatusCode,
    id: String,
    body: Value,
}

async fn ask(address: SocketAddr, body: &str, headers: &[(&str, &str)]) -> Result<Said> {
    let mut request =
        Request::post("/metrics/analysis").header("host", "api").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = connect(address).await?.send_request(request.body(Full::from(body.to_owned()))?).await?;
    let id = answer.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(Said { status, id, body: serde_json::from_slice(&body)? })
}

fn question(metric: &str, labels: Value) -> String {
    json!({"metricName": metric, "startTimestamp": "-5m", "labels": labels}).to_string()
}

#[tokio::test]
async fn numbers_come_with_their_unit_and_the_verdict() -> Result<()> {
    let address = server(Auth::Open).await?;
    let lane = json!({"release": "shop/summer", "lane": "canary"});
    let slow = json!({"release": "shop/summer", "lane": "canary", "service": "orders.shop", "overMs": "250"});
    for (metric, labels, value, unit) in [
        ("success_rate", &lane, 0.99, "ratio"),
        ("error_rate", &lane, 0.01, "ratio"),
        ("slow_rate", &slow, 0.05, "ratio"),
        ("request_rate", &lane, 100.0, "requestsPerSecond"),
        ("request_count", &lane, 1000.0, "requests"),
    ] {
        let said = ask(address, &question(metric, labels.clone()), &[]).await?;
        ensure!(said.status == StatusCode::OK, "{metric}: {}", said.body);
        ensure!(said.body["value"].as_f64().is_some_and(|is| (is - value).abs() < 1e-9), "{metric}: {}", said.body);
        ensure!(said.body["unit"] == unit && said.body["n"] == 1000, "{}", said.body);
        ensure!(said.body["verdict"] == "wait" && said.body["reason"] == "not decided", "{}", said.body);
    }
    Ok(())
}

#[tokio::test]
async fn a_share_is_one_though_failures_are_read_before_their_requests() -> Result<()> {
    let (record, release) = (Record::default(), release()?);
    let cell = Cell { service: "orders.shop".into(), lane: "canary".into(), cohort: Cohort::Slot };
    let tally = Tally { requests: 10, failures: 12, slow: [(250, 11)].into(), ..Tally::default() };
    let now = now_ms();
    let cells = BTreeMap::from([(cell, tally)]);
    let interval = Interval { from_ms: now - 2_000, to_ms: now - 1_000, cells, ..Interval::default() };
    record.take("uid", &release, &interval, (&Judgement::default(), &Asked::default()));
    let address = serving(record, Auth::Open).await?;
    let labels = json!({"release": "shop/summer", "lane": "canary", "overMs": "250"});
    for (metric, value) in [("success_rate", 0.0), ("error_rate", 1.0), ("slow_rate", 1.0)] {
        let said = ask(address, &question(metric, labels.clone()), &[]).await?;
        ensure!(said.body["value"] == value, "{metric}: {}", said.body);
    }
    Ok(())
}

#[tokio::test]
async fn a_clock_that_was_turned_back_leaves_windows_in_order() -> Result<()> {
    let (record, release) = (counted()?, release()?);
    let cell = Cell { service: "orders.shop".into(), lane: "canary".into(), cohort: Cohort::Slot };
    let back = now_ms() - 200_000;
    for second in 0..5 {
        let tally = Tally { requests: 7, ..Tally::default() };
        let from_ms = back + second * 1000;
        let cells = BTreeMap::from([(cell.clone(), tally)]);
        let interval = Interval { from_ms, to_ms: from_ms + 1000, cells, ..Interval::default() };
        record.take("uid", &release, &interval, (&Judgement::default(), &Asked::default()));
    }
    let address = serving(record, Auth::Open).await?;
    let said =
        ask(address, &question("request_count", json!({"release": "shop/summer", "lane": "canary"})), &[]).await?;
    ensure!(said.body["n"] == 35, "{}", said.body);
    Ok(())
}

#[tokio::test]
async fn who_asks_is_told_that_a_lane_was_given_up() -> Result<()> {
    let (record, release) = (counted()?, release()?);
    let mut verdict = Evidence::default().verdict(&Plan::default(), 0);
    verdict.outcome = Outcome::Unverified;
    let lane = LaneJudgement { verdict, evidence: Evidence::default(), unanswered: None };
    let judgement = Judgement { lanes: [("canary".into(), lane)].into(), ..Judgement::default() };
    let now = now_ms();
    let interval = Interval { from_ms: now, to_ms: now + 1, ..Interval::default() };
    record.take("uid", &release, &interval, (&judgement, &Asked::default()));
    let address = serving(record, Auth::Open).await?;
    let said =
        ask(address, &question("success_rate", json!({"release": "shop/summer", "lane": "canary"})), &[]).await?;
    ensure!(said.body["verdict"] == "unverified", "{}", said.body);
    Ok(())
}

#[tokio::test]
async fn a_verdict_is_on_one_version_and_one_attempt() -> Result<()> {
    let (record, release) = (counted()?, release()?);
    let address = serving(record.clone(), Auth::Open).await?;
    let verdict = async |version: &str| {
        let labels = json!({"release": "shop/summer", "lane": "canary", "version": version});
        let said = ask(address, &question("success_rate", labels), &[]).await?;
        ensure!(said.status == StatusCode::OK && said.body["n"] == 1000, "{}", said.body);
        anyhow::Ok(said.body["verdict"].clone())
    };
    record.begin("uid", &release, 0, ["v2".to_owned()].into());
    ensure!(verdict("v2").await? == "wait" && verdict("v3").await?.is_null());
    record.begin("uid", &release, 0, ["v3".to_owned()].into());
    ensure!(verdict("v2").await?.is_null(), "it was taken back, and Argo was told");
    record.begin("uid", &release, 1, ["v3".to_owned()].into());
    ensure!(verdict("v3").await?.is_null(), "nothing is concluded in the next attempt");
    Ok(())
}

#[tokio::test]
async fn who_does_not_lead_sends_askers_elsewhere_also_when_its_lease_has_run_out() -> Result<()> {
    let (away, late) = (counted()?, counted()?);
    away.leave();
    // Its loop hangs, so nobody has told it.
    late.counts_until(now_ms());
    for record in [away, late] {
        let address = serving(record, Auth::Open).await?;
        let body = question("success_rate", json!({"release": "shop/summer", "lane": "canary"}));
        let request =
            Request::post("/metrics/analysis").header("host", "api").header("content-type", "application/json");
        let mut connection = connect(address).await?;
        let answer = connection.send_request(request.body(Full::from(body))?).await?;
        ensure!(answer.status() == StatusCode::SERVICE_UNAVAILABLE, "{}", answer.status());
        answer.into_body().collect().await?;
        ensure!(connection.ready().await.is_err(), "the connection stays, so the next question comes here again");
    }
    Ok(())
}

#[tokio::test]
async fn a_new_term_has_no_verdict_and_no_counts_of_the_last_one() -> Result<()> {
    let (record, release) = (counted()?, release()?);
    record.leave();
    record.counts_until(u64::MAX);
    record.begin("uid", &release, 0, BTreeSet::new());
    let address = serving(record, Auth::Open).await?;
    let body = question("success_rate", json!({"release": "shop/summer", "lane": "canary"}));
    let said = ask(address, &body, &[]).await?;
    ensure!(said.status == StatusCode::OK && said.body["verdict"].is_null(), "{}", said.body);
    ensure!(said.body["value"].is_null() && said.body["n"] == 0, "{}", said.body);
    Ok(())
}

#[tokio::test]
async fn without_data_the_answer_says_so_and_is_no_number() -> Result<()> {
    let address = server(Auth::Open).await?;
    let stable = question("success_rate", json!({"release": "shop/summer", "lane": "stable"}));
    let before = json!({"metricName": "success_rate", "startTimestamp": "2020-01-01T00:00:00Z",
        "endTimestamp": "2020-01-01T00:01:00Z", "labels": {"release": "shop/summer", "lane": "canary"}});
    for body in [stable, before.to_string()] {
        let said = ask(address, &body, &[]).await?;
        ensure!(said.status == StatusCode::OK && said.body["value"].is_null() && said.body["n"] == 0, "{}", said.body);
        ensure!(said.body["reason"].as_str().is_some_and(|reason| reason.starts_with("no data")), "{}", said.body);
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_question_is_refused_with_its_field_and_mend() -> Result<()> {
    let address = server(Auth::Open).await?;
    let with = |labels: Value| question("success_rate", labels);
    for (body, status, field) in [
        ("{".to_owned(), 400, ""),
        (question("p99", json!({"release": "shop/summer", "lane": "canary"})), 400, "metricName"),
        (with(json!({"release": "shop/summer", "lane": 5})), 400, "labels.lane"),
        (with(json!({"release": "shop/summer", "lane": "canary", "zone": "a"})), 400, "labels.zone"),
        (with(json!({"release": "shop/winter", "lane": "canary"})), 404, "labels.release"),
        (with(json!({"release": "shop/summer", "lane": "blue"})), 404, "labels.lane"),
        (with(json!({"release": "shop/summer", "lane": "canary", "service": "cart"})), 404, "labels.service"),
        (question("slow_rate", json!({"release": "shop/summer", "lane": "canary"})), 422, "labels.overMs"),
        (
            question("slow_rate", json!({"release": "shop/summer", "lane": "canary", "overMs": "300"})),
            404,
            "labels.overMs",
        ),
        (
            question("objective", json!({"release": "shop/summer", "lane": "canary", "objective": "payed"})),
            404,
            "labels.objective",
        ),
        (
            r#"{"metricName":"success_rate","startTimestamp":"then","labels":{"release":"a/b","lane":"c"}}"#.into(),
            422,
            "startTimestamp",
        ),
    ] {
        let said = ask(address, &body, &[]).await?;
        ensure!(said.status.as_u16() == status, "{body}: {} {}", said.status, said.body);
        let error = &said.body["error"];
        ensure!(error["field"] == field, "{body}: {error}");
        ensure!(error["mend"].as_str().is_some_and(|mend| !mend.is_empty()), "{error}");
    }
    let long = "x".repeat(20_000);
    ensure!(ask(address, &long, &[]).await?.status == StatusCode::PAYLOAD_TOO_LARGE);
    Ok(())
}

#[tokio::test]
async fn only_whoever_knows_the_token_is_answered() -> Result<()> {
    let address = server(token()?).await?;
    let body = question("success_rate", json!({"release": "shop/summer", "lane": "canary"}));
    for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", TOKEN)]] {
        let said = ask(address, &body, headers).await?;
        ensure!(said.status == StatusCode::UNAUTHORIZED && said.body["value"].is_null(), "{headers:?}: {}", said.body);
    }
    let good = format!("Bearer {TOKEN}");
    ensure!(ask(address, &body, &[("authorization", &good)]).await?.status == StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_question_keeps_its_id_or_gets_one() -> Result<()> {
    let address = server(Auth::Open).await?;
    let body = question("success_rate", json!({"release": "shop/summer", "lane": "canary"}));
    let kept = ask(address, &body, &[("x-request-id", "argo-7")]).await?;
    ensure!(kept.id == "argo-7" && kept.body["requestId"] == "argo-7", "{}", kept.body);
    let strange = ask(address, &body, &[("x-request-id", "two words")]).await?;
    ensure!(strange.id.len() == 32 && strange.body["requestId"] == strange.id, "{}", strange.body);
    Ok(())
}

/// Latencies of one request after another on each of eight connections, sorted.
async fn under_load(address: SocketAddr, make: fn() -> Request<Full<bytes::Bytes>>) -> Result<Vec<Duration>> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        tasks.spawn(async move {
            let mut connection = connect(address).await?;
            let mut took = Vec::new();
            for _ in 0..500 {
                let begun = Instant::now();
                connection.ready().await?;
                let answer = connection.send_request(make()).await?;
                ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
                answer.into_body().collect().await?;
                took.push(begun.elapsed());
            }
            Ok(took)
        });
    }
    let mut all = Vec::new();
    while let Some(took) = tasks.join_next().await {
        all.extend(took??);
    }
    all.sort();
    Ok(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_under_load_takes_about_as_long_as_a_health_check_though_nobody_reads_the_log() -> Result<()> {
    let (_unread, pipe) = std::io::pipe()?;
    let (writer, guard) = graylane::log::unblocking(pipe);
    tracing_subscriber::fmt().json().with_writer(writer).try_init().map_err(|error| anyhow::anyhow!("{error}"))?;
    // It would wait for the log in the end.
    std::mem::forget(guard);
    let address = server(token()?).await?;
    let health = || Request::get("/healthz").header("host", "api").body(Full::default()).expect("a request");
    let analysis = || {
        let body = question("success_rate", json!({"release": "shop/summer", "lane": "canary"}));
        let request =
            Request::post("/metrics/analysis").header("host", "api").header("content-type", "application/json");
        request.header("authorization", format!("Bearer {TOKEN}")).body(Full::from(body)).expect("a request")
    };
    let p99 = |all: &[Duration]| all[all.len() * 99 / 100].as_secs_f64() * 1e6;
    let mut ratios = Vec::new();
    for round in 0..4 {
        let (bare, full) = (under_load(address, health).await?, under_load(address, analysis).await?);
        if round > 0 {
            ratios.push((p99(&full) / p99(&bare), p99(&full), p99(&bare)));
        }
    }
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (median, full, bare) = ratios[ratios.len() / 2];
    let value = format!("{median:.2} ({full:.0} us to {bare:.0} us, the middle one of {} rounds)", ratios.len());
    note("p99 of /metrics/analysis to that of /healthz, 8 connections", &value, "below 5", median < 5.0)?;
    ensure!(median < 5.0, "an answer takes {median:.1} times as long as a health check");
    Ok(())
}

/// Notes a figure for the table of `scripts/test.sh api`, in the form that `scripts/figures.py` reads.
fn note(name: &str, value: &str, wanted: &str, holds: bool) -> Result<()> {
    let line = json!({"name": name, "value": value, "wanted": wanted, "holds": holds});
    println!("figure {line}");
    let Some(file) = std::env::var_os("GRAYLANE_FIGURES") else { return Ok(()) };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    Ok(writeln!(file, "{line}")?)
}
