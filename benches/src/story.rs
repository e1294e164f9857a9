//! Whole streams on the fake host: what one request costs in host calls, by kind.

use std::rc::Rc;

use graylane_filter::fake::FakeHost;
use graylane_filter::root::configure;
use graylane_filter::stream::Stream;
use serde_json::Value;

use crate::mix::{Field, Mix, Request, document};

/// A document, a request, and what the host calls of the second such request are.
pub struct Story {
    /// Name, as in the table of budgets.
    pub name: &'static str,
    /// The filter document.
    pub document: Value,
    /// Request headers.
    pub headers: Vec<(&'static str, String)>,
}

/// The requests that are counted.
#[must_use]
pub fn all() -> Vec<Story> {
    let mix = Mix::new(10);
    let story = |name, document: &Value, request: &Request| Story {
        name,
        document: document.clone(),
        headers: request.headers(),
    };
    let (whole, deciding, carrying) = (mix.whole(), mix.deciding(), document::carrying());
    let nobody = mix.none().with(Field::Header("x-user-id"), "");
    let mut lane = story("carrying/lane", &carrying, &mix.none());
    lane.headers.push(("x-release-stage", "canary".into()));
    vec![
        story("idle/any", &document::idle(), &mix.none()),
        story("deciding/none", &deciding, &mix.none()),
        story("deciding/last", &deciding, &mix.last()),
        story("whole/none", &whole, &mix.none()),
        story("whole/last", &whole, &mix.last()),
        story("whole/new-unit", &whole, &nobody),
        story("braked/none", &mix.braked(), &mix.none()),
        story("carrying/stable", &carrying, &mix.none()),
        lane,
    ]
}

// === impl Story ===

impl Story {
    /// Host calls of one request by kind, once all metrics are known: what a request costs for good.
    ///
    /// # Panics
    /// When the document is refused.
    #[must_use]
    pub fn host_calls(&self) -> Vec<(&'static str, u32)> {
        let host = Rc::new(FakeHost::default());
        *host.configuration.borrow_mut() = self.document.to_string().into_bytes();
        host.now_ns.set(1_000_000_000_000);
        let active = Rc::new(configure(&host).unwrap_or_else(|error| panic!("{error}")));
        for _ in 0..2 {
            let headers: Vec<(&str, &[u8])> =
                self.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            host.request(&headers);
            host.set_number("response|code", 200);
            let mut stream = Stream::new(Rc::clone(&active), 1);
            stream.on_request_headers();
            stream.on_response_headers();
            stream.on_log();
        }
        let calls = host.calls.borrow();
        calls.iter().map(|(name, count)| (*name, *count)).collect()
    }
}
