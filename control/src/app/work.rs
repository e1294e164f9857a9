//! What a service counts of its own work: only it knows whether an answer of 200 was any good.

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// The counters of a service.
#[derive(Debug)]
pub(super) struct Work {
    registry: Registry,
    /// Requests answered, whatever came of them.
    requests: Counter,
    /// Those for which the service did what it was asked.
    done: Counter,
}

// === impl Work ===

impl Work {
    /// Of a service and version such as `orders-canary`.
    pub(super) fn of(name: &str) -> Self {
        let (service, version) = name.split_once('-').unwrap_or((name, ""));
        let labels = [("service", service), ("version", version)];
        let labels = labels.map(|(label, value)| (label.into(), value.to_owned().into()));
        let (mut registry, requests, done) =
            (Registry::with_labels(labels.into_iter()), Counter::default(), Counter::default());
        registry.register("app_requests", "Requests answered", requests.clone());
        registry.register("app_work_done", "Requests for which the work was done", done.clone());
        Self { registry, requests, done }
    }

    /// Counts an answer.
    pub(super) fn count(&self, is_done: bool) {
        self.requests.inc();
        if is_done {
            self.done.inc();
        }
    }

    /// The page that Prometheus reads.
    pub(super) fn page(&self) -> String {
        let mut page = String::new();
        // Writing into a string cannot fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }
}
