//! Questions to a real Prometheus, which scrapes an exporter of this test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use graylane::build::Side;
use graylane::counts::prometheus::Questions;
use graylane::counts::question::Asked;
use graylane::release::{Release, read, validate};

use crate::server::{Prometheus, Target};

/// Long enough for a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts paid orders: of ten each second all are paid in stable, eight in the canary.
async fn exporter() -> Result<u16> {
    let seconds = Arc::new(AtomicU64::new(0));
    let page = move || {
        let at = seconds.fetch_add(1, Ordering::SeqCst);
        let line =
            |name: &str, lane: &str, count: u64| format!("{name}{{rollout=\"shop/summer\",lane=\"{lane}\"}} {count}\n");
        let all = [("stable", 10), ("canary", 8)]
            .map(|(lane, paid)| line("orders_total", lane, at * 10) + &line("paid_total", lane, at * paid));
        std::future::ready(all.concat())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let router = axum::Router::new().route("/metrics", axum::routing::get(page));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(port)
}

/// A Prometheus that scrapes the exporter.
async fn prometheus() -> Result<Prometheus> {
    let address = format!("127.0.0.1:{}", exporter().await?);
    Prometheus::start(&[Target { address, path: "/metrics", labels: BTreeMap::new() }])
}

fn release(port: u16, query: &str) -> Result<Release> {
    let text = format!(
        "apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {{name: summer, namespace: shop}}
spec:
  lanes: [{{name: canary}}]
  members: [{{service: orders}}]
  entry: {{gateways: [{{namespace: istio-ingress}}]}}
  steps: [{{analysis: {{duration: 5m}}}}]
  analysis:
    prometheus: {{address: 'http://127.0.0.1:{port}'}}
    objectives: [{{name: paid, query: '{query}', atLeast: '0.9'}}]
"
    );
    let mut checked = validate::check(read::read_text("release.yaml", &text)?, &[Side::Gateway, Side::Outbound])?;
    Ok(checked.remove(0).release)
}

/// Looks until something holds.
async fn until(questions: &Questions, release: &Release, holds: impl Fn(&Asked) -> bool) -> Result<Asked> {
    let begun = Instant::now();
    loop {
        let asked = questions.look(release);
        if holds(&asked) {
            return Ok(asked);
        }
        ensure!(begun.elapsed() < PATIENCE, "never came: {asked:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn number(asked: &Asked, lane: &str) -> Option<f64> {
    Some(asked.answers.get(&("paid".to_owned(), lane.to_owned()))?.last?.0)
}

fn is(asked: &Asked, lane: &str, wanted: f64) -> bool {
    number(asked, lane).is_some_and(|number| (number - wanted).abs() < 1e-9)
}

fn trouble(asked: &Asked) -> &str {
    let canary = asked.answers.get(&("paid".to_owned(), "canary".to_owned()));
    canary.and_then(|standing| standing.trouble.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn prometheus_is_asked_for_each_lane_and_its_absence_is_told() -> Result<()> {
    let mut prometheus = prometheus().await?;
    let ask = |query: &str| release(prometheus.port, query);

    let share = ask("sum(rate(paid_total{$selector}[10s])) / sum(rate(orders_total{$selector}[10s]))")?;
    let questions = Questions::default();
    let asked = until(&questions, &share, |asked| number(asked, "stable").is_some()).await?;
    ensure!(asked.unknown.is_none() && asked.problems.is_empty(), "{asked:?}");
    ensure!(is(&asked, "canary", 0.8) && is(&asked, "stable", 1.0), "{asked:?}");

    // What can never be judged by is a problem with its field and mend.
    for (query, why) in [
        ("sum(rate(paid_total{$selector}[10s])", "unclosed left parenthesis"),
        ("{__name__=~\"orders_total|paid_total\",$selector}", "it gives 2 series"),
        ("paid_total{$selector}[10s]", "it gives a range of numbers"),
        ("\"a text\"", "it gives a text"),
    ] {
        let (questions, release) = (Questions::default(), ask(query)?);
        let asked = until(&questions, &release, |asked| asked.unknown.is_none()).await?;
        let problem = asked.problems.first().with_context(|| format!("{query}: {asked:?}"))?;
        ensure!(problem.path == "spec.analysis.objectives[0].query", "{problem}");
        ensure!(problem.message.contains(why) && problem.mend.contains("write PromQL"), "{query}: {problem}");
    }

    // No data and NaN are neither a number nor a problem.
    for query in ["sum(refunded_total{$selector})", "sum(paid_total{$selector}) * 0 / 0"] {
        let (questions, release) = (Questions::default(), ask(query)?);
        let asked = until(&questions, &release, |asked| !trouble(asked).is_empty()).await?;
        ensure!(number(&asked, "canary").is_none() && asked.problems.is_empty(), "{query}: {asked:?}");
        ensure!(trouble(&asked).contains("no data"), "{query}: {asked:?}");
    }

    prometheus.end()?;
    let asked = until(&questions, &share, |asked| !trouble(asked).is_empty()).await?;
    ensure!(trouble(&asked).contains("does not answer") && asked.unknown.is_some(), "{asked:?}");
    ensure!(is(&asked, "canary", 0.8), "the last number stays, with its time: {asked:?}");
    Ok(())
}
