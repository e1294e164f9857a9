//! What was counted in the last hour, as sums: a window is the difference of two of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use graylane_analysis::{Cohort, Interval, Outcome};

use crate::counts::question::Asked;
use crate::engine::Millis;
use crate::engine::judging::Judgement;
use crate::release::{Release, STABLE};

/// How far back anybody can ask: intervals of a second.
const KEPT: usize = 3_600;

/// What has been counted of all releases that are judged. Copies share it.
#[derive(Clone, Debug)]
pub struct Record {
    books: Arc<RwLock<BTreeMap<String, Book>>>,
    /// Until when this process counts, Unix milliseconds; afterwards somebody else may.
    until: Arc<AtomicU64>,
}

/// What has been counted of a release.
#[derive(Debug, Default)]
pub struct Book {
    uid: String,
    /// The attempt that is judged.
    attempt: u32,
    /// The pod templates of Argo Rollouts that are judged now, by their hashes.
    pub versions: BTreeSet<String>,
    /// Its lanes, stable among them.
    pub lanes: BTreeSet<String>,
    /// `service` labels of its members.
    pub services: BTreeSet<String>,
    /// Milliseconds over which its proxies count requests as slow.
    pub latencies: BTreeSet<u32>,
    /// Names of its questions to Prometheus.
    pub objectives: BTreeSet<String>,
    /// How each lane stands.
    pub verdicts: BTreeMap<String, (Outcome, String)>,
    /// The last numbers of Prometheus, by objective and lane, with their times.
    pub numbers: BTreeMap<(String, String), (f64, Millis)>,
    columns: BTreeMap<Column, usize>,
    rows: VecDeque<Row>,
}

/// What a sum is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    service: String,
    lane: String,
    cohort: Cohort,
    what: What,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Answered requests.
    Requests,
    /// Failed ones.
    Failures,
    /// Those slower than so many milliseconds.
    Slow(u32),
}

/// Sums since the beginning, at a time.
#[derive(Debug)]
struct Row {
    at_ms: Millis,
    sums: Vec<u64>,
}

/// Which requests are meant.
#[derive(Clone, Copy, Debug)]
pub struct Which<'a> {
    /// The destination; all members, if none is named.
    pub service: Option<&'a str>,
    /// The lane that served.
    pub lane: &'a str,
    /// How they came to it; all, if none is named.
    pub cohort: Option<Cohort>,
}

/// The part of a window that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    begin: usize,
    end: usize,
    /// Its length in milliseconds.
    pub millis: u64,
}

// === impl Record ===

impl Default for Record {
    /// Empty, of a process that is the only one.
    fn default() -> Self {
        Self { books: Arc::default(), until: Arc::new(AtomicU64::new(Millis::MAX)) }
    }
}

impl Record {
    /// Learns which attempt of a release is judged, on which versions. What was concluded on another attempt
    /// is forgotten.
    pub fn begin(&self, uid: &str, release: &Release, attempt: u32, versions: BTreeSet<String>) {
        let is_it = |book: &Book| book.uid == uid && book.attempt == attempt && book.versions == versions;
        if self.books().get(&release.id()).is_some_and(is_it) {
            return;
        }
        let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
        let book = books.entry(release.id()).or_default();
        if book.uid != uid {
            *book = Book { uid: uid.to_owned(), ..Book::default() };
            book.know(release);
        }
        if book.attempt != attempt {
            book.verdicts.clear();
        }
        (book.attempt, book.versions) = (attempt, versions);
    }

    /// Takes an interval of a release and what is concluded now.
    pub fn take(&self, uid: &str, release: &Release, interval: &Interval, seen: (&Judgement, &Asked)) {
        let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
        let book = books.entry(release.id()).or_default();
        if book.uid != uid {
            *book = Book { uid: uid.to_owned(), ..Book::default() };
        }
        book.take(release, interval, seen);
    }

    /// Forgets releases that are not among these.
    pub fn retain(&self, uids: &BTreeSet<&str>) {
        let has_strange = |books: &BTreeMap<String, Book>| books.values().any(|book| !uids.contains(book.uid.as_str()));
        if has_strange(&self.books()) {
            let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
            books.retain(|_, book| uids.contains(book.uid.as_str()));
        }
    }

    /// From now on somebody else counts. What was concluded here is forgotten: a later term begins anew.
    pub fn leave(&self) {
        self.until.store(0, Ordering::Relaxed);
        self.books.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// This process counts, at least until this time.
    pub fn counts_until(&self, end: Millis) {
        self.until.store(end, Ordering::Relaxed);
    }

    /// Whether another process may count at this time.
    pub fn is_elsewhere(&self, now: Millis) -> bool {
        now >= self.until.load(Ordering::Relaxed)
    }

    /// All that is known, by release.
    pub fn books(&self) -> RwLockReadGuard<'_, BTreeMap<String, Book>> {
        // What is in there is whole whenever the lock is free.
        self.books.read().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Book ===

impl Book {
    fn know(&mut self, release: &Release) {
        self.lanes = release.lanes.iter().cloned().chain([STABLE.to_owned()]).collect();
        self.services = release.members.iter().map(|member| member.label.clone()).collect();
        let judged =
            release.plan.analysis.iter().flat_map(|analysis| analysis.latency.iter().map(|(over_ms, _)| *over_ms));
        let members = release.members.iter().flat_map(|member| member.latency_ms.iter().copied());
        self.latencies = judged.chain(members).collect();
        let questions = release.plan.analysis.iter().flat_map(|analysis| &analysis.objectives);
        self.objectives = questions.map(|question| question.name.clone()).collect();
    }

    fn take(&mut self, release: &Release, interval: &Interval, (judgement, asked): (&Judgement, &Asked)) {
        self.know(release);
        let lanes = judgement.lanes.iter();
        self.verdicts =
            lanes.map(|(lane, one)| (lane.clone(), (one.verdict.outcome, one.verdict.reason.clone()))).collect();
        let numbers = asked.answers.iter();
        self.numbers = numbers.filter_map(|(key, standing)| Some((key.clone(), standing.last?))).collect();
        // Where the clock has been turned back, what was counted at a time to come cannot be asked for.
        while self.rows.back().is_some_and(|row| row.at_ms > interval.from_ms) {
            self.rows.pop_back();
        }
        if self.rows.is_empty() {
            self.rows.push_back(Row { at_ms: interval.from_ms, sums: Vec::new() });
        }
        let mut sums = self.rows.back().map(|row| row.sums.clone()).unwrap_or_default();
        for (cell, tally) in &interval.cells {
            let slow = tally.slow.iter().map(|(over_ms, count)| (What::Slow(*over_ms), *count));
            for (what, count) in
                [(What::Requests, tally.requests), (What::Failures, tally.failures)].into_iter().chain(slow)
            {
                let (service, lane) = (cell.service.clone(), cell.lane.clone());
                let next = self.columns.len();
                let column = *self.columns.entry(Column { service, lane, cohort: cell.cohort, what }).or_insert(next);
                sums.resize(sums.len().max(column + 1), 0);
                if let Some(sum) = sums.get_mut(column) {
                    *sum += count;
                }
            }
        }
        self.rows.push_back(Row { at_ms: interval.to_ms, sums });
        if self.rows.len() > KEPT {
            self.rows.pop_front();
        }
    }

    /// What is known between two moments.
    pub fn window(&self, from: Millis, to: Millis) -> Option<Window> {
        let begin = self.rows.partition_point(|row| row.at_ms < from);
        let end = self.rows.partition_point(|row| row.at_ms <= to).checked_sub(1)?;
        let millis = self.rows.get(end)?.at_ms.saturating_sub(self.rows.get(begin)?.at_ms);
        (begin < end).then_some(Window { begin, end, millis })
    }

    /// How much was counted in a window.
    pub fn count(&self, window: Window, which: Which<'_>, what: What) -> u64 {
        let is_meant = |column: &Column| {
            column.what == what
                && column.lane == which.lane
                && which.service.is_none_or(|service| column.service == service)
                && which.cohort.is_none_or(|cohort| column.cohort == cohort)
        };
        let sum =
            |row: usize, column: usize| self.rows.get(row).and_then(|row| row.sums.get(column)).copied().unwrap_or(0);
        let meant = self.columns.iter().filter(|(column, _)| is_meant(column));
        meant.map(|(_, column)| sum(window.end, *column).saturating_sub(sum(window.begin, *column))).sum()
    }
}
