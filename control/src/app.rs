//! A toy service for the demo and the scenarios: it answers with what it saw, and calls the next one.
//!
//! The query of a request decides what happens, at every service on the way:
//! - `forward=all|baggage|trace|none`: which headers are passed on; default all
//! - `hops=N`: how many further services are called; default all of them
//! - `fail=NAME:STATUS`, `delay=NAME:MILLISECONDS`: the service or version of that name does so
//! - `swallow=NAME`: the service of that name answers 200 although the next one failed
//! - `wrong=NAME`: the service or version of that name answers 200 and does not do its work
//! - `limit=NAME:MILLISECONDS`: it gives up on the next one after that long, and answers 502
//! - `stream=MILLISECONDS`: the first service answers with a line that often, without end
//!
//! The path `/healthz` says whether the service is ready, and `/metrics` how often it did its work; they call
//! nobody.

mod query;
mod work;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::query::Wish;
use self::work::Work;
use crate::http::{Ask, Client};

/// How long a call to the next service may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer in one piece, or one without end.
type Body = Either<Full<Bytes>, StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

/// What a service is called and whom it calls.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Name and version, such as `cart-stable`.
    pub name: String,
    /// The next service, if there is one.
    pub call: Option<Next>,
}

/// The next service.
#[derive(Clone, Debug)]
pub struct Next {
    /// Its name: the `host` of the call.
    pub host: String,
    /// Where the call goes: the outbound side of the own sidecar.
    pub addr: String,
}

/// What a service answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Who answers.
    pub at: String,
    /// The carried header as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// The route header as it came; there must be none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The baggage as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baggage: Option<String>,
    /// What the next service answered, or a text that says why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Value>,
}

/// A running service. It ends, with its connections, when dropped.
#[derive(Debug)]
pub struct App {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The version that answers what comes from now on.
    serving: watch::Sender<Arc<State>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    setup: Setup,
    ready: AtomicBool,
    work: Work,
    /// Connections to the next service that are not in use.
    idle: Mutex<Vec<Client>>,
}

// === impl App ===

impl App {
    /// Starts a service on a bound listener.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(listener: TcpListener, setup: Setup) -> std::io::Result<Self> {
        let addr = listener.local_addr()?;
        let (serving, version) = watch::channel(Arc::new(State::new(setup)));
        Ok(Self { addr, serving, task: tokio::spawn(accept(listener, version)) })
    }

    /// Puts another version in its place, as a rolling update without a gap does: what has begun is answered by
    /// the one before, and all else by the new one, which counts its work from nothing.
    pub fn replace(&self, setup: Setup) {
        self.serving.send_replace(Arc::new(State::new(setup)));
    }

    /// Says at `/healthz` from now on whether it is ready. It serves all the same, as a version does that
    /// is about to be stopped.
    pub fn set_ready(&self, ready: bool) {
        self.serving.borrow().ready.store(ready, Ordering::Relaxed);
    }

    /// Serves until the task is ended from outside.
    pub async fn serve(mut self) {
        let _ = (&mut self.task).await;
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, version: watch::Receiver<Arc<State>>) {
    // Connections live in the set, so that they end with the service: a stopped version serves nobody.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, version.clone()))),
                // Such as too many open files: others may close theirs meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(stream: TcpStream, version: watch::Receiver<Arc<State>>) {
    // Without it the kernel holds a small answer back until the one before is acknowledged.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let state = version.borrow().clone();
        async move { Ok::<_, Infallible>(state.answer(request).await) }
    });
    let mut server = http1::Builder::new();
    // As many headers as Envoy lets through in the demo.
    server.timer(TokioTimer::new()).max_headers(2_000).max_buf_size(1 << 20);
    // A client that goes away is no news.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

// === impl State ===

impl State {
    fn new(setup: Setup) -> Self {
        let work = Work::of(&setup.name);
        Self { setup, ready: AtomicBool::new(true), work, idle: Mutex::default() }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            "/healthz" => return self.health(),
            "/metrics" => return self.metrics(),
            _ => {}
        }
        let wish = Wish::read(request.uri().query().unwrap_or_default(), &self.setup.name);
        tokio::time::sleep(wish.delay).await;
        if let Some(pause) = wish.stream {
            return Response::new(Either::Right(ticks(&self.setup.name, pause)));
        }
        let headers = request.headers();
        let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let mut status = wish.fail.unwrap_or(StatusCode::OK);
        let mut seen = Seen {
            at: self.setup.name.clone(),
            lane: text("x-release-stage"),
            route: text("x-graylane-route"),
            baggage: text("baggage"),
            next: None,
        };
        if let Some(next) = &self.setup.call
            && wish.hops != Some(0)
        {
            match self.call(next, &request, &wish).await {
                Ok(value) => seen.next = Some(value),
                Err(message) => {
                    status = if wish.swallow { status } else { StatusCode::BAD_GATEWAY };
                    seen.next = Some(Value::String(message));
                }
            }
        }
        self.work.count(status.is_success() && !wish.wrong);
        let body = serde_json::to_string(&seen).unwrap_or_default() + "\n";
        // One buffer, so one write: two would cost 40 ms by delayed acknowledgement.
        let mut response = Response::new(Either::Left(Full::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    fn health(&self) -> Response<Body> {
        let ready = self.ready.load(Ordering::Relaxed);
        let words = if ready { "ready\n" } else { "not ready\n" };
        let mut response = Response::new(Either::Left(Full::from(words)));
        *response.status_mut() = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        response
    }

    fn metrics(&self) -> Response<Body> {
        const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let mut response = Response::new(Either::Left(Full::from(self.work.page())));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
        response
    }

    async fn call(&self, next: &Next, request: &Request<Incoming>, wish: &Wish) -> Result<Value, String> {
        let mut headers = wish.forward.pick(request.headers());
        headers.insert(HOST, HeaderValue::try_from(&next.host).map_err(|error| error.to_string())?);
        let mut path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if let Some(hops) = wish.hops {
            path = path.replace(&format!("hops={hops}"), &format!("hops={}", hops.saturating_sub(1)));
        }
        let mut client = self.take().unwrap_or_else(|| Client::new(&next.addr, PATIENCE));
        let ask = Ask { method: request.method().clone(), path, headers };
        let limit = wish.limit.unwrap_or(PATIENCE);
        let answer = tokio::time::timeout(limit, client.ask(&ask)).await;
        let answer = answer.map_err(|_| format!("{} did not answer in time", next.host))?;
        let answer = answer.map_err(|error| error.to_string())?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        let body = String::from_utf8_lossy(&answer.body);
        if answer.status.is_success() {
            serde_json::from_str(&body).map_err(|error| format!("{}: {error}", next.host))
        } else {
            Err(format!("{} answered {}: {}", next.host, answer.status.as_u16(), body.trim_end()))
        }
    }

    fn take(&self) -> Option<Client> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// A line with the service's name, over and over.
fn ticks(name: &str, pause: Duration) -> StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>> {
    let line = Bytes::from(format!("{name}\n"));
    let ticks = stream::repeat(line).then(move |line| async move {
        tokio::time::sleep(pause).await;
        Ok(Frame::data(line))
    });
    StreamBody::new(ticks.boxed())
}

// === impl Seen ===

impl Seen {
    /// The services on the way, in order; a failure ends the list with its text.
    pub fn path(&self) -> Vec<String> {
        let mut path = vec![self.at.clone()];
        match &self.next {
            Some(Value::String(failure)) => path.push(failure.clone()),
            Some(next) => path.extend(Self::deserialize(next).map(|next| next.path()).unwrap_or_default()),
            None => {}
        }
        path
    }

    /// This service and every one after it.
    pub fn hops(&self) -> Vec<Seen> {
        let next = self.next.as_ref().and_then(|next| Self::deserialize(next).ok());
        std::iter::once(self.clone()).chain(next.iter().flat_map(Seen::hops)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chain_answers_with_its_path_and_forwards_what_was_asked() {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let last = Setup { name: "orders-stable".into(), call: None };
        let last = App::start(bind().await.unwrap(), last).unwrap();
        let next = Next { host: "orders".into(), addr: last.addr.to_string() };
        let first = App::start(bind().await.unwrap(), Setup { name: "cart-stable".into(), call: Some(next) }).unwrap();
        let mut client = Client::new(first.addr.to_string(), PATIENCE);
        let mut ask = async |path: &str| {
            let ask = Ask::get(path).with("x-release-stage", "canary").with("baggage", "a=b");
            let answer = client.ask(&ask).await.unwrap();
            (answer.status.as_u16(), serde_json::from_slice::<Seen>(&answer.body).unwrap())
        };
        let (status, seen) = ask("/").await;
        assert_eq!((status, seen.path()), (200, vec!["cart-stable".to_owned(), "orders-stable".into()]));
        assert_eq!(seen.hops()[1].lane.as_deref(), Some("canary"));
        let (_, seen) = ask("/?forward=baggage").await;
        assert_eq!((seen.hops()[1].lane.clone(), seen.hops()[1].baggage.as_deref()), (None, Some("a=b")));
        assert_eq!(ask("/?hops=0").await.1.path(), ["cart-stable"]);
        let (status, seen) = ask("/?fail=orders:503").await;
        assert_eq!(status, 502);
        assert!(seen.path()[1].starts_with("orders answered 503"), "{:?}", seen.path());
        let (status, seen) = ask("/?fail=orders:503&swallow=cart").await;
        assert_eq!(status, 200);
        assert!(seen.path()[1].starts_with("orders answered 503"), "the failure stays in the answer");
        assert_eq!(ask("/?wrong=orders-stable").await.0, 200, "nobody sees it from outside");
        let page = Client::new(last.addr.to_string(), PATIENCE).ask(&Ask::get("/metrics")).await.unwrap();
        let page = String::from_utf8_lossy(&page.body).into_owned();
        let labels = r#"{service="orders",version="stable"}"#;
        assert!(page.contains(&format!("app_requests_total{labels} 5\n")), "{page}");
        assert!(page.contains(&format!("app_work_done_total{labels} 2\n")), "{page}");
        last.set_ready(false);
        assert_eq!(ask("/").await.0, 200, "it serves all the same");
        let health = Client::new(last.addr.to_string(), PATIENCE).ask(&Ask::get("/healthz")).await.unwrap();
        assert_eq!((health.status.as_u16(), &*health.body), (503, b"not ready\n".as_slice()));
        drop(last);
        assert_eq!(ask("/").await.0, 502);
        assert_eq!(client.opened, 1);
    }

    #[tokio::test]
    async fn a_version_that_takes_the_place_of_another_answers_on_connections_that_are_open() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let setup = |name: &str| Setup { name: name.into(), call: None };
        let app = App::start(listener, setup("orders-stable")).unwrap();
        let mut client = Client::new(app.addr.to_string(), PATIENCE);
        let mut at =
            async || serde_json::from_slice::<Seen>(&client.ask(&Ask::get("/")).await.unwrap().body).unwrap().at;
        assert_eq!(at().await, "orders-stable");
        app.replace(setup("orders-autumn"));
        assert_eq!(at().await, "orders-autumn");
        assert_eq!(client.opened, 1);
    }
}
