//! The engine's world on Kubernetes: releases kept by the API server, config that travels as Istio
//! objects, and what runs there.
//!
//! Questions are answered from caches that watches keep ([`cache`]); every change goes through
//! [`call`], which gives it a time limit and says what a failure means. What can be decided without a
//! cluster is pure and stands apart: [`object`], [`conditions`], [`world`], [`template`].

pub mod argo;
pub mod asking;
pub mod badge;
pub mod cache;
pub mod call;
pub mod conditions;
pub mod controller;
pub mod delivery;
pub mod events;
pub mod ground;
pub mod healing;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod object;
pub mod problems;
pub mod proxies;
pub mod report;
pub mod store;
pub mod template;
pub mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use tokio::sync::Notify;

use self::cache::Cache;
pub use crate::istio::{MANAGER, OPT_IN};

/// The finalizer that keeps a deleted release until its lanes have left the proxies.
pub const FINALIZER: &str = "graylane.io/lanes";
/// The label of a pod's own lane.
pub const LANE_LABEL: &str = "graylane.io/lane";

/// Wakes the loop. Several calls before it looks are one.
#[derive(Clone, Debug, Default)]
pub struct Wake {
    notify: Arc<Notify>,
    /// How often this handle and its clones have called.
    calls: Arc<AtomicU64>,
}

/// The kinds that have no type of their own here.
pub fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// `GrayRelease`.
pub fn gray_release() -> ApiResource {
    resource("graylane.io", "v1alpha1", "GrayRelease", "grayreleases")
}

// === impl Wake ===

impl Wake {
    /// There is something to look at.
    pub fn up(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.notify.notify_one();
    }

    /// A handle that wakes the same loop and counts its own calls.
    #[must_use]
    pub fn counting(&self) -> Self {
        Self { notify: Arc::clone(&self.notify), calls: Arc::default() }
    }

    /// How often this handle and its clones have called: what was made of their objects at an older
    /// count is out of date.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Waits until there is.
    pub async fn wait(&self) {
        self.notify.notified().await;
    }
}

/// Watches a kind without a type of its own in these namespaces; in all, if none is named.
pub fn watch_kind(
    client: &Client,
    kind: &ApiResource,
    namespaces: &[String],
    wake: &Wake,
) -> Arc<Cache<DynamicObject>> {
    let apis = if namespaces.is_empty() {
        vec![Api::all_with(client.clone(), kind)]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced_with(client.clone(), namespace, kind)).collect()
    };
    Cache::start(kind, apis, None, wake, cache::trim_fields, |_| Box::new(cache::Silence))
}
