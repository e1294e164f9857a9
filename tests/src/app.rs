//! A toy application: it answers with its name and the request headers, as JSON.
//!
//! Request headers change what it does: `x-toy-status` answers that status, `x-toy-slow` waits that
//! many milliseconds, `x-toy-grpc` ends with that gRPC status in trailers, `x-toy-stream` sends a
//! line each time that many milliseconds have passed and never ends.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Channel, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Body = BoxBody<Bytes, Infallible>;

/// A running toy application, ended when dropped.
#[derive(Debug)]
pub struct App {
    /// The port it listens on.
    pub port: u16,
    server: JoinHandle<()>,
}

// === impl App ===

impl App {
    /// Serves HTTP/1.1 and HTTP/2 on this local port.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn serve(name: &str, port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = listener.local_addr()?.port();
        let server = tokio::spawn(accept(listener, name.to_owned()));
        Ok(Self { port, server })
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, name: String) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without it the kernel holds a small answer back until the last one is acknowledged.
        let _ = stream.set_nodelay(true);
        tokio::spawn(connection(stream, name.clone()));
    }
}

async fn connection(stream: TcpStream, name: String) {
    let service = service_fn(move |request| {
        let name = name.clone();
        async move { Ok::<_, Infallible>(answer(&name, request).await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().max_headers(2_000);
    server.http2().max_header_list_size(1 << 20);
    // A client that goes away is no news.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(name: &str, request: Request<Incoming>) -> Response<Body> {
    let headers = request.headers();
    if let Some(ms) = number(headers, "x-toy-slow") {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    if let Some(status) = number(headers, "x-toy-grpc") {
        return grpc(status);
    }
    if let Some(ms) = number(headers, "x-toy-stream") {
        return stream(Duration::from_millis(ms));
    }
    let mut response = Response::new(whole(describe(name, &request).to_string()));
    if let Some(status) = number(headers, "x-toy-status").and_then(|n| u16::try_from(n).ok()) {
        *response.status_mut() = status.try_into().unwrap_or_default();
    }
    response
}

fn describe(name: &str, request: &Request<Incoming>) -> Value {
    let mut headers = Map::new();
    for (name, value) in request.headers() {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let values = headers.entry(name.as_str()).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(text.into());
        }
    }
    json!({ "name": name, "path": request.uri().to_string(), "headers": headers })
}

fn grpc(status: u64) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(status));
    let body = Full::from(Bytes::from_static(&[0; 5])).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn stream(pause: Duration) -> Response<Body> {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        while sender.send_data(Bytes::from_static(b"tick\n")).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    });
    Response::new(body.boxed())
}

fn whole(text: String) -> Body {
    Full::from(text).boxed()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}
