//! Clients of the shop that go on while something is done: on kept-alive connections that are never
//! opened again, one stream without end, and visitors who come whether or not those before were served.

mod visits;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::Bed;
use graylane_tests::client::{Ask, At, Connection, Protocol};
use http_body_util::BodyExt;
use tokio::task::JoinHandle;

pub use self::visits::{Visit, Visits};

/// Where the shop's clients come in.
pub const GATEWAY: u16 = 8080;
/// The host they ask for.
pub const HOST: &str = "shop.example.com";
/// The gateway that all come through, and its clients on HTTP/1.1; one on HTTP/2 comes beside them.
const FIRST: (&str, usize) = ("gateway", 3);
/// A pause between two requests of one client: a few clients would fill both cores of a small machine.
const PAUSE: Duration = Duration::from_millis(6);

/// An answer that takes longer is worth a word.
const LATE: Duration = Duration::from_secs(2);

/// Traffic that goes on until it is stopped.
pub struct Traffic {
    told: Arc<Told>,
    clients: Vec<JoinHandle<Result<()>>>,
}

/// What clients have counted.
#[derive(Default)]
struct Told {
    over: AtomicBool,
    /// Answers with status 200.
    served: AtomicU64,
    /// All others.
    failed: AtomicU64,
    /// When they failed.
    failures: Arc<Mutex<Vec<Instant>>>,
    /// Their traces.
    failed_traces: Arc<Mutex<BTreeSet<String>>>,
}

// === impl Traffic ===

impl Traffic {
    /// Three clients on HTTP/1.1 and one on HTTP/2, all through the first gateway. A connection that closes
    /// is an error of [`Traffic::stop`].
    pub fn begin(bed: &Bed) -> Result<Self> {
        Self::with(bed, &[FIRST], false, "/")
    }

    /// The same, but every fifth user asks for a path of its own.
    pub fn with_every_fifth(bed: &Bed, path: &'static str) -> Result<Self> {
        Self::with(bed, &[FIRST], false, path)
    }

    /// The same and a stream without end, which breaks with the pod that answers it; and one client on HTTP/1.1, one
    /// on HTTP/2 and a stream through another gateway.
    pub fn with_streams_through(bed: &Bed, other: &'static str) -> Result<Self> {
        Self::with(bed, &[FIRST, (other, 1)], true, "/")
    }

    fn with(bed: &Bed, gateways: &[(&str, usize)], stream: bool, fifth: &'static str) -> Result<Self> {
        let told = Arc::new(Told::default());
        let mut clients = Vec::new();
        for (gateway, many) in gateways {
            let gateway = At::from((bed.pod("istio-ingress", gateway)?.place.ip, GATEWAY));
            bed.block_on(async {
                for protocol in std::iter::repeat_n(Protocol::Http1, *many).chain([Protocol::Http2]) {
                    let connection = Connection::open(gateway, protocol).await?;
                    let client = ask_until_over(connection, told.clone(), fifth, clients.len());
                    // Said at once: whoever waits for traffic to be judged would wait for nothing.
                    let client =
                        async move { client.await.inspect_err(|error| eprintln!("a client ended: {error:#}")) };
                    clients.push(tokio::spawn(client));
                }
                if stream {
                    let connection = Connection::open(gateway, Protocol::Http2).await?;
                    clients.push(tokio::spawn(stream_until_over(connection, told.clone())));
                }
                anyhow::Ok(())
            })?;
        }
        Ok(Self { told, clients })
    }

    /// When requests failed, oldest first.
    pub fn failures(&self) -> Arc<Mutex<Vec<Instant>>> {
        self.told.failures.clone()
    }

    /// Traces of requests that failed.
    pub fn failed_traces(&self) -> Arc<Mutex<BTreeSet<String>>> {
        self.told.failed_traces.clone()
    }

    /// Stops, and gives back how many requests were served and how many failed.
    pub fn stop(self, bed: &Bed) -> Result<(u64, u64)> {
        self.told.over.store(true, Ordering::Relaxed);
        bed.block_on(async {
            for client in self.clients {
                client.await??;
            }
            anyhow::Ok(())
        })?;
        Ok((self.told.served.load(Ordering::Relaxed), self.told.failed.load(Ordering::Relaxed)))
    }
}

async fn ask_until_over(mut connection: Connection, told: Arc<Told>, fifth: &str, at: usize) -> Result<()> {
    let mut user = 0_u64;
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    while !told.over.load(Ordering::Relaxed) {
        user += 1;
        let path = if user.is_multiple_of(5) { fifth } else { "/" };
        let trace = format!("{began:020x}{at:04x}{user:08x}");
        let ask = Ask::get(HOST, path).header("x-user-id", user.to_string());
        let ask = ask.header("traceparent", format!("00-{trace}-{user:016x}-01"));
        let sent = Instant::now();
        let answer = connection.send(&ask).await.with_context(|| format!("request {user}: the connection broke"))?;
        if sent.elapsed() > LATE {
            eprintln!("request {user} took {:?}: {} {}", sent.elapsed(), answer.status, answer.text());
        }
        if answer.status == 200 {
            told.served.fetch_add(1, Ordering::Relaxed);
        } else {
            if told.failed.fetch_add(1, Ordering::Relaxed).is_multiple_of(50) {
                eprintln!("request {user} failed: {} {}", answer.status, answer.text().trim_end());
            }
            told.failures.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
            told.failed_traces.lock().unwrap_or_else(PoisonError::into_inner).insert(trace);
        }
        tokio::time::sleep(PAUSE).await;
    }
    ensure!(connection.is_open(), "a connection was closed");
    Ok(())
}

async fn stream_until_over(mut connection: Connection, told: Arc<Told>) -> Result<()> {
    let mut body = connection.start(&Ask::get(HOST, "/?stream=50")).await?.into_body();
    while !told.over.load(Ordering::Relaxed) {
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.context("the stream hangs")?;
        frame.context("the stream ended")?.context("the stream broke")?;
    }
    ensure!(connection.is_open(), "the stream's connection was closed");
    Ok(())
}
