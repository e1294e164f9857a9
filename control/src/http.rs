//! A small HTTP/1.1 client over one kept-alive connection. It counts the connections it had to open,
//! which is how the demo knows that no change of config closed one.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A client of one address.
#[derive(Debug)]
pub struct Client {
    addr: String,
    timeout: Duration,
    connection: Option<SendRequest<Empty<Bytes>>>,
    /// How many connections were opened.
    pub opened: u64,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers; a `host` among them replaces the address.
    pub headers: HeaderMap,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody listens, or the network is in the way.
    #[error("cannot connect to {addr}")]
    Connect {
        /// The address.
        addr: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("no proper answer from {addr}")]
    Broken {
        /// The address.
        addr: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The request cannot be written.
    #[error("the request for {path} cannot be made")]
    Request {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: hyper::http::Error,
    },
    /// Nothing came in time.
    #[error("no answer from {addr} within {millis} ms")]
    Timeout {
        /// The address.
        addr: String,
        /// The time.
        millis: u128,
    },
}

// === impl Ask ===

impl Ask {
    /// `GET path` without headers of its own.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: HeaderMap::new() }
    }

    /// The same with a header; one that cannot be sent is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_ref())) {
            self.headers.append(name, value);
        }
        self
    }
}

// === impl Client ===

impl Client {
    /// A client of `host:port` that gives up on an answer after `timeout`.
    pub fn new(addr: impl Into<String>, timeout: Duration) -> Self {
        Self { addr: addr.into(), timeout, connection: None, opened: 0 }
    }

    /// Asks, on the open connection if there is one.
    ///
    /// # Errors
    /// When no proper answer came in time. Nothing is asked twice.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Answer, HttpError> {
        let (addr, millis) = (self.addr.clone(), self.timeout.as_millis());
        match tokio::time::timeout(self.timeout, self.exchange(ask)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.connection = None;
                Err(error)
            }
            Err(_) => {
                self.connection = None;
                Err(HttpError::Timeout { addr, millis })
            }
        }
    }

    async fn exchange(&mut self, ask: &Ask) -> Result<Answer, HttpError> {
        let request = self.request(ask)?;
        let mut connection = self.connected().await?;
        let broken = |source| HttpError::Broken { addr: self.addr.clone(), source };
        let response = connection.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(broken)?.to_bytes();
        self.connection = Some(connection);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    fn request(&self, ask: &Ask) -> Result<Request<Empty<Bytes>>, HttpError> {
        let failed = |source| HttpError::Request { path: ask.path.clone(), source };
        let request = Request::builder().method(&ask.method).uri(&ask.path).body(Empty::new());
        let mut request = request.map_err(failed)?;
        *request.headers_mut() = ask.headers.clone();
        if !ask.headers.contains_key(HOST) {
            let host = HeaderValue::try_from(&self.addr).map_err(|error| failed(error.into()))?;
            request.headers_mut().insert(HOST, host);
        }
        Ok(request)
    }

    async fn connected(&mut self) -> Result<SendRequest<Empty<Bytes>>, HttpError> {
        // A connection that the other side has closed meanwhile says so here, and is replaced: that
        // shows in `opened`, and no request is lost to it.
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
        {
            return Ok(connection);
        }
        let failed = |source| HttpError::Connect { addr: self.addr.clone(), source };
        let stream = TcpStream::connect(&self.addr).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (connection, driver) = handshake(TokioIo::new(stream))
            .await
            .map_err(|source| HttpError::Broken { addr: self.addr.clone(), source })?;
        tokio::spawn(driver);
        self.opened += 1;
        Ok(connection)
    }
}
