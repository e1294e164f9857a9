//! What releases are judged by: the counters of proxies, read from their own pages every second, and the
//! answers of Prometheus.

pub mod page;
pub mod prometheus;
pub mod question;
pub mod scrape;

use graylane_analysis::Reading;

/// The counters of a release's proxies, as they were read last.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Names of the proxies that shall report.
    pub expected: Vec<String>,
    /// The last reading of each proxy that has reported, for this release.
    pub readings: Vec<Reading>,
}
