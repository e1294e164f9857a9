//! Whole streams on the fake host: what a request meets, and what it costs in host calls.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::fake::{FakeHost, Shared};
use crate::root::{Active, configure};
use crate::stream::Stream;

mod braking;
mod counting;
mod draining;
mod naming;
mod routing;
mod units;
mod vacant;
mod workers;

/// One VM with a document in force.
struct Proxy {
    host: Rc<FakeHost>,
    active: Rc<Active<FakeHost>>,
}

/// A document with one group `shop` and the member `orders`, ready in `canary`.
fn document(role: &str) -> Value {
    json!({
        "version": 1, "generation": 7, "role": role,
        "groups": [{
            "name": "shop", "rollout": "shop/summer",
            "lanes": {
                "names": ["canary"],
                "destinations": [{"service": "orders.shop", "hosts": ["orders"], "ready": ["canary"], "slowOverMs": [100]}]
            }
        }]
    })
}

/// The same with an entry: testers by header, half of the users by weight, a cookie for the others.
fn entry(role: &str) -> Value {
    let mut document = document(role);
    document["groups"][0]["entry"] = json!({
        "rules": [{"name": "testers", "lane": "canary", "when": {"match": {"field": {"header": "x-tester"}, "is": "present"}}}],
        "slots": {"salt": "s", "runs": [{"until": 5000, "lane": "canary"}, {"until": 10_000, "lane": "stable"}]},
        "stickiness": {"unit": [{"header": "x-user-id"}], "noUnit": "cookie"}
    });
    document
}

impl Proxy {
    fn new(document: &Value) -> Self {
        Self::on(Rc::default(), document, &[])
    }

    /// A VM of a process, with node metadata (`LABELS|graylane.io/lane`, `WORKLOAD_NAME`).
    fn on(shared: Rc<Shared>, document: &Value, node: &[(&str, &str)]) -> Self {
        let host = Rc::new(FakeHost { shared, ..FakeHost::default() });
        *host.configuration.borrow_mut() = document.to_string().into_bytes();
        for (path, value) in node {
            host.set_text(&format!("xds|node|metadata|{path}"), value);
        }
        host.now_ns.set(1_000_000_000_000);
        let active = configure(&host).unwrap_or_else(|error| panic!("{error}"));
        Self { host, active: Rc::new(active) }
    }

    /// Request headers arrive.
    fn begin(&self, headers: &[(&str, &str)]) -> Stream<FakeHost> {
        let bytes: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        self.host.request(&bytes);
        let id = self.host.shared.next_stream();
        let mut stream = Stream::new(Rc::clone(&self.active), id);
        stream.on_request_headers();
        stream
    }

    /// The stream ends with this status, after this many milliseconds.
    fn end(&self, mut stream: Stream<FakeHost>, status: u64, millis: u64) {
        self.host.now_ns.set(self.host.now_ns.get() + millis * 1_000_000);
        self.host.set_number("response|code", status);
        stream.on_response_headers();
        stream.on_log();
    }

    fn metric(&self, name: &str) -> i64 {
        self.host.shared.metric(name).unwrap_or(0)
    }
}

/// A stat name as people read it: `name{a=b,c=d}`.
fn stat(text: &str) -> String {
    let (name, labels) = text.trim_end_matches('}').split_once('{').expect("name{labels}");
    let labels: Vec<(&str, &str)> = labels.split(',').map(|pair| pair.split_once('=').expect("label=value")).collect();
    graylane_policy::metric::stat_name(name, &labels)
}
