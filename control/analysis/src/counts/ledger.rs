//! Differences of counters that may restart, come late or not at all.

use std::collections::{BTreeMap, BTreeSet};

use super::{Interval, Reading, Series};

/// How far the start of a process may seem to move without being another start: Envoy tells its uptime
/// in whole seconds, refreshed every 5 s.
pub const EPOCH_SLACK_MS: u64 = 10_000;

/// A proxy that nobody expects and that was not read for so long is gone for good.
const GONE_MS: u64 = 60_000;

/// The last reading of every proxy, and the interval that is being filled.
///
/// What a counter has grown by is its difference to the last reading, with these exceptions:
/// - the first reading of a proxy only says where it stands, unless the proxy is known to have started
///   after the ledger began: then it counts from zero, or a new pod's first requests would be lost;
/// - a counter that is new in a known proxy counts from zero, for the same reason;
/// - a counter that fell was reset: it counts from zero;
/// - after a restart (a later [`Reading::epoch`]) all counters of the proxy count from zero;
/// - a reading that is not later than the last one of its proxy is dropped.
#[derive(Clone, Debug)]
pub struct Ledger {
    began_ms: u64,
    expected: BTreeSet<String>,
    last: BTreeMap<String, Last>,
    reported: BTreeSet<String>,
    open: Interval,
}

#[derive(Clone, Debug)]
struct Last {
    at_ms: u64,
    epoch: Option<u64>,
    series: BTreeMap<Series, u64>,
}

// === impl Ledger ===

impl Ledger {
    /// An empty ledger that begins now, in Unix milliseconds.
    pub fn new(now_ms: u64) -> Self {
        let open = Interval { from_ms: now_ms, to_ms: now_ms, ..Interval::default() };
        Self { began_ms: now_ms, expected: BTreeSet::new(), last: BTreeMap::new(), reported: BTreeSet::new(), open }
    }

    /// Says which proxies have to report from now on. One that is no longer expected may still report;
    /// its counts are true.
    pub fn expect(&mut self, proxies: impl IntoIterator<Item = String>) {
        self.expected = proxies.into_iter().collect();
    }

    /// Takes the counters of a proxy.
    pub fn take(&mut self, reading: Reading) {
        let Reading { proxy, beside, at_ms, epoch, series } = reading;
        let last = self.last.get(&proxy);
        if last.is_some_and(|last| at_ms <= last.at_ms) {
            return;
        }
        let base = match last {
            Some(last) if restarted(last.epoch, epoch) => Some(None),
            Some(last) => Some(Some(&last.series)),
            None => epoch.is_some_and(|epoch| epoch >= self.began_ms).then_some(None),
        };
        if let Some(base) = base {
            for (series, &value) in &series {
                let before = base.and_then(|base| base.get(series)).copied().unwrap_or(0);
                let grown = if value >= before { value - before } else { value };
                if grown > 0 {
                    self.open.add(beside.as_deref(), series, grown);
                }
            }
        }
        self.keep(proxy, at_ms, epoch, series);
    }

    /// A counter that is absent keeps its last value, unless the process is another one.
    fn keep(&mut self, proxy: String, at_ms: u64, epoch: Option<u64>, series: BTreeMap<Series, u64>) {
        self.reported.insert(proxy.clone());
        let last = self.last.entry(proxy).or_insert_with(|| Last { at_ms, epoch, series: BTreeMap::new() });
        if restarted(last.epoch, epoch) {
            last.series = series;
        } else {
            last.series.extend(series);
        }
        last.at_ms = at_ms;
        last.epoch = epoch.or(last.epoch);
    }

    /// Ends the interval now and begins the next. A proxy reports in an interval when a reading of it
    /// was taken; whatever a missing one counted arrives with its next reading. One that is not expected, and
    /// was not read for a minute, is forgotten, so that the ledger does not grow with every pod that ever was.
    pub fn close(&mut self, now_ms: u64) -> Interval {
        let next = Interval { from_ms: now_ms, to_ms: now_ms, ..Interval::default() };
        let mut interval = std::mem::replace(&mut self.open, next);
        let reported = std::mem::take(&mut self.reported);
        interval.to_ms = now_ms.max(interval.from_ms);
        let is_gone = |last: &Last| last.at_ms.saturating_add(GONE_MS) < now_ms;
        self.last.retain(|proxy, last| self.expected.contains(proxy) || !is_gone(last));
        interval.missing = self.expected.difference(&reported).cloned().collect();
        interval.expected = count(self.expected.len());
        interval.reporting = count(self.expected.len() - interval.missing.len());
        interval
    }
}

#[cfg(test)]
impl Ledger {
    /// How many proxies it knows.
    pub(super) fn known(&self) -> usize {
        self.last.len()
    }
}

fn restarted(before: Option<u64>, now: Option<u64>) -> bool {
    before.zip(now).is_some_and(|(before, now)| now > before.saturating_add(EPOCH_SLACK_MS))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
