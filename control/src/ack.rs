//! Asks proxies whether they run what was pushed. A proxy has a generation when every worker and the
//! main thread report it; a refused document shows in Envoy's own counter of failed configs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::build::Side;
use crate::http::Client;
use crate::stats::Stats;

/// How often a proxy is asked.
const PERIOD: Duration = Duration::from_millis(20);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a proxy will report once it runs a push.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Name of the proxy.
    pub proxy: String,
    /// `host:port` of its admin interface.
    pub admin: String,
    /// Workers that report: Envoy's concurrency and the main thread.
    pub workers: u64,
    /// Its filters.
    pub filters: Vec<ExpectedFilter>,
}

/// What one filter will report.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedFilter {
    /// Where it runs.
    pub side: Side,
    /// The generation it will have.
    pub generation: u64,
}

/// How a filter of a proxy stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the proxy.
    pub proxy: String,
    /// Name of the filter.
    pub filter: String,
    /// Generation it was to have.
    pub wanted: u64,
    /// Newest generation it reports.
    pub generation: u64,
    /// Workers that report the newest generation, the main thread included.
    pub workers: u64,
    /// Workers there are, the main thread included.
    pub of_workers: u64,
    /// How it stands.
    pub state: State,
    /// What the proxy says about it, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Milliseconds from the beginning of the wait to this state.
    pub millis: u64,
}

/// How a filter stands with what was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Every worker runs it.
    Acknowledged,
    /// Not every worker has reported it yet.
    Waiting,
    /// The proxy did not answer.
    Unreachable,
    /// Envoy refused it; what ran before still runs.
    Refused,
}

/// A wait that knows how the proxies stood before the push.
#[derive(Debug)]
pub struct Watch {
    before: BTreeMap<String, Stats>,
}

// === impl Watch ===

impl Watch {
    /// Notes how the proxies stand; call it before writing.
    pub async fn begin(expected: &[Expected]) -> Self {
        let asked = expected.iter().map(|proxy| {
            let admin = proxy.admin.clone();
            tokio::spawn(async move { (admin.clone(), stats(&mut Client::new(admin, PATIENCE)).await) })
        });
        let mut before = BTreeMap::new();
        for task in asked.collect::<Vec<_>>() {
            if let Ok((admin, Ok(stats))) = task.await {
                before.insert(admin, stats);
            }
        }
        Self { before }
    }

    /// Waits until every filter of every proxy runs its generation, or one was refused, or the time is
    /// over; reports how each stands then.
    pub async fn wait(&self, expected: &[Expected], timeout: Duration) -> Vec<Report> {
        let start = Instant::now();
        let tasks: Vec<_> = expected
            .iter()
            .map(|proxy| {
                let before = self.before.get(&proxy.admin).cloned();
                tokio::spawn(wait_for(proxy.clone(), before, start, timeout))
            })
            .collect();
        let mut reports = Vec::new();
        for task in tasks {
            reports.extend(task.await.unwrap_or_default());
        }
        reports
    }
}

async fn wait_for(proxy: Expected, before: Option<Stats>, start: Instant, timeout: Duration) -> Vec<Report> {
    let mut client = Client::new(&proxy.admin, PATIENCE);
    let mut reports: Vec<Report> = proxy.filters.iter().map(|filter| unheard(&proxy, *filter)).collect();
    loop {
        let answer = stats(&mut client).await;
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        for (filter, report) in proxy.filters.iter().zip(&mut reports) {
            if matches!(report.state, State::Waiting | State::Unreachable) {
                update(report, *filter, before.as_ref(), &answer, millis);
            }
        }
        let open = reports.iter().any(|report| matches!(report.state, State::Waiting | State::Unreachable));
        if !open || start.elapsed() >= timeout {
            return reports;
        }
        tokio::time::sleep(PERIOD.min(timeout.saturating_sub(start.elapsed()))).await;
    }
}

fn unheard(proxy: &Expected, filter: ExpectedFilter) -> Report {
    Report {
        proxy: proxy.proxy.clone(),
        filter: filter.side.filter_name().into(),
        wanted: filter.generation,
        generation: 0,
        workers: 0,
        of_workers: proxy.workers,
        state: State::Unreachable,
        message: None,
        millis: 0,
    }
}

fn update(
    report: &mut Report,
    filter: ExpectedFilter,
    before: Option<&Stats>,
    now: &Result<Stats, String>,
    millis: u64,
) {
    report.millis = millis;
    let stats = match now {
        Ok(stats) => stats,
        Err(error) => {
            report.state = State::Unreachable;
            report.message = Some(error.clone());
            return;
        }
    };
    report.message = None;
    report.generation = gauge(stats, "graylane_config_generation", filter.side);
    report.workers = gauge(stats, "graylane_config_workers", filter.side);
    let failed = config_fails(stats, filter.side);
    report.state = if report.generation >= report.wanted && report.workers >= report.of_workers {
        State::Acknowledged
    } else if before.is_some_and(|before| failed > config_fails(before, filter.side)) {
        report.message = Some("Envoy refused the config; its log says why, and the last good one serves".into());
        State::Refused
    } else {
        State::Waiting
    };
}

async fn stats(admin: &mut Client) -> Result<Stats, String> {
    Stats::read(admin, "graylane.*config_").await.map_err(|error| error.to_string())
}

fn gauge(stats: &Stats, name: &str, side: Side) -> u64 {
    stats.sum(name, &[("role", side.label())])
}

/// Envoy counts per filter name: `extension_config_discovery.http_filter.<name>.config_fail`.
fn config_fails(stats: &Stats, side: Side) -> u64 {
    stats.sum_ending(&format!("{}.config_fail", side.filter_name()))
}
