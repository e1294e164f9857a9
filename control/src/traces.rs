//! Traces for an OpenTelemetry collector, where one is named: every pass of the controller is a span, and
//! every change it makes one within.
//!
//! They are sent from a thread of their own, in batches; when the collector is away or slow they are
//! dropped, and the controller does not notice. The requests go by the HTTP client that is here anyway, so
//! no second provider of TLS comes in; so only collectors beside the controller, without TLS, are taken.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::registry::LookupSpan;

/// How long one batch may take to be sent, and the last one at the end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where collectors take traces, below the endpoint.
const PATH: &str = "/v1/traces";

/// Sends traces.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The address of the collector makes no sense here.
    #[error("`{0}` is no address of a collector that can be used; write it like http://collector:4318, without TLS")]
    Address(String),
    /// The exporter does not take it.
    #[error("traces cannot be sent")]
    Exporter(#[from] ExporterBuildError),
}

/// The HTTP client for batches. They are made on a thread that knows no runtime.
#[derive(Debug)]
struct Poster {
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
}

/// The trace id of a span as collectors show it; none where traces are not sent.
pub fn id_of(span: &tracing::Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let of = span.span_context();
    of.is_valid().then(|| of.trace_id().to_string())
}

// === impl Traces ===

impl Traces {
    /// Traces for the collector at an endpoint, such as `http://collector:4318`; batches are sent on this
    /// runtime.
    ///
    /// # Errors
    /// When the endpoint is no address without TLS.
    pub fn to(endpoint: &str, runtime: Handle) -> Result<Self, TracesError> {
        let base = endpoint.trim_end_matches('/').trim_end_matches(PATH);
        let wrong = || TracesError::Address(endpoint.to_owned());
        let uri: hyper::Uri = format!("{base}{PATH}").parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Poster { client, runtime })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(uri.to_string())
            .with_timeout(PATIENCE)
            .build()?;
        let resource = Resource::builder().with_service_name("graylane").build();
        Ok(Self(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
    }

    /// What makes traces of spans.
    pub fn layer<S: Subscriber + for<'l> LookupSpan<'l>>(&self) -> OpenTelemetryLayer<S, Tracer> {
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("graylane"))
    }

    /// Sends what is left, as far as that goes quickly. It blocks, so it is not for a task.
    pub fn end(self) {
        // Whoever ends has no use for the reason.
        let _ = self.0.shutdown_with_timeout(PATIENCE);
    }
}

impl HttpClient for Poster {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        let client = self.client.clone();
        let answered = self.runtime.spawn(async move {
            let ask = async {
                let (parts, body) = client.request(request.map(Full::new)).await?.into_parts();
                Ok::<_, HttpError>(Response::from_parts(parts, body.collect().await?.to_bytes()))
            };
            tokio::time::timeout(PATIENCE, ask).await?
        });
        Box::pin(async move { answered.await? })
    }
}

/// An id by which the lines of one pass, or of one question, are found again, in the form of the W3C's trace ids.
pub fn fresh_id() -> String {
    let mut bytes = [0; 16];
    // Without randomness the id is all zeros, which the W3C calls invalid; what it is for matters more.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use axum::extract::State;
    use axum::http::HeaderMap;
    use axum::routing::post;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    type Heard = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

    async fn collector() -> (String, Heard) {
        let heard = Heard::default();
        let hear = |State(heard): State<Heard>, headers: HeaderMap, body: Bytes| async move {
            let kind = headers["content-type"].to_str().unwrap().to_owned();
            heard.lock().unwrap().push((kind, body.to_vec()));
        };
        let router = axum::Router::new().route(PATH, post(hear)).with_state(Arc::clone(&heard));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (address, heard)
    }

    /// A pass with a change in it, as the controller has them; returns the trace's id.
    fn pass(traces: &Traces) -> Option<String> {
        let subscriber = tracing_subscriber::registry().with(traces.layer());
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("pass");
            span.in_scope(|| tracing::info_span!("change", what = "EnvoyFilter edge/graylane-entry").in_scope(|| {}));
            id_of(&span)
        })
    }

    fn holds(body: &[u8], part: &[u8]) -> bool {
        body.windows(part.len()).any(|window| window == part)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_hears_every_pass_and_change_with_the_id_of_the_log() {
        let (address, heard) = collector().await;
        let traces = Traces::to(&address, Handle::current()).unwrap();
        let id = pass(&traces).unwrap();
        tokio::task::spawn_blocking(|| traces.end()).await.unwrap();
        let heard = heard.lock().unwrap();
        let (kind, body) = heard.first().expect("something was sent");
        assert_eq!(kind, "application/x-protobuf");
        let id: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&id[at * 2..at * 2 + 2], 16).unwrap()).collect();
        for part in [&b"graylane"[..], b"pass", b"change", b"EnvoyFilter edge/graylane-entry", &id] {
            assert!(holds(body, part), "{:?}", String::from_utf8_lossy(part));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_is_away_costs_no_time() {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let traces = Traces::to(&format!("http://{closed}/"), Handle::current()).unwrap();
        let begun = Instant::now();
        for _ in 0..10_000 {
            pass(&traces).unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        tokio::task::spawn_blocking(|| traces.end()).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn an_address_with_tls_or_without_sense_is_refused_with_the_way_to_write_it() {
        for address in ["https://collector:4318", "collector", "http://", "http://a b", ""] {
            let error = Traces::to(address, Handle::current()).unwrap_err().to_string();
            assert!(error.contains("http://collector:4318"), "{address}: {error}");
        }
        assert_eq!(id_of(&tracing::info_span!("pass")), None, "nobody is told");
    }
}
