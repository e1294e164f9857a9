//! Reads the counters of proxies in the background, each once a second, for as long as somebody wants them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use graylane_analysis::counts::series;
use graylane_analysis::{Reading, Series};
use tokio::sync::Semaphore;

use super::named::{Named, Parts};
use super::open::{Open, Streams};
use super::page::{Line, Page, text_lines};
use super::{Counted, Told};
use crate::clock::now_ms;
use crate::http::{Ask, Client, HttpError};

/// Time between two readings of a proxy.
const PERIOD: Duration = Duration::from_secs(1);
/// How long one reading may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// A proxy that nobody has wanted for so long is not read any more.
const INTEREST: Duration = Duration::from_secs(15);
/// Readings at the same time.
const AT_ONCE: usize = 32;
/// Only what is judged by: a full page of a busy proxy is megabytes. The regular expression is
/// `graylane_((requests|failures|abandoned|slow_requests|lane|context)_total|(failed|slow)_trace|open_streams|unit_)|`
/// `^server\.uptime$`, each with its labels behind it.
const FILTER: &str = "graylane_%28%28requests%7Cfailures%7Cabandoned%7Cslow_requests%7Clane%7Ccontext%29_total\
                      %7C%28failed%7Cslow%29_trace%7Copen_streams%7Cunit_%29%7C%5Eserver%5C.uptime%24";

/// The form of a proxy's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Envoy's admin interface.
    Admin,
    /// The metrics port that Istio opens on every proxy.
    Prometheus,
}

/// A proxy to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name in findings.
    pub proxy: String,
    /// The service beside whose pods it runs; none at a gateway.
    pub beside: Option<String>,
    /// `host:port` of its page, once known.
    pub address: Option<String>,
    /// The form of that page.
    pub form: Form,
}

/// Reads proxies. Cheap to clone; reading ends with the last clone.
#[derive(Clone, Debug)]
pub struct Scraper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pages: Mutex<HashMap<String, Kept>>,
    at_once: Semaphore,
}

#[derive(Debug)]
struct Kept {
    wanted_until: Instant,
    read: Option<Read>,
}

/// A page as it was read.
#[derive(Debug)]
struct Read {
    at_ms: u64,
    epoch: Option<u64>,
    rollouts: BTreeMap<String, BTreeMap<Series, u64>>,
    named: BTreeMap<String, Named>,
    open: BTreeMap<String, Open>,
}

/// Why a page cannot be read.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("it answers {0}")]
    Status(u16),
    #[error("the answer is not Envoy's statistics")]
    Shape(#[from] serde_json::Error),
}

impl Default for Scraper {
    fn default() -> Self {
        Self(Arc::new(Inner { pages: Mutex::default(), at_once: Semaphore::new(AT_ONCE) }))
    }
}

// === impl Scraper ===

impl Scraper {
    /// What these proxies last counted for a release (`namespace/name`). From now on they are read. Needs a
    /// tokio runtime.
    pub fn look(&self, rollout: &str, targets: &[Target]) -> Counted {
        let now = Instant::now();
        let mut pages = self.0.pages();
        let (mut readings, mut told) = (Vec::new(), Vec::new());
        for target in targets {
            let Some(address) = &target.address else { continue };
            match pages.get_mut(address) {
                Some(kept) => {
                    kept.wanted_until = now + INTEREST;
                    readings.extend(kept.read.as_ref().map(|read| read.of(rollout, target)));
                    told.extend(kept.read.as_ref().map(|read| read.told(rollout, target)));
                }
                None => {
                    pages.insert(address.clone(), Kept { wanted_until: now + INTEREST, read: None });
                    tokio::spawn(read_again_and_again(Arc::downgrade(&self.0), address.clone(), target.form));
                }
            }
        }
        Counted { expected: targets.iter().map(|target| target.proxy.clone()).collect(), readings, told }
    }
}

// === impl Inner ===

impl Inner {
    fn pages(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        // What is in there is whole after every statement.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was read, if anything. False once nobody wants it.
    fn keep(&self, address: &str, read: Result<Read, ScrapeError>) -> bool {
        let mut pages = self.pages();
        let Some(kept) = pages.get_mut(address) else { return false };
        if kept.wanted_until < Instant::now() {
            pages.remove(address);
            return false;
        }
        match read {
            Ok(read) => kept.read = Some(read),
            // The last reading stays; that it is old shows in its time.
            Err(error) => tracing::debug!(address, %error, "the counters of a proxy cannot be read"),
        }
        true
    }
}

async fn read_again_and_again(inner: std::sync::Weak<Inner>, address: String, form: Form) {
    let mut client = Client::new(&address, PATIENCE);
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let read = {
            // A closed semaphore does not happen; without a permit the page is read all the same.
            let _permit = inner.at_once.acquire().await.ok();
            read(&mut client, form).await
        };
        if !inner.keep(&address, read) {
            return;
        }
    }
}

async fn read(client: &mut Client, form: Form) -> Result<Read, ScrapeError> {
    let path = match form {
        Form::Admin => format!("/stats?format=json&filter={FILTER}"),
        Form::Prometheus => format!("/stats/prometheus?filter={FILTER}"),
    };
    let answer = client.ask(&Ask::get(path)).await?;
    if !answer.status.is_success() {
        return Err(ScrapeError::Status(answer.status.as_u16()));
    }
    let at_ms = now_ms();
    match form {
        Form::Admin => {
            let page: Page<'_> = serde_json::from_slice(&answer.body)?;
            Ok(Read::of_lines(at_ms, page.uptime(), page.lines()))
        }
        Form::Prometheus => {
            let text = String::from_utf8_lossy(&answer.body);
            Ok(Read::of_lines(at_ms, super::page::uptime(&text), text_lines(&text)))
        }
    }
}

// === impl Read ===

impl Read {
    fn of_lines<'a>(at_ms: u64, uptime: Option<u64>, lines: impl Iterator<Item = Line<'a>>) -> Self {
        let mut rollouts: BTreeMap<String, BTreeMap<Series, u64>> = BTreeMap::new();
        let (mut named, mut open) = (Parts::default(), Streams::default());
        for line in lines {
            if named.take(&line) || open.take(&line) {
                continue;
            }
            let label = |wanted: &str| line.labels.get(wanted).map(String::as_str);
            let Some((rollout, series)) = series(line.name, &label) else { continue };
            // Names that differ only in labels which do not matter here are one series.
            *rollouts.entry(rollout.to_owned()).or_default().entry(series).or_default() += line.value;
        }
        let epoch = uptime.map(|seconds| at_ms.saturating_sub(seconds.saturating_mul(1000)));
        Self { at_ms, epoch, rollouts, named: named.put_together(), open: open.0 }
    }

    fn told(&self, rollout: &str, target: &Target) -> Told {
        let named = self.named.get(rollout).cloned().unwrap_or_default();
        let open = self.open.get(rollout).cloned().unwrap_or_default();
        Told { proxy: target.proxy.clone(), epoch: self.epoch, at_ms: self.at_ms, named, open }
    }

    fn of(&self, rollout: &str, target: &Target) -> Reading {
        // The meter of lane integrity is of a workload and of no release: it is for all of them.
        let own = self.rollouts.get(rollout).into_iter().chain(self.rollouts.get("")).flatten();
        Reading {
            proxy: target.proxy.clone(),
            beside: target.beside.clone(),
            at_ms: self.at_ms,
            epoch: self.epoch,
            series: own.map(|(series, count)| (series.clone(), *count)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    async fn proxy() -> String {
        let asked = std::sync::Arc::new(AtomicU64::new(0));
        let page = move || {
            let count = asked.fetch_add(1, Ordering::SeqCst) + 1;
            let labels =
                "service=\"orders.shop\",rollout=\"shop/summer\",lane=\"canary\",cohort=\"slot\",direction=\"gateway\"";
            std::future::ready(format!("envoy_server_uptime{{}} 5\ngraylane_failures_total{{{labels}}} {count}\n"))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = axum::Router::new().route("/stats/prometheus", axum::routing::get(page));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    #[test]
    fn what_a_workload_does_with_lanes_is_told_to_every_release() {
        let page =
            "graylane_context_total{workload=\"cart\",lane=\"canary\",direction=\"inbound\",source=\"header\"} 7\n";
        let read = Read::of_lines(1, None, text_lines(page));
        for release in ["shop/summer", "shop/winter"] {
            let reading = read.of(release, &target(None));
            assert_eq!(reading.series.values().copied().collect::<Vec<_>>(), [7], "{release}");
        }
    }

    fn target(address: Option<String>) -> Target {
        Target { proxy: "edge/gateway-1".into(), beside: None, address, form: Form::Prometheus }
    }

    #[tokio::test]
    async fn a_proxy_that_is_wanted_is_read_again_and_again() {
        let (scraper, wanted) = (Scraper::default(), [target(Some(proxy().await)), target(None)]);
        let read = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                let counted = scraper.look("shop/summer", &wanted);
                assert_eq!(counted.expected.len(), 2, "one without an address is expected too");
                if let Some(reading) = counted.readings.first()
                    && reading.series.values().any(|count| *count >= 2)
                {
                    return counted;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let read = read.await.unwrap();
        assert_eq!(read.readings[0].epoch.unwrap() / 1000, (read.readings[0].at_ms - 5_000) / 1000);
        let other = scraper.look("shop/winter", &wanted);
        assert!(other.readings[0].series.is_empty(), "another release has counted nothing, and the proxy has answered");
    }
}
