//! A judge for the AnalysisTemplates: answers as `POST /metrics/analysis` does, and says what the test
//! wants.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use graylane_tests::bed::Bed;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub struct Judge {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    verdict: Mutex<String>,
    asked: AtomicU32,
}

// === impl Judge ===

impl Judge {
    pub fn start(bed: &Bed) -> Result<Self> {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let address = bed.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            tokio::spawn(serve(listener, shared));
            anyhow::Ok(address)
        })?;
        Ok(Self { address, state })
    }

    pub fn url(&self) -> String {
        format!("http://{}/metrics/analysis", self.address)
    }

    pub fn says(&self, verdict: &str) {
        verdict.clone_into(&mut self.state.verdict.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How often somebody asked as the API wants to be asked.
    pub fn asked_well(&self) -> u32 {
        self.state.asked.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let state = Arc::clone(&state);
        let answer = service_fn(move |request| answer(request, Arc::clone(&state)));
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let is_post = request.method() == "POST" && request.uri().path() == "/metrics/analysis";
    let is_json = request.headers().get("content-type").is_some_and(|kind| kind == "application/json");
    let body = request.into_body().collect().await?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let is_ours = body["labels"]["rollout"] == "shop/summer" && body["labels"]["lane"] == "canary";
    if !(is_post && is_json && is_ours && body["metricName"].is_string()) {
        eprintln!("asked badly: {body}");
        let mut refusal = Response::new(Full::new(Bytes::new()));
        *refusal.status_mut() = hyper::StatusCode::BAD_REQUEST;
        return Ok(refusal);
    }
    state.asked.fetch_add(1, Ordering::Relaxed);
    let verdict = state.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let answer = json!({"value": 1.0, "unit": "ratio", "timestamp": "2026-11-23T08:00:00Z", "n": 100,
        "verdict": verdict, "reason": "the test says so"});
    Ok(Response::new(Full::new(Bytes::from(answer.to_string()))))
}
