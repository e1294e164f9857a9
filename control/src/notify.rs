//! Tells a webhook what becomes of releases. Notices are told, not promised: what a receiver does not
//! take in time is left out, so that none of them ever holds up the engine.

pub mod body;

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;

use self::body::{Kind, Notice};
use crate::engine::seams::Object;
use crate::engine::status::Status;

/// Notices that wait to be sent; those that come beyond them are left out.
const QUEUE: usize = 256;
/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is worth a notice.
const REASONS: [&str; 5] = ["AnalysisFailed", "RolledBack", "Paused", "Verified", "Succeeded"];

/// How often and how fast what a receiver did not take is sent again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Before the second try; it doubles from there on.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// Tries after the first one.
    pub tries: usize,
}

/// Sends notices. Cheap to clone; sending ends with the last clone.
#[derive(Clone, Debug)]
pub struct Notices(mpsc::Sender<Notice>);

/// Why there is no webhook.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The address is none.
    #[error("`{0}` is no address; write http:// or https:// and a host")]
    Address(String),
    /// The machine's certificates cannot be read.
    #[error("the certificates of this machine cannot be read")]
    Certificates(#[source] std::io::Error),
}

/// Why a notice did not arrive.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the receiver cannot be reached")]
    Away(#[from] hyper_util::client::legacy::Error),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error("the receiver answers {0}")]
    Status(StatusCode),
    #[error("the request cannot be made")]
    Request(#[from] hyper::http::Error),
}

type Web = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

// === impl Notices ===

impl Notices {
    /// Starts sending to an address. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the address is none, or the certificates of the machine cannot be read.
    pub fn start(address: &str, kind: Kind, patience: Patience) -> Result<Self, NotifyError> {
        let wrong = || NotifyError::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| wrong())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(wrong());
        }
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(NotifyError::Certificates)?
            .https_or_http()
            .enable_http1()
            .build();
        let web = Client::builder(TokioExecutor::new()).build(connector);
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(send_all(web, uri, kind, patience, receiver));
        Ok(Self(sender))
    }

    /// Tells what is new in a status that was kept. Never waits.
    pub fn tell(&self, object: &Object, status: &Status) {
        let (known, failure) = (&object.status.history, status.failure.as_ref());
        let new = status.history.iter().filter(|entry| !known.contains(entry));
        for entry in new.filter(|entry| REASONS.contains(&entry.reason.as_str())) {
            let notice = Notice {
                id: format!("{}-{}-{}-{}", object.uid, status.attempt, entry.at_ms, entry.reason),
                release: object.id.clone(),
                reason: entry.reason.clone(),
                message: entry.message.clone(),
                at_ms: entry.at_ms,
                attempt: status.attempt,
                weight: status.weight.clone(),
                fault: failure.filter(|_| entry.reason == "AnalysisFailed").and_then(|failure| failure.fault.clone()),
            };
            if let Err(error) = self.0.try_send(notice) {
                tracing::warn!(release = object.id, reason = entry.reason, %error, "a notice is left out");
            }
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(30), tries: 7 }
    }
}

async fn send_all(web: Web, uri: Uri, kind: Kind, patience: Patience, mut notices: mpsc::Receiver<Notice>) {
    while let Some(notice) = notices.recv().await {
        let delays = ExponentialBuilder::default()
            .with_min_delay(patience.first)
            .with_max_delay(patience.longest)
            .with_max_times(patience.tries)
            .with_jitter();
        let sent = (|| send(&web, &uri, kind, &notice)).retry(delays).when(SendError::may_pass).await;
        if let Err(error) = sent {
            // The address may hold a secret, as Slack's do: it is never logged.
            tracing::warn!(release = notice.release, reason = notice.reason, %error, "a notice is left out");
        }
    }
}

async fn send(web: &Web, uri: &Uri, kind: Kind, notice: &Notice) -> Result<(), SendError> {
    let (content_type, body) = notice.body(kind);
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::USER_AGENT, concat!("graylane/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(body.to_string())))?;
    let answer = tokio::time::timeout(PATIENCE, web.request(request)).await??;
    if answer.status().is_success() { Ok(()) } else { Err(SendError::Status(answer.status())) }
}

// === impl SendError ===

impl SendError {
    /// Whether the same notice may be taken later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Away(_) | Self::Slow(_) => true,
            Self::Request(_) => false,
            Self::Status(status) => {
                status.is_server_error()
                    || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(status)
            }
        }
    }
}
