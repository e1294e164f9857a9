//! Users of the chain: an open loop, so that slow answers do not thin the traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use graylane::app::Seen;
use graylane::http::{Ask, Client};
use rand::RngExt;
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Trouble;

/// Connections, each of which asks twice a second: 100 requests a second.
const CLIENTS: u64 = 50;
const PERIOD: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(5);
const USERS: u64 = 5_000;
/// An answer that takes longer is slow, where latency is judged.
const SLOW: Duration = Duration::from_millis(300);

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Met {
    /// When it was sent.
    pub sent: SystemTime,
    /// Whether some canary answered it.
    pub in_lane: bool,
    /// Whether the user got no 200.
    pub failed: bool,
    /// Whether it met the trouble: something failed on its way, or its context was to be dropped.
    pub is_bad: bool,
}

/// Traffic until it is stopped.
#[derive(Debug)]
pub struct Crowd {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<Met>>,
}

// === impl Crowd ===

impl Crowd {
    /// Starts 100 requests a second at an address, of which so many meet the trouble.
    pub fn start(entry: &str, trouble: Trouble, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let draw = Pcg64Mcg::seed_from_u64(seed * CLIENTS + client);
            clients.spawn(ask(entry.to_owned(), trouble, draw, stop.clone()));
        }
        Self { stop, clients }
    }

    /// Lets every client finish, and gives what they met.
    ///
    /// # Errors
    /// When a client has panicked.
    pub async fn stop(mut self) -> Result<Vec<Met>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(met) = self.clients.join_next().await {
            all.extend(met?);
        }
        all.sort_by_key(|met| met.sent);
        Ok(all)
    }
}

async fn ask(entry: String, trouble: Trouble, mut draw: Pcg64Mcg, stop: Arc<AtomicBool>) -> Vec<Met> {
    let mut client = Client::new(entry, PATIENCE);
    // Not all at the same moment.
    tokio::time::sleep(PERIOD.mul_f64(draw.random())).await;
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let meets = draw.random_bool(trouble.rate);
        let path = format!("/?{}&{}", trouble.always, if meets { trouble.query } else { "" });
        let user = format!("user-{}", draw.random_range(0..USERS));
        let trace = format!("00-{:032x}-{:016x}-01", draw.random::<u128>() | 1, draw.random::<u64>() | 1);
        let asked = Ask::get(path).with("x-user-id", user).with("traceparent", trace);
        let (sent, begun) = (SystemTime::now(), Instant::now());
        let answer = client.ask(&asked).await;
        let body = answer.as_ref().map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default();
        let failed = !answer.is_ok_and(|answer| answer.status.is_success());
        let loses = trouble.query.contains("forward");
        let is_slow = trouble.spec.contains("latency") && begun.elapsed() > SLOW;
        all.push(Met::new(sent, failed, meets && (loses || is_slow), &body));
    }
    all
}

// === impl Met ===

impl Met {
    /// `suffers` where an answer that is no failure is bad all the same, if it is the lane's.
    fn new(sent: SystemTime, failed: bool, suffers: bool, body: &str) -> Self {
        let path = serde_json::from_str::<Seen>(body).map(|seen| seen.path()).unwrap_or_default();
        let in_lane = path.iter().any(|at| at.contains("-canary"));
        let is_bad = failed || (suffers && in_lane) || path.iter().any(|at| at.contains("answer"));
        Self { sent, in_lane, failed, is_bad }
    }
}
