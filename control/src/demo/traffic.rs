//! Clients of the demo: kept-alive connections, with everything counted that must not happen.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::app::Seen;
use crate::http::{Answer, Ask, Client};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client met.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests sent.
    pub sent: u64,
    /// Requests that were not answered with 200.
    pub failed: u64,
    /// Connections that had to be opened beyond the first of each client.
    pub reopened: u64,
    /// The first failure, in words.
    pub first_failure: Option<String>,
    /// Traces of the requests of [`Background`] that failed.
    pub failed_traces: BTreeSet<String>,
}

/// Traffic that goes on until it is stopped.
#[derive(Debug)]
pub struct Background {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

/// A client of an entry.
pub fn client(entry: &str) -> Client {
    Client::new(entry, PATIENCE)
}

/// What the services say that answered; any other answer is an error.
///
/// # Errors
/// When the status is not 200 or the body is not of the toy service.
pub fn seen(answer: &Answer) -> Result<Seen> {
    let body = String::from_utf8_lossy(&answer.body);
    anyhow::ensure!(answer.status.is_success(), "answered {}: {}", answer.status.as_u16(), body.trim_end());
    let mut json = serde_json::Deserializer::from_slice(&answer.body);
    Seen::deserialize(&mut json).with_context(|| format!("not an answer of ours: {body}"))
}

/// Asks for each item on several connections and keeps the answers in order. A request that fails is
/// counted, and stands in the answers with its reason in the place of a service's name.
///
/// # Errors
/// When a client ends early, which is a mistake of ours.
pub async fn ask_all(entry: &str, connections: usize, asks: Vec<Ask>) -> Result<(Vec<Seen>, Tally)> {
    let mut tasks = JoinSet::new();
    let total = asks.len();
    let asks = Arc::new(asks);
    for first in 0..connections {
        let (asks, mut client) = (asks.clone(), client(entry));
        tasks.spawn(async move {
            let mut answers = Vec::new();
            let mut tally = Tally::default();
            for (index, ask) in asks.iter().enumerate().skip(first).step_by(connections) {
                let answer = client.ask(ask).await.map_err(anyhow::Error::from);
                let seen =
                    answer.and_then(|answer| seen(&answer)).unwrap_or_else(|error| tally.fail(format!("{error:#}")));
                answers.push((index, seen));
            }
            tally.reopened = client.opened.saturating_sub(1);
            (answers, tally)
        });
    }
    let mut all = Vec::with_capacity(total);
    let mut tally = Tally { sent: total as u64, ..Tally::default() };
    while let Some(done) = tasks.join_next().await {
        let (answers, met) = done?;
        all.extend(answers);
        tally = tally.with(met);
    }
    all.sort_by_key(|(index, _)| *index);
    Ok((all.into_iter().map(|(_, seen)| seen).collect(), tally))
}

// === impl Tally ===

impl Tally {
    /// Counts a failure, and gives what takes the place of the answer.
    fn fail(&mut self, words: String) -> Seen {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| words.clone());
        Seen { at: words, lane: None, route: None, baggage: None, next: None }
    }

    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            failed: self.failed + other.failed,
            reopened: self.reopened + other.reopened,
            first_failure: self.first_failure.or(other.first_failure),
            failed_traces: self.failed_traces.into_iter().chain(other.failed_traces).collect(),
        }
    }
}

// === impl Background ===

impl Background {
    /// Starts clients that send the requests in turn, each on one kept-alive connection, with a pause
    /// between any two: the machine is to be busy, not overrun. Every request has a trace of its own.
    pub fn start(entry: &str, clients: usize, pause: Duration, asks: Vec<Ask>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asks = Arc::new(asks);
        let mut set = JoinSet::new();
        // Differs from one traffic to the next, so that none has the traces of another.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let began = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        for first in 0..clients {
            let (stop, asks, mut client) = (stop.clone(), asks.clone(), client(entry));
            set.spawn(async move {
                let mut tally = Tally::default();
                for ask in asks.iter().cycle().skip(first) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    tally.sent += 1;
                    let trace = format!("{began:016x}{:016x}", (first as u64) << 48 | tally.sent);
                    let ask = ask.clone().with("traceparent", format!("00-{trace}-{:016x}-01", tally.sent));
                    let answer = client.ask(&ask).await.map_err(anyhow::Error::from);
                    if let Err(error) = answer.and_then(|answer| seen(&answer)) {
                        drop(tally.fail(format!("{error:#}")));
                        tally.failed_traces.insert(trace);
                    }
                    tokio::time::sleep(pause).await;
                }
                tally.reopened = client.opened.saturating_sub(1);
                tally
            });
        }
        Self { stop, clients: set }
    }

    /// Lets every client finish its request and adds up what they met.
    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        while let Some(done) = self.clients.join_next().await {
            tally = tally.with(done.unwrap_or_default());
        }
        tally
    }
}
