//! The controller's endpoints for kubelet and Prometheus.
//!
//! `/healthz` says whether the loop runs: a restart would help if not. `/readyz` says whether it knows its
//! world; a restart would not help, and the text says what would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use tokio::net::TcpListener;

use super::cache::{Cache, Trouble};
use super::metrics::Metrics;

/// A loop that has not looked for so many seconds hangs. A pass may have to wait for an API server that
/// does not answer, once for each of its changes.
const HANGS: u64 = 300;

/// How a cache stands.
#[derive(Clone, Debug)]
pub struct Check {
    kind: String,
    is_ready: bool,
    trouble: Option<Trouble>,
}

/// How a controller stands.
#[derive(Clone)]
pub struct Health {
    looked: Arc<AtomicU64>,
    checks: Arc<dyn Fn() -> Vec<Check> + Send + Sync>,
}

// === impl Check ===

impl Check {
    /// Of a cache.
    pub fn of<K>(cache: &Cache<K>) -> Self
    where
        K: Resource + Clone + 'static,
        K::DynamicType: std::hash::Hash + Eq + Clone,
    {
        Self { kind: cache.kind.clone(), is_ready: cache.is_ready(), trouble: cache.trouble() }
    }

    /// Whether a release can be looked at: what a kind that is absent would have said is told as a problem
    /// of each release.
    fn may_act(&self) -> bool {
        self.is_ready || matches!(self.trouble, Some(Trouble::Absent | Trouble::Forbidden(_)))
    }

    fn text(&self) -> String {
        let state = match (&self.trouble, self.is_ready) {
            (Some(Trouble::Absent), _) => "the API server does not know this kind; install its CRD".to_owned(),
            (Some(Trouble::Forbidden(why)), _) => format!("may not be read, give the controller its role: {why}"),
            (Some(Trouble::Away(why)), false) => format!("not heard yet: {why}"),
            (Some(Trouble::Away(why)), true) => format!("known, and interrupted now: {why}"),
            (None, false) => "being listed".to_owned(),
            (None, true) => "ok".to_owned(),
        };
        format!("{}: {state}\n", self.kind)
    }

    fn is_good(&self) -> bool {
        self.is_ready && !matches!(self.trouble, Some(Trouble::Absent | Trouble::Forbidden(_)))
    }
}

// === impl Health ===

impl Health {
    /// `looked` is when the loop looked last, in Unix seconds; 0 before the first time.
    pub fn new(looked: Arc<AtomicU64>, checks: impl Fn() -> Vec<Check> + Send + Sync + 'static) -> Self {
        Self { looked, checks: Arc::new(checks) }
    }

    /// Whether enough is known to act.
    pub fn may_act(&self) -> bool {
        (self.checks)().iter().all(Check::may_act)
    }

    fn ready(&self) -> (StatusCode, String) {
        let checks = (self.checks)();
        let code = if checks.iter().all(Check::is_good) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (code, checks.iter().map(Check::text).collect())
    }

    fn alive(&self, now: u64) -> (StatusCode, String) {
        let looked = self.looked.load(Ordering::Relaxed);
        if looked == 0 || now.saturating_sub(looked) < HANGS {
            (StatusCode::OK, "ok\n".into())
        } else {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the loop has not looked for {} s\n", now - looked))
        }
    }

    /// `/healthz` and `/readyz`.
    pub fn router(&self) -> Router {
        let (alive, ready) = (self.clone(), self.clone());
        let now = || u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
        Router::new()
            .route("/healthz", get(move || std::future::ready(alive.alive(now()))))
            .route("/readyz", get(move || std::future::ready(ready.ready())))
    }
}

/// `/metrics`.
pub fn metrics_router(metrics: Arc<Metrics>) -> Router {
    const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let page = move || {
        let text = metrics.text().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()));
        std::future::ready(text.map(|text| ([(header::CONTENT_TYPE, TEXT)], text)))
    };
    Router::new().route("/metrics", get(page))
}

/// Serves until `end`, then finishes the answers it has begun.
///
/// # Errors
/// When the address cannot be taken.
pub async fn serve(
    address: SocketAddr,
    router: Router,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, router).with_graceful_shutdown(end).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(is_ready: bool, trouble: Option<Trouble>) -> Check {
        Check { kind: "EnvoyFilter".into(), is_ready, trouble }
    }

    fn health(checks: Vec<Check>) -> Health {
        Health::new(Arc::new(AtomicU64::new(1_000)), move || checks.clone())
    }

    #[test]
    fn a_missing_istio_is_named_and_does_not_keep_the_engine_from_telling_it() {
        let health = health(vec![check(true, None), check(false, Some(Trouble::Absent))]);
        let (code, text) = health.ready();
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("EnvoyFilter: the API server does not know this kind; install its CRD"), "{text}");
        assert!(health.may_act());
    }

    #[test]
    fn what_was_heard_once_stays_known_while_the_api_server_is_away() {
        let known = health(vec![check(true, Some(Trouble::Away("x".into())))]);
        assert_eq!(known.ready().0, StatusCode::OK);
        let unknown = health(vec![check(false, Some(Trouble::Away("x".into())))]);
        assert_eq!(unknown.ready().0, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!unknown.may_act());
    }

    #[test]
    fn a_loop_that_hangs_is_not_healthy() {
        let health = health(Vec::new());
        assert_eq!(health.alive(1_299).0, StatusCode::OK);
        assert_eq!(health.alive(1_300).0, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
