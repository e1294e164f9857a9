//! The local brake in the shell: workers count by themselves and share what it is worth.
//!
//! A request costs a few additions in the worker's own memory. Four times a second each worker closes
//! its windows, folds them into the table in shared data (compare and set, a bounded number of tries;
//! what could not be written is kept for the next tick) and learns from it which brakes have tripped.
//! The evidence outlives documents, so that it grows on through the steps of an attempt.
//!
//! Whatever cannot be read or written counts as no evidence: then the controller alone decides.

use std::cell::{Cell, Ref, RefCell};

use graylane_policy::brake::{BrakedLane, Evidence, GroupLane, Line, Sample, Table, Tally};
use graylane_policy::metric::stat_name;
use graylane_policy::raw::Role;
use graylane_policy::{Group, Policy};

use crate::host::{Host, Level, MetricKind};

/// Time between ticks where a lane is exposed.
pub const TICK_MS: u32 = 250;
/// How often a contended update is tried again.
const TRIES: u32 = 16;
/// Most lanes of one document that are watched.
const MAX_WATCHES: usize = 64;
/// How old the time of a line may become before it is renewed.
const RENEW_MS: u64 = 60_000;

/// The brakes of one document on one worker.
pub struct Brakes {
    watches: Vec<Watch>,
    /// Where the table is kept.
    key: String,
    tripped: RefCell<Vec<GroupLane>>,
    has_looked: Cell<bool>,
    has_published: Cell<bool>,
    is_retired: Cell<bool>,
}

/// One lane under watch.
struct Watch {
    at: GroupLane,
    identity: u64,
    is_exposed: bool,
    /// Evidence at which it trips.
    wanted: f64,
    tally: RefCell<Tally>,
}

// === impl Brakes ===

impl Brakes {
    /// The brakes of a document; nothing where it has none.
    pub fn new(policy: &Policy) -> Self {
        let mut watches = Vec::new();
        // Exposed ones first, so that none of them is left out.
        for is_exposed in [true, false] {
            for (at, group) in policy.groups().iter().enumerate() {
                let Some(brake) = group.brake() else { continue };
                let lanes = brake.lanes().iter().filter(|lane| lane.is_exposed == is_exposed);
                watches.extend(lanes.map(|lane| Watch::new(at, lane, brake.evidence())));
            }
        }
        watches.truncate(MAX_WATCHES);
        Self {
            watches,
            key: format!("graylane.brake.{}", policy.role_label()),
            tripped: RefCell::default(),
            has_looked: Cell::new(false),
            has_published: Cell::new(false),
            is_retired: Cell::new(false),
        }
    }

    /// Whether some lane is exposed, so that requests are sampled.
    pub fn is_watching(&self) -> bool {
        self.watches.first().is_some_and(|watch| watch.is_exposed)
    }

    /// The lanes whose brake has tripped. A document's first request looks at shared data, so that a
    /// new document lets nobody slip through before its first tick.
    pub fn tripped(&self, host: &impl Host) -> Ref<'_, Vec<GroupLane>> {
        if !self.watches.is_empty() && !self.has_looked.get() {
            let (bytes, _) = host.shared(&self.key).unwrap_or_default();
            self.learn(&Table::decode(&bytes));
        }
        self.tripped.borrow()
    }

    /// A finished request.
    pub fn count(&self, samples: &[Sample], failed: bool) {
        for sample in samples {
            let group = |watch: &&Watch| watch.is_exposed && watch.at.0 == sample.group;
            let lane = |watch: &&Watch| sample.is_baseline() || watch.at.1 == sample.lane;
            for watch in self.watches.iter().filter(group).filter(lane) {
                watch.tally.borrow_mut().count(sample, failed);
            }
        }
    }

    /// One tick of the document in force.
    pub fn tick(&self, host: &impl Host, policy: &Policy, now_unix_ms: u64) {
        let is_first = !self.has_published.replace(true);
        // An older document may have left a gauge behind that only a later one can take back.
        let may_differ = is_first && (policy.is_entry_only() || policy.role() != Role::Inbound);
        if self.watches.is_empty() && !may_differ {
            return;
        }
        if let Some(table) = self.share(host, policy, now_unix_ms) {
            self.publish(host, policy, &table, is_first);
        }
    }

    /// A request of a document that is no longer in force has ended: its ticks are over, so what it
    /// counted is shared from here. Nothing is begun for it.
    pub fn settle(&self, host: &impl Host, policy: &Policy) {
        if self.is_retired.get() && self.is_watching() {
            self.share(host, policy, host.now_ns() / 1_000_000);
        }
    }

    /// The document is no longer in force, or is again.
    pub fn set_retired(&self, is_retired: bool) {
        self.is_retired.set(is_retired);
        if !is_retired {
            self.has_looked.set(false);
            self.has_published.set(false);
        }
    }

    /// Folds what this worker counted into the table, and gives back what it then says.
    fn share(&self, host: &impl Host, policy: &Policy, now_unix_ms: u64) -> Option<Table> {
        for watch in &self.watches {
            watch.tally.borrow_mut().close(now_unix_ms);
        }
        for _ in 0..TRIES {
            let (bytes, version) = host.shared(&self.key).unwrap_or_default();
            let mut table = Table::decode(&bytes);
            let mut trips = Vec::new();
            let mut is_changed = false;
            for watch in &self.watches {
                let was_tripped = table.line(watch.identity).is_some_and(Line::is_tripped);
                is_changed |= self.fold(watch, policy, &mut table, now_unix_ms);
                let is_tripped = table.line(watch.identity).is_some_and(Line::is_tripped);
                trips.extend((is_tripped && !was_tripped).then_some(watch));
            }
            if !is_changed || host.set_shared(&self.key, &table.encode(), version) {
                self.watches.iter().for_each(|watch| watch.tally.borrow_mut().taken());
                self.learn(&table);
                trips.into_iter().for_each(|watch| tell(host, policy, watch));
                return Some(table);
            }
        }
        None
    }

    /// One lane's share in the table; true when that changes it.
    fn fold(&self, watch: &Watch, policy: &Policy, table: &mut Table, now_unix_ms: u64) -> bool {
        let tally = watch.tally.borrow();
        let says_something = tally.step().says_something();
        if says_something && table.line(watch.identity).is_none() && !self.is_retired.get() {
            table.add(watch.line(policy, now_unix_ms));
        }
        let Some(line) = table.line_mut(watch.identity) else { return false };
        let is_old = line.seen_unix_ms.saturating_add(RENEW_MS) < now_unix_ms;
        let renews = is_old && !self.is_retired.get();
        if renews {
            line.seen_unix_ms = now_unix_ms;
        }
        if says_something {
            line.evidence.fold(tally.step(), now_unix_ms);
            if !line.is_tripped() && line.evidence.is_clear(watch.wanted) {
                line.tripped_unix_ms = now_unix_ms.max(1);
            }
        }
        says_something || renews
    }

    fn learn(&self, table: &Table) {
        let is_tripped = |watch: &&Watch| table.line(watch.identity).is_some_and(Line::is_tripped);
        *self.tripped.borrow_mut() = self.watches.iter().filter(is_tripped).map(|watch| watch.at).collect();
        self.has_looked.set(true);
    }

    /// Sets the gauges: 1 while tripped. What an older document left at 1 goes back to 0.
    fn publish(&self, host: &impl Host, policy: &Policy, table: &Table, is_first: bool) {
        let set = |rollout: &str, lane: &str, value: bool| {
            let labels = [("rollout", rollout), ("lane", lane), ("role", policy.role_label())];
            if let Some(id) = host.metric(MetricKind::Gauge, &stat_name("graylane_brake", &labels)) {
                host.record(id, u64::from(value));
            }
        };
        for line in table.lines.iter().filter(|line| is_first && line.is_tripped()) {
            if !self.watches.iter().any(|watch| watch.names(policy) == (&line.rollout, &line.lane)) {
                set(&line.rollout, &line.lane, false);
            }
        }
        for watch in &self.watches {
            let line = table.line(watch.identity);
            if watch.is_exposed || is_first || line.is_some() {
                let (rollout, lane) = watch.names(policy);
                set(rollout, lane, line.is_some_and(Line::is_tripped));
            }
        }
    }
}

// === impl Watch ===

impl Watch {
    fn new(group: usize, lane: &BrakedLane, wanted: f64) -> Self {
        let BrakedLane { lane, identity, is_exposed } = *lane;
        Self { at: (group, lane), identity, is_exposed, wanted, tally: RefCell::default() }
    }

    fn names<'p>(&self, policy: &'p Policy) -> (&'p str, &'p str) {
        let (group, lane) = self.at;
        policy.groups().get(group).map_or(("none", "none"), |group| (group.rollout(), group.lane_name(lane)))
    }

    fn line(&self, policy: &Policy, now_unix_ms: u64) -> Line {
        let (rollout, lane) = self.names(policy);
        Line {
            identity: self.identity,
            seen_unix_ms: now_unix_ms,
            tripped_unix_ms: 0,
            evidence: Evidence::new(now_unix_ms),
            rollout: rollout.into(),
            lane: lane.into(),
        }
    }
}

/// Said by the worker whose share tripped it, and by no other.
fn tell(host: &impl Host, policy: &Policy, watch: &Watch) {
    let (rollout, lane) = watch.names(policy);
    let is_entry = policy.groups().get(watch.at.0).is_some_and(Group::is_entry);
    let what = if is_entry { "weights send nobody there until it is let go" } else { "told, and nothing else done" };
    host.log(Level::Error, &format!("graylane: lane {lane} of {rollout} does clear harm: brake tripped; {what}"));
}
