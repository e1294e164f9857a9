//! What the shell needs of the proxy it runs in.
//!
//! Every method stands for one host call, so a count of calls on the fake host is the count that a
//! request costs in Envoy. None of them fails loudly: what the host refuses is absent, or not done.

/// The proxy, as the filter sees it.
pub trait Host {
    /// All request headers in one call, in the pairs encoding of [`crate::pairs`].
    fn request_headers(&self) -> Vec<u8>;
    /// Sets a request header, or removes it.
    fn set_request_header(&self, name: &str, value: Option<&[u8]>);
    /// Adds a response header beside others of its name.
    fn add_response_header(&self, name: &str, value: &[u8]);
    /// A property by its path.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;
    /// Wall clock, in nanoseconds since the Unix epoch.
    fn now_ns(&self) -> u64;
    /// 128 uniform random bits.
    fn random(&self) -> [u64; 2];
    /// A shared-data value and its version; shared by all workers and all filters of one `vm_id`.
    fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)>;
    /// Sets a shared-data value, if it still has this version; 0 asks for no check. True when set.
    fn set_shared(&self, key: &str, value: &[u8], version: u32) -> bool;
    /// The id of a metric, defined on first use; always the same for one name.
    fn metric(&self, kind: MetricKind, name: &str) -> Option<u32>;
    /// Adds to a counter or a gauge.
    fn add(&self, metric: u32, offset: i64);
    /// Sets a gauge, or records into a histogram.
    fn record(&self, metric: u32, value: u64);
    /// The plugin configuration.
    fn configuration(&self) -> Vec<u8>;
    /// Time between ticks of this root context, in milliseconds; 0 turns them off.
    fn set_tick_ms(&self, period: u32);
    /// Ends a stream as an error does, on both sides, once the callback is over. `root` is the root context
    /// that asks for it, in whose place further calls are made.
    fn close_stream(&self, stream: u32, root: u32);
    /// Writes to the proxy's log.
    fn log(&self, level: Level, message: &str);
}

/// Kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Level of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something a person should look at.
    Error,
    /// Told once for each config.
    Info,
}
