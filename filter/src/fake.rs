//! A proxy made of memory: state goes in, the filter runs, state is read. It keeps count of host
//! calls by kind, which is what a request costs in Envoy.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::host::{Host, Level, MetricKind};
use crate::pairs;

/// State of the fake proxy. One value is one VM; clones of [`Shared`] are what VMs share.
#[derive(Default)]
pub struct FakeHost {
    /// Request headers in order.
    pub request: RefCell<Vec<(String, Vec<u8>)>>,
    /// Response headers in order.
    pub response: RefCell<Vec<(String, Vec<u8>)>>,
    /// Properties by their path joined with `|`.
    pub properties: RefCell<BTreeMap<String, Vec<u8>>>,
    /// The plugin configuration.
    pub configuration: RefCell<Vec<u8>>,
    /// Wall clock.
    pub now_ns: Cell<u64>,
    /// What `random` answers.
    pub random: Cell<[u64; 2]>,
    /// How many of the next writes to shared data another worker is to win.
    pub contended: Cell<u32>,
    /// Shared data and metrics, of the whole process.
    pub shared: Rc<Shared>,
    /// Period of the tick; 0 is off.
    pub tick_ms: Cell<u32>,
    /// Streams that were closed.
    pub closed: RefCell<Vec<u32>>,
    /// Log lines.
    pub logs: RefCell<Vec<String>>,
    /// Host calls by name.
    pub calls: RefCell<BTreeMap<&'static str, u32>>,
}

/// What the VMs of one process share.
#[derive(Default)]
pub struct Shared {
    data: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    metrics: RefCell<Vec<(String, i64)>>,
    streams: Cell<u32>,
}

// === impl Shared ===

impl Shared {
    /// Value of a counter or gauge, or number of records of a histogram.
    pub fn metric(&self, name: &str) -> Option<i64> {
        self.metrics.borrow().iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Names of all metrics.
    pub fn metric_names(&self) -> Vec<String> {
        self.metrics.borrow().iter().map(|(name, _)| name.clone()).collect()
    }

    /// A number that no stream has had.
    pub fn next_stream(&self) -> u32 {
        self.streams.set(self.streams.get() + 1);
        self.streams.get()
    }

    /// Overwrites a shared-data value, whatever its version.
    pub fn overwrite(&self, key: &str, value: &[u8]) {
        let mut data = self.data.borrow_mut();
        let version = data.get(key).map_or(0, |(_, version)| *version);
        data.insert(key.into(), (value.to_vec(), version + 1));
    }

    /// Number of shared-data keys; the host never frees one.
    pub fn keys(&self) -> usize {
        self.data.borrow().len()
    }
}

// === impl FakeHost ===

impl FakeHost {
    /// Begins a request: forgets the last one's headers and counts calls from 0.
    pub fn request(&self, headers: &[(&str, &[u8])]) {
        *self.request.borrow_mut() = headers.iter().map(|(name, value)| ((*name).into(), value.to_vec())).collect();
        self.response.borrow_mut().clear();
        self.calls.borrow_mut().clear();
    }

    /// First value of a request header as it stands now.
    pub fn header(&self, name: &str) -> Option<String> {
        let request = self.request.borrow();
        request.iter().find(|(known, _)| known == name).map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// Sets a property that Envoy serialises as a 64-bit integer.
    pub fn set_number(&self, path: &str, value: u64) {
        self.properties.borrow_mut().insert(path.into(), value.to_le_bytes().to_vec());
    }

    /// Sets a text property.
    pub fn set_text(&self, path: &str, value: &str) {
        self.properties.borrow_mut().insert(path.into(), value.as_bytes().to_vec());
    }

    /// How often a host call was made since the request began.
    pub fn called(&self, name: &str) -> u32 {
        self.calls.borrow().get(name).copied().unwrap_or(0)
    }

    fn count(&self, name: &'static str) {
        *self.calls.borrow_mut().entry(name).or_default() += 1;
    }
}

impl Host for FakeHost {
    fn request_headers(&self) -> Vec<u8> {
        self.count("request_headers");
        let request = self.request.borrow();
        pairs::encode(request.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
    }

    fn set_request_header(&self, name: &str, value: Option<&[u8]>) {
        self.count("set_request_header");
        let mut request = self.request.borrow_mut();
        request.retain(|(known, _)| known != name);
        request.extend(value.map(|value| (name.to_owned(), value.to_vec())));
    }

    fn add_response_header(&self, name: &str, value: &[u8]) {
        self.count("add_response_header");
        self.response.borrow_mut().push((name.into(), value.to_vec()));
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.count("property");
        self.properties.borrow().get(&path.join("|")).cloned()
    }

    fn now_ns(&self) -> u64 {
        self.count("now");
        self.now_ns.get()
    }

    fn random(&self) -> [u64; 2] {
        self.count("random");
        self.random.get()
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.count("shared");
        self.shared.data.borrow().get(key).cloned()
    }

    fn set_shared(&self, key: &str, value: &[u8], version: u32) -> bool {
        self.count("set_shared");
        if let Some(left) = self.contended.get().checked_sub(1) {
            self.contended.set(left);
            return false;
        }
        let mut data = self.shared.data.borrow_mut();
        let current = data.get(key).map_or(0, |(_, version)| *version);
        let matches = version == 0 || version == current;
        if matches {
            data.insert(key.into(), (value.to_vec(), current + 1));
        }
        matches
    }

    fn metric(&self, _: MetricKind, name: &str) -> Option<u32> {
        self.count("metric");
        let mut metrics = self.shared.metrics.borrow_mut();
        let at = metrics.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            metrics.push((name.into(), 0));
            metrics.len() - 1
        });
        Some(at as u32)
    }

    fn add(&self, metric: u32, offset: i64) {
        self.count("add");
        self.shared.metrics.borrow_mut()[metric as usize].1 += offset;
    }

    fn record(&self, metric: u32, value: u64) {
        self.count("record");
        self.shared.metrics.borrow_mut()[metric as usize].1 = value as i64;
    }

    fn configuration(&self) -> Vec<u8> {
        self.configuration.borrow().clone()
    }

    fn set_tick_ms(&self, period: u32) {
        self.tick_ms.set(period);
    }

    fn close_stream(&self, stream: u32, _: u32) {
        self.count("close_stream");
        self.closed.borrow_mut().push(stream);
    }

    fn log(&self, _: Level, message: &str) {
        self.logs.borrow_mut().push(message.into());
    }
}
