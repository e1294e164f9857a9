//! What releases are judged by: the counters of proxies, read from their own pages every second, and the
//! answers of Prometheus.

pub mod named;
pub mod open;
pub mod page;
pub mod prometheus;
pub mod question;
pub mod scrape;

use graylane_analysis::Reading;

use self::named::Named;
use self::open::Open;

/// The counters of a release's proxies, as they were read last.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Names of the proxies that shall report.
    pub expected: Vec<String>,
    /// The last reading of each proxy that has reported, for this release.
    pub readings: Vec<Reading>,
    /// What each of these proxies tells besides.
    pub told: Vec<Told>,
}

/// What a proxy tells that no counter can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Name of the proxy.
    pub proxy: String,
    /// When its process started, in Unix milliseconds, where known.
    pub epoch: Option<u64>,
    /// When it was read, in Unix milliseconds by the reader's clock.
    pub at_ms: u64,
    /// Requests of lanes that failed or were slow.
    pub named: Named,
    /// Streams that it has open in lanes.
    pub open: Open,
}
