//! Visitors who come at a steady pace, each on a connection of its own. One who has to wait keeps nobody
//! else from coming: what those see who come later is known all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use graylane_tests::bed::Bed;
use graylane_tests::client::{Ask, At, Connection, Protocol};
use graylane_tests::poll;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::{GATEWAY, HOST};
use crate::asking::names;

/// Time between two of them.
const PACE: Duration = Duration::from_millis(50);
/// Who has no answer by then has none.
const PATIENCE: Duration = Duration::from_secs(30);

/// Visitors who come until they are stopped.
pub struct Visits {
    coming: JoinHandle<JoinSet<Visit>>,
    came: Arc<AtomicU64>,
    over: Arc<Notify>,
}

/// What became of a visitor.
#[derive(Clone, Debug)]
pub struct Visit {
    /// When it came.
    pub begun: Instant,
    /// How long it had to wait.
    pub took: Duration,
    /// Who answered, in the order of the calls; or what came instead.
    pub answer: Result<Vec<String>, String>,
}

// === impl Visits ===

impl Visits {
    /// They come from now on, each as a user of its own.
    pub fn begin(bed: &Bed) -> Result<Self> {
        let gateway = At::from((bed.pod("istio-ingress", "gateway")?.place.ip, GATEWAY));
        let (came, over) = (Arc::<AtomicU64>::default(), Arc::<Notify>::default());
        let come = come(gateway, Arc::clone(&came), Arc::clone(&over));
        let coming = bed.block_on(async { anyhow::Ok(tokio::spawn(come)) })?;
        Ok(Self { coming, came, over })
    }

    /// Waits until so many more have come.
    pub fn await_more(&self, count: u64) -> Result<()> {
        let wanted = self.came.load(Ordering::Relaxed) + count;
        poll::until("visitors", PATIENCE, || {
            let came = self.came.load(Ordering::Relaxed);
            ensure!(came >= wanted, "{came} of {wanted} came");
            Ok(())
        })
    }

    /// Lets nobody in any more, and gives back all who came once the last has its answer.
    pub fn stop(self, bed: &Bed) -> Result<Vec<Visit>> {
        self.over.notify_one();
        let mut visits = bed.block_on(async { anyhow::Ok(self.coming.await?.join_all().await) })?;
        visits.sort_by_key(|visit| visit.begun);
        Ok(visits)
    }
}

async fn come(gateway: At, came: Arc<AtomicU64>, over: Arc<Notify>) -> JoinSet<Visit> {
    let (mut visitors, mut ticks) = (JoinSet::new(), tokio::time::interval(PACE));
    for user in 0_u64.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = over.notified() => break,
        }
        visitors.spawn(visit(gateway, user));
        came.fetch_add(1, Ordering::Relaxed);
    }
    visitors
}

async fn visit(gateway: At, user: u64) -> Visit {
    let begun = Instant::now();
    let ask = Ask::get(HOST, "/").header("x-user-id", user.to_string());
    let asked = async { names(&Connection::open(gateway, Protocol::Http1).await?.send(&ask).await?) };
    let answer = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| format!("{error:#}")),
        Err(_) => Err(format!("nothing within {PATIENCE:?}")),
    };
    Visit { begun, took: begun.elapsed(), answer }
}
