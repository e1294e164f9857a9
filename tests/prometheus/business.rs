//! Releases on real Envoys that are judged by what only the application knows, as a real Prometheus tells it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use graylane::demo::stage::Stage;
use graylane::demo::traffic::Background;
use graylane::engine::status::{Phase, Status};
use graylane::http::Ask;
use graylane::view::{times, verdict};
use graylane_analysis::{FaultKind, Outcome};
use graylane_tests::paths;
use tokio::sync::Mutex;

use crate::server::{Prometheus, Target};

/// Two windows of 30 s decide; a machine that compiles something else is slower.
const PATIENCE: Duration = Duration::from_secs(180);
/// Clients with a pause between their requests: some 60 requests a second.
const CLIENTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(45);
/// One at a time looks for free ports.
static PORTS: Mutex<()> = Mutex::const_new(());

/// The first question is put to the counts of Envoys, the second to those of the application.
const RELEASE: &str = r#"
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: NAME, namespace: shop}
spec:
  group: shop
  lanes: [{name: canary}]
  members:
  - {service: frontend, hosts: [127.0.0.1, localhost, shop.example.com]}
  - {service: cart, lanes: []}
  - {service: orders}
  - {service: payment, lanes: []}
  stickiness: {unit: [{header: x-user-id}]}
  steps: [{weight: 50%}, {analysis: {duration: 10m}}, {weight: 100%}]
  analysis:
    warmup: 1s
    prometheus: {address: 'http://127.0.0.1:PORT'}
    objectives:
    - name: calls answered
      query: |
        sum(rate(graylane_requests_total{$selector,service="orders.shop",direction="outbound",status_code="200"}[10s]))
        / sum(rate(graylane_requests_total{$selector,service="orders.shop",direction="outbound"}[10s]))
      atLeast: '0.95'
    - name: orders created
      query: sum(rate(app_work_done_total{service="orders",$lane}[10s])) / sum(rate(app_requests_total{service="orders",$lane}[10s]))
      atLeast: '0.95'
  # How a release is watched after its last step is told elsewhere.
  promotion: {strategy: manual, bake: 5s}
"#;

/// The chain with its Prometheus.
struct Shop {
    stage: Stage,
    prometheus: Prometheus,
    _folder: tempfile::TempDir,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_answers_200_and_does_wrong_work_is_taken_back_and_the_objective_named() -> Result<()> {
    let mut shop = Shop::open().await?;
    let traffic = Background::start(&shop.stage.entry(true), CLIENTS, PAUSE, asks(3));
    shop.begin("winter").await?;
    let back = shop.until("the way back", |status| status.phase == Phase::RolledBack).await?;
    let tally = traffic.stop().await;
    ensure!(tally.failed == 0, "{} of {} requests failed: {:?}", tally.failed, tally.sent, tally.first_failure);
    let fault = back.failure.as_ref().and_then(|failure| failure.fault.as_ref()).context("nobody is named")?;
    let named = (fault.kind, fault.objective.as_str(), fault.lane.as_str(), fault.service.as_str());
    ensure!(named == (FaultKind::Business, "orders created", "canary", "shop/winter"), "{fault:?}");
    ensure!(fault.first_bad_ms > 0 && back.weight.is_empty(), "{back:?}");
    let said = verdict::text(&back, now()?);
    ensure!(said.contains("shop/winter breaks orders created: 2 windows in a row were bad in canary"), "{said}");
    ensure!(said.contains("at least 0.95 wanted, 0.") && said.contains("1.0000 in stable"), "{said}");
    println!("{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_version_waits_while_prometheus_is_away_and_goes_on_when_it_is_back() -> Result<()> {
    let mut shop = Shop::open().await?;
    let traffic = Background::start(&shop.stage.entry(true), CLIENTS, PAUSE, asks(0));
    shop.begin("summer").await?;
    shop.until("the first numbers of both questions", |status| {
        ["calls answered", "orders created"].iter().all(|name| reason(status, name).contains("1.0000 in canary"))
    })
    .await?;
    shop.prometheus.end()?;
    let killed = now()?;
    let held = shop.until("a hold", |status| status.message.contains("no answer to")).await?;
    let waiting = held.waiting.as_ref().context("it does not wait")?;
    let since =
        waiting.message.split_once(" since ").and_then(|(_, rest)| rest.split_once(": ")).map(|(since, _)| since);
    let since = since.with_context(|| waiting.message.clone())?.to_owned();
    // Questions are put every five seconds, so the last answer is no older than that, and its scrape.
    let span = times::at(killed.saturating_sub(15_000))..=times::at(killed);
    ensure!(span.contains(&since), "{since} is not in {span:?}: {}", waiting.message);
    ensure!(waiting.message.contains("Prometheus does not answer"), "{}", waiting.message);
    ensure!((held.phase, held.weight.as_str()) == (Phase::Progressing, "canary=50%"), "{}", held.message);
    println!("{}", waiting.message);
    shop.prometheus.again()?;
    let on = shop.until("the handover", |status| status.phase == Phase::Promoting).await?;
    let tally = traffic.stop().await;
    let passed = on.analysis.get("canary").is_some_and(|lane| lane.outcome == Outcome::Pass);
    ensure!(passed && on.failure.is_none(), "{}", verdict::text(&on, now()?));
    ensure!(tally.failed == 0, "{} of {} requests failed: {:?}", tally.failed, tally.sent, tally.first_failure);
    Ok(())
}

/// Users, of whom every so many asks the canary of `orders` to do wrong work.
fn asks(every: usize) -> Vec<Ask> {
    let ask = |user: usize| {
        let path = if every > 0 && user.is_multiple_of(every) { "/?wrong=orders-canary" } else { "/" };
        Ask::get(path).with("x-user-id", format!("user-{user}"))
    };
    // Without a common divisor with the clients, so that each client meets all of them.
    (0..2_003).map(ask).collect()
}

/// What is said of an objective.
fn reason<'a>(status: &'a Status, objective: &str) -> &'a str {
    let findings = status.analysis.get("canary").map(|lane| lane.findings.as_slice()).unwrap_or_default();
    findings.iter().find(|one| one.objective == objective).map_or("", |one| one.reason.as_str())
}

fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?)
}

// === impl Shop ===

impl Shop {
    async fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (envoy, filter) = (paths::envoy(paths::Release::Newest)?, paths::filter()?);
        let find = |file: &Path| file.canonicalize().with_context(|| format!("{} is not there", file.display()));
        let _alone = PORTS.lock().await;
        let stage = Stage::start(folder.path(), &find(&envoy)?, &find(&filter)?).await?;
        let prometheus = Prometheus::start(&targets(&stage))?;
        Ok(Self { stage, prometheus, _folder: folder })
    }

    async fn begin(&mut self, name: &str) -> Result<()> {
        let text = RELEASE.replace("NAME", name).replace("PORT", &self.prometheus.port.to_string());
        self.stage.change_release(&format!("shop/{name}"), &text).await
    }

    async fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Result<Status> {
        let start = Instant::now();
        loop {
            let status = self.stage.status()?;
            if holds(&status) {
                println!("{what}: after {:.1} s", start.elapsed().as_secs_f64());
                return Ok(status);
            }
            ensure!(start.elapsed() < PATIENCE, "waited for {what}: {}", verdict::text(&status, now()?));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The versions of `orders` with the label that Prometheus finds at their pods in a cluster, and the sidecars of
/// those who call them.
fn targets(stage: &Stage) -> Vec<Target> {
    let of = |service: &'static str| stage.topology.pods.iter().filter(move |pod| pod.service == service);
    let apps = of("orders").map(|pod| Target {
        address: format!("127.0.0.1:{}", pod.app),
        path: "/metrics",
        labels: label(pod.lane),
    });
    let callers = of("cart").map(|pod| Target {
        address: format!("127.0.0.1:{}", pod.admin),
        path: "/stats/prometheus",
        labels: BTreeMap::new(),
    });
    apps.chain(callers).collect()
}

/// Stable pods have no such label.
fn label(lane: &str) -> BTreeMap<&'static str, String> {
    let label = "__meta_kubernetes_pod_label_graylane_io_lane";
    (lane != "stable").then(|| (label, lane.to_owned())).into_iter().collect()
}
