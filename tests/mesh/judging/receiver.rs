//! A webhook that takes nothing at first.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use graylane_tests::bed::Bed;
use serde_json::Value;
use tokio::net::TcpListener;

/// A running receiver; it ends with the bed.
pub struct Receiver {
    url: String,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    /// What came first and got a 500.
    refused: Vec<Value>,
    taken: Vec<Value>,
}

// === impl Receiver ===

impl Receiver {
    /// Starts one that answers the first notice with 500.
    pub fn start(bed: &Bed) -> Result<Self> {
        let heard = Arc::<Mutex<Heard>>::default();
        let router = Router::new().route("/hook", post(hear)).with_state(heard.clone());
        let url = bed.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let url = format!("http://{}/hook", listener.local_addr()?);
            tokio::spawn(async move { axum::serve(listener, router).await });
            anyhow::Ok(url)
        })?;
        Ok(Self { url, heard })
    }

    /// What makes a controller tell it.
    pub fn flags(&self) -> [&str; 4] {
        ["--notify-url", &self.url, "--notify-kind", "cloudevents"]
    }

    /// What it has taken, in order.
    pub fn taken(&self) -> Vec<Value> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).taken.clone()
    }

    /// What it has not taken.
    pub fn refused(&self) -> Vec<Value> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).refused.clone()
    }
}

async fn hear(State(heard): State<Arc<Mutex<Heard>>>, body: bytes::Bytes) -> StatusCode {
    let Ok(event) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    if heard.refused.is_empty() {
        heard.refused.push(event);
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    heard.taken.push(event);
    StatusCode::OK
}
