//! Bad weather between a controller and its API server: an HTTP proxy that can break what passes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use bytes::Bytes;
use graylane_tests::bed::Bed;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What becomes of what passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sky {
    /// It passes.
    Clear,
    /// Everything is answered with this status, and watches end.
    Status(u16),
    /// Nothing is answered, and watches go silent.
    Hangs,
    /// Connections are cut, and no new one is taken.
    Away,
    /// Writes wait on their way to the API server until the sky clears; all else passes, and so do events
    /// and the lease.
    HoldsWrites,
    /// The same for writes of EnvoyFilters alone.
    HoldsFilters,
}

// === impl Sky ===

impl Sky {
    /// Whether a request has to wait.
    fn holds(&self, method: &Method, path: &str) -> bool {
        let always = ["/leases", "/events"];
        let is_write = method != Method::GET && !always.iter().any(|part| path.contains(part));
        is_write && (*self == Self::HoldsWrites || (*self == Self::HoldsFilters && path.contains("/envoyfilters")))
    }
}

/// A request that passed, with its answer.
#[derive(Clone, Debug)]
pub struct Passed {
    pub method: Method,
    pub path: String,
    pub status: StatusCode,
    /// True when it was held back before.
    pub was_held: bool,
}

/// The weather of one controller.
pub struct Weather {
    sky: watch::Sender<Sky>,
    passed: Arc<Mutex<Vec<Passed>>>,
    held: Arc<AtomicUsize>,
    tried: Arc<AtomicUsize>,
    kubeconfig: PathBuf,
    task: AbortHandle,
}

// === impl Weather ===

impl Weather {
    /// Stands between the API server and whoever uses [`Weather::kubeconfig`], with the rights of
    /// `account`, a kubeconfig.
    pub fn between(bed: &Bed, name: &str, account: &Path) -> Result<Self> {
        let (sky, _) = watch::channel(Sky::Clear);
        let (passed, held) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let tried = Arc::new(AtomicUsize::new(0));
        let (address, task) = bed.block_on(async {
            let options = KubeConfigOptions::default();
            let mut config = Config::from_custom_kubeconfig(Kubeconfig::read_from(account)?, &options).await?;
            // What the API server says is what the controller hears.
            config.default_retry = false;
            let passage = Passage {
                client: Client::try_from(config)?,
                sky: sky.clone(),
                passed: Arc::clone(&passed),
                held: Arc::clone(&held),
                tried: Arc::clone(&tried),
            };
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            Ok::<_, anyhow::Error>((address, tokio::spawn(serve(listener, passage)).abort_handle()))
        })?;
        let kubeconfig = write_kubeconfig(bed, name, address)?;
        Ok(Self { sky, passed, held, tried, kubeconfig, task })
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub fn turn(&self, sky: Sky) {
        self.sky.send_replace(sky);
    }

    /// Writes that wait now, or have waited.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Requests, and connections while nobody is there, that have come to nothing so far.
    pub fn tried(&self) -> usize {
        self.tried.load(Ordering::SeqCst)
    }

    /// What has passed so far.
    pub fn passed(&self) -> Vec<Passed> {
        self.passed.lock().map(|passed| passed.clone()).unwrap_or_default()
    }
}

impl Drop for Weather {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn write_kubeconfig(bed: &Bed, name: &str, address: SocketAddr) -> Result<PathBuf> {
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "weather",
        "clusters": [{"name": "weather", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "weather", "user": {}}],
        "contexts": [{"name": "weather", "context": {"cluster": "weather", "user": "weather"}}],
    });
    let path = bed.folder().join(format!("{name}-weather.kubeconfig"));
    std::fs::write(&path, text.to_string())?;
    Ok(path)
}

#[derive(Clone)]
struct Passage {
    client: Client,
    sky: watch::Sender<Sky>,
    passed: Arc<Mutex<Vec<Passed>>>,
    held: Arc<AtomicUsize>,
    tried: Arc<AtomicUsize>,
}

async fn serve(listener: TcpListener, passage: Passage) {
    while let Ok((stream, _)) = listener.accept().await {
        if *passage.sky.borrow() == Sky::Away {
            passage.tried.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let passage = passage.clone();
        let mut sky = passage.sky.subscribe();
        let service = service_fn(move |request| passage.clone().pass(request));
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            tokio::select! {
                _ = connection => {}
                _ = sky.wait_for(|sky| matches!(sky, Sky::Away)) => {}
            }
        });
    }
}

// === impl Passage ===

type AnswerBody = http_body_util::combinators::UnsyncBoxBody<Bytes, kube::Error>;

impl Passage {
    async fn pass(self, request: Request<Incoming>) -> Result<Response<AnswerBody>, Infallible> {
        let (head, body) = request.into_parts();
        let (method, path) = (head.method.clone(), head.uri.path().to_owned());
        let mut sky = self.sky.subscribe();
        let mut was_held = false;
        let now = sky.borrow().clone();
        if matches!(now, Sky::Status(_) | Sky::Hangs | Sky::Away) {
            self.tried.fetch_add(1, Ordering::SeqCst);
        }
        match now {
            Sky::Clear => {}
            Sky::Status(code) => return Ok(failure(code)),
            Sky::Hangs | Sky::Away => std::future::pending().await,
            Sky::HoldsWrites | Sky::HoldsFilters if !now.holds(&method, &path) => {}
            Sky::HoldsWrites | Sky::HoldsFilters => {
                was_held = true;
                self.held.fetch_add(1, Ordering::SeqCst);
                let _ = sky.wait_for(|sky| *sky == Sky::Clear).await;
            }
        }
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        // A request that is on its way arrives although its sender has gone: TCP has taken it.
        let client = self.client.clone();
        let sent =
            tokio::spawn(async move { client.send(Request::from_parts(head, kube::client::Body::from(body))).await });
        let Ok(Ok(answer)) = sent.await else { return Ok(failure(502)) };
        let passed = Passed { method, path, status: answer.status(), was_held };
        if let Ok(mut all) = self.passed.lock() {
            all.push(passed);
        }
        Ok(answer.map(|body| {
            let (into, stream) = Channel::new(16);
            tokio::spawn(flow(body, into, self.sky.subscribe()));
            stream.boxed_unsync()
        }))
    }
}

fn failure(code: u16) -> Response<AnswerBody> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "bad weather",
        "reason": "BadWeather", "code": code});
    let mut answer =
        Response::new(Full::new(Bytes::from(status.to_string())).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    answer
}

/// Hands an answer on for as long as the sky lets it.
async fn flow(mut body: kube::client::Body, mut into: Sender<Bytes, kube::Error>, mut sky: watch::Receiver<Sky>) {
    loop {
        let now = sky.borrow_and_update().clone();
        match now {
            Sky::Status(_) | Sky::Away => return,
            Sky::Hangs => {
                if sky.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Sky::Clear | Sky::HoldsWrites | Sky::HoldsFilters => {}
        }
        tokio::select! {
            frame = body.frame() => match frame {
                Some(Ok(frame)) => if into.send(frame).await.is_err() { return },
                _ => return,
            },
            changed = sky.changed() => if changed.is_err() { return },
        }
    }
}
