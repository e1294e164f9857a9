//! The rules that ours is compared with. All of them see every request of the same users: what ours loses with a
//! reading or a restart, and that Prometheus loses the first increments of a series and the last ones of a pod, is
//! not held against them.

use std::collections::VecDeque;

use crate::others::add;
use crate::scenario::{FAST, SERVICES, SUCCESS};

/// Prometheus scrapes every 15 s by default.
const SCRAPE_S: u64 = 15;

/// Requests, failures and slow requests.
pub type Counts = [u64; 3];
/// What a second had, by lane (the judged one first, then stable) and service.
pub type Second = [[Counts; SERVICES.len()]; 2];

/// Which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The handbook's rule as printed: the entry's success ratio over `[5m]` without a version label,
    /// every 30 s, two in a row below 0.99.
    Printed,
    /// The same with a lane label, and p95 latency beside it.
    Labelled,
    /// Like Flagger: every service's success ratio and latency over `[1m]`, every 10 s; three failed
    /// checks, in a row or not, and no value is a failed check.
    Flagger,
}

/// All rules, in the order of the table.
pub const KINDS: [Kind; 3] = [Kind::Printed, Kind::Labelled, Kind::Flagger];

/// One rule at work.
#[derive(Debug)]
pub struct Rival {
    kind: Kind,
    /// Scrapes within the window: by service, of what the rule looks at.
    window: VecDeque<[Counts; SERVICES.len()]>,
    open: [Counts; SERVICES.len()],
    seconds: u64,
    failed: [u32; SERVICES.len()],
    /// When it took the lane back, in seconds.
    pub decided_s: Option<u64>,
}

// === impl Kind ===

impl Kind {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Printed => "handbook, as printed",
            Self::Labelled => "handbook, lane-labelled",
            Self::Flagger => "Flagger-like",
        }
    }

    fn window_s(self) -> u64 {
        if self == Self::Flagger { 60 } else { 300 }
    }

    fn every_s(self) -> u64 {
        if self == Self::Flagger { 10 } else { 30 }
    }

    fn scrape_s(self) -> u64 {
        if self == Self::Flagger { 5 } else { SCRAPE_S }
    }
}

// === impl Rival ===

impl Rival {
    /// A rule before the lane's first request; what stable did in the last five minutes is known as
    /// counts of the entry.
    pub fn new(kind: Kind, before: (f64, f64)) -> Self {
        let mut rival = Self {
            kind,
            window: VecDeque::new(),
            open: Default::default(),
            seconds: 0,
            failed: [0; SERVICES.len()],
            decided_s: None,
        };
        if kind == Kind::Printed {
            for _ in 0..kind.window_s() / SCRAPE_S {
                let mut scrape = [Counts::default(); SERVICES.len()];
                scrape[0] = [whole(before.0 * 15.0), whole(before.1 * 15.0), 0];
                rival.window.push_back(scrape);
            }
        }
        rival
    }

    /// Takes a second.
    pub fn observe(&mut self, second: &Second) {
        if self.decided_s.is_some() {
            return;
        }
        let lanes = if self.kind == Kind::Printed { 2 } else { 1 };
        for lane in second.iter().take(lanes) {
            self.open.iter_mut().zip(lane).for_each(|(sum, counts)| add(sum, *counts));
        }
        self.seconds += 1;
        if self.seconds.is_multiple_of(self.kind.scrape_s()) {
            self.window.push_back(std::mem::take(&mut self.open));
            while self.window.len() as u64 > self.kind.window_s() / self.kind.scrape_s() {
                self.window.pop_front();
            }
        }
        if self.seconds.is_multiple_of(self.kind.every_s()) {
            self.check();
        }
    }

    fn check(&mut self) {
        let services = if self.kind == Kind::Printed { 1 } else { SERVICES.len() };
        for at in 0..services {
            let mut sum = Counts::default();
            self.window.iter().for_each(|scrape| add(&mut sum, scrape[at]));
            match (self.kind, self.breaks(sum)) {
                (_, Some(true)) => self.failed[at] += 1,
                // Flagger's failed checks only add up.
                (Kind::Flagger, Some(false)) => {}
                (Kind::Flagger, None) => self.failed[at] += 1,
                (_, Some(false)) => self.failed[at] = 0,
                (_, None) => {}
            }
            let limit = if self.kind == Kind::Flagger { 3 } else { 2 };
            if self.failed[at] >= limit {
                self.decided_s.get_or_insert(self.seconds);
            }
        }
    }

    fn breaks(&self, [requests, failures, slow]: Counts) -> Option<bool> {
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        let share = |part: u64| 1.0 - part as f64 / requests as f64;
        let is_slow = self.kind != Kind::Printed && share(slow) < FAST;
        (requests > 0).then(|| share(failures) < SUCCESS || is_slow)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(value: f64) -> u64 {
    value as u64
}
