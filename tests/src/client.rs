//! HTTP clients: one line for the simple case, kept-alive connections for the rest.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long another side may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The trailers, empty when there were none.
    pub trailers: HeaderMap,
}

/// A request as tests write it: bytes are allowed in values, names may repeat.
#[derive(Clone, Debug)]
pub struct Ask {
    method: String,
    authority: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
}

/// One kept-alive connection.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    driver: JoinHandle<hyper::Result<()>>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    Http2,
}

/// Where a server listens: a port of this machine, or the address of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub SocketAddr);

/// The body of a `GET`, on a connection of its own.
///
/// # Errors
/// When there is no answer or its status is not 200.
pub fn get(at: impl Into<At>, path: &str) -> Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let answer = String::from_utf8_lossy(&raw(at, request.as_bytes())?).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return unchunk(body);
    }
    Ok(body.to_owned())
}

/// Sends these bytes and gives back everything until the other side closes.
///
/// # Errors
/// When nobody listens or the answer takes longer than 10 s.
pub fn raw(at: impl Into<At>, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&at.into().0, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// The answer to one request on a connection of its own, for tests that hold none.
///
/// # Errors
/// When there is no answer.
pub fn once(at: impl Into<At>, ask: &Ask) -> Result<Answer> {
    let at = at.into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Connection::open(at, Protocol::Http1).await?.send(ask).await })
}

fn unchunk(mut body: &str) -> Result<String> {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16)?;
        whole.push_str(rest.get(..size).context("a short chunk")?);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    Ok(whole)
}

// === impl At ===

impl From<u16> for At {
    fn from(port: u16) -> Self {
        Self(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

impl From<SocketAddr> for At {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl From<(Ipv4Addr, u16)> for At {
    fn from(address: (Ipv4Addr, u16)) -> Self {
        Self(address.into())
    }
}

// === impl Ask ===

impl Ask {
    /// `GET path` of this host.
    #[must_use]
    pub fn get(authority: &str, path: &str) -> Self {
        let (authority, path) = (authority.to_owned(), path.to_owned());
        Self { method: "GET".into(), authority, path, headers: Vec::new() }
    }

    /// With another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// With one more header; a name given twice is sent twice.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    fn request(&self, protocol: Protocol) -> Result<Request<Full<Bytes>>> {
        let mut builder = Request::builder().method(self.method.as_str());
        builder = match protocol {
            Protocol::Http1 => builder.uri(&self.path).header("host", &self.authority),
            Protocol::Http2 => builder.uri(format!("http://{}{}", self.authority, self.path)),
        };
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            builder = builder.header(name, HeaderValue::from_bytes(value)?);
        }
        Ok(builder.body(Full::default())?)
    }
}

// === impl Connection ===

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens, or the other side says nothing for 10 s.
    pub async fn open(at: impl Into<At>, protocol: Protocol) -> Result<Self> {
        let stream = timeout(PATIENCE, tokio::net::TcpStream::connect(at.into().0)).await??;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, driver) = http1::Builder::new().max_headers(2_000).handshake(io).await?;
                Self { sender: Sender::Http1(sender), driver: tokio::spawn(driver) }
            }
            Protocol::Http2 => {
                let builder = http2::Builder::new(TokioExecutor::new());
                let (sender, driver) = builder.handshake(io).await?;
                Self { sender: Sender::Http2(sender), driver: tokio::spawn(driver) }
            }
        })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the connection is closed or breaks.
    pub async fn send(&mut self, ask: &Ask) -> Result<Answer> {
        let response = self.start(ask).await?;
        let (parts, body) = response.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let (status, headers) = (parts.status, parts.headers);
        Ok(Answer { status, headers, body: collected.to_bytes(), trailers })
    }

    /// Sends a request and leaves the body of the answer to be read.
    ///
    /// # Errors
    /// When the connection is closed or breaks.
    pub async fn start(&mut self, ask: &Ask) -> Result<Response<Incoming>> {
        Ok(match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(ask.request(Protocol::Http1)?).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(ask.request(Protocol::Http2)?).await?
            }
        })
    }

    /// True while the other side has not closed it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.driver.is_finished()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

// === impl Answer ===

impl Answer {
    /// The body as text, without the line end.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().to_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| self.text())
    }
}
