//! Figures of many releases: what the table and the JSON file show.

use graylane_analysis::Outcome;
use serde::Serialize;

use crate::record::Record;
use crate::rivals::{KINDS, Kind};
#[cfg(doc)]
use crate::scenario::LATE_S;
use crate::scenario::Truth;
use crate::share::{Share, quantiles, real};

/// One figure.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// What it tells.
    pub name: String,
    /// The value, in the unit.
    pub value: f64,
    /// `share`, `seconds`, `milliseconds` or `ratio`.
    pub unit: &'static str,
    /// Counted cases, of shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// All cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// End of the one-sided 95% interval on the worse side, of shares; 95th percentile, of times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound95: Option<f64>,
    /// Whose figure: `ours`, or another rule.
    pub rule: &'static str,
    /// What is aimed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Whether the target was met by the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
}

/// The rule of this project.
pub const OURS: &str = "ours";

// === impl Figure ===

impl Figure {
    /// A share that should be small.
    pub fn low(name: &str, rule: &'static str, share: Share) -> Self {
        Self::share(name, rule, share, share.upper())
    }

    /// A share that should be large.
    pub fn high(name: &str, rule: &'static str, share: Share) -> Self {
        Self::share(name, rule, share, share.lower())
    }

    fn share(name: &str, rule: &'static str, share: Share, bound: f64) -> Self {
        let (count, of, bound95) = (Some(share.count), Some(share.of), Some(bound));
        Self { count, of, bound95, ..Self::plain(name, rule, share.value(), "share") }
    }

    /// Times, by their median and 95th percentile.
    pub fn seconds(name: &str, rule: &'static str, times: Vec<f64>) -> Self {
        let of = Some(times.len() as u64);
        let (median, high) = quantiles(times, 95).unwrap_or_default();
        Self { of, bound95: Some(high), ..Self::plain(name, rule, median, "seconds") }
    }

    /// A ratio of two sums.
    pub fn plain(name: &str, rule: &'static str, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, count: None, of: None, bound95: None, rule, target: None, met: None }
    }

    /// At most this is aimed at.
    #[must_use]
    pub fn at_most(self, target: f64) -> Self {
        Self { target: Some(target), met: Some(self.value <= target), ..self }
    }

    /// At least this is aimed at.
    #[must_use]
    pub fn at_least(self, target: f64) -> Self {
        Self { target: Some(target), met: Some(self.value >= target), ..self }
    }
}

/// What releases at one weight show: ours and every other rule on the same traces.
pub fn compare(records: &[Record]) -> Vec<Figure> {
    let mut figures = ours(records);
    for (at, kind) in KINDS.into_iter().enumerate() {
        figures.extend(rival(records, at, kind));
    }
    figures
}

/// Records of releases that should be promoted, or taken back.
pub fn of(records: &[Record], truth: Truth) -> impl Iterator<Item = &Record> {
    records.iter().filter(move |record| record.scenario.truth == truth)
}

fn is_wrong(record: &&Record) -> bool {
    match record.scenario.truth {
        Truth::Good => record.outcome == Outcome::Fail,
        Truth::Bad => record.outcome == Outcome::Pass,
        Truth::Between | Truth::Later => false,
    }
}

fn ours(records: &[Record]) -> Vec<Figure> {
    let good = || of(records, Truth::Good);
    let bad = || of(records, Truth::Bad);
    let clear = || good().chain(bad());
    let enough = |truth| of(records, truth).filter(|record| record.needs <= 0.5);
    let ended = |outcome| move |record: &&Record| record.outcome == outcome;
    vec![
        Figure::low("failed releases", OURS, Share::of(clear(), is_wrong)).at_most(0.005),
        Figure::low("false rollbacks", OURS, Share::of(good(), ended(Outcome::Fail))).at_most(0.001),
        Figure::low("bad promoted", OURS, Share::of(bad(), ended(Outcome::Pass))).at_most(0.001),
        Figure::high(
            "good promoted, with twice the traffic needed",
            OURS,
            Share::of(enough(Truth::Good), ended(Outcome::Pass)),
        )
        .at_least(0.99),
        Figure::high(
            "bad taken back, with twice the traffic needed",
            OURS,
            Share::of(enough(Truth::Bad), ended(Outcome::Fail)),
        )
        .at_least(0.99),
        Figure::low("good unverified", OURS, Share::of(good(), ended(Outcome::Unverified))),
        Figure::low("bad unverified", OURS, Share::of(bad(), ended(Outcome::Unverified))),
        Figure::low("good paused at the end", OURS, Share::of(good(), ended(Outcome::Pause))),
        Figure::low("bad paused at the end", OURS, Share::of(bad(), ended(Outcome::Pause))),
        Figure::low("good paused at any time", OURS, Share::of(good(), |record| record.was_paused)),
    ]
    .into_iter()
    .chain(above(records))
    .chain(located(records))
    .chain(braked("", records))
    .chain(later("", records))
    .collect()
}

/// The gateway's brake on good releases. Those taken back while it was on are among the false rollbacks.
pub fn braked(place: &str, records: &[Record]) -> Vec<Figure> {
    let good = || of(records, Truth::Good);
    let back = |record: &&Record| record.outcome == Outcome::Fail && record.is_braked;
    let name = |what: &str| format!("{what}{place}");
    vec![
        Figure::low(&name("brake trips on good releases"), OURS, Share::of(good(), |record| record.braked_s.is_some()))
            .at_most(0.001),
        Figure::low(&name("false rollbacks with the brake on"), OURS, Share::of(good(), back)),
    ]
}

/// Handed over although a service truly breaks its objective, whatever stable does.
fn above(records: &[Record]) -> Vec<Figure> {
    let above = |truth| of(records, truth).filter(|record| record.is_above);
    let promoted = |record: &&Record| record.outcome == Outcome::Pass;
    vec![
        Figure::low(
            "promoted though above its objective, 0.5 to 2 points worse",
            OURS,
            Share::of(above(Truth::Between), promoted),
        ),
        Figure::low("promoted though above its objective, as stable is", OURS, Share::of(above(Truth::Good), promoted)),
    ]
}

/// Damage that begins later than [`LATE_S`]: no rule can see it in a release that is handed over by then.
pub fn later(place: &str, records: &[Record]) -> Vec<Figure> {
    let later = || of(records, Truth::Later);
    let begins = |record: &Record| record.scenario.damage.from_s;
    let promoted = |record: &Record| record.outcome == Outcome::Pass;
    let wrong = Share::of(of(records, Truth::Good).chain(of(records, Truth::Bad)), is_wrong);
    let among = Share::of(later(), |record| promoted(record));
    let name = |what: &str| format!("{what}{place}");
    vec![
        Figure::low(
            &name("begins 50 to 240 s late: promoted before it began"),
            OURS,
            Share::of(later(), |record| promoted(record) && record.decided_s <= begins(record)),
        ),
        Figure::low(
            &name("begins 50 to 240 s late: promoted after it began"),
            OURS,
            Share::of(later(), |record| promoted(record) && record.decided_s > begins(record)),
        ),
        Figure::high(
            &name("begins 50 to 240 s late: fault located with the verdict"),
            OURS,
            Share::of(
                later().filter(|record| record.decided_s > begins(record)).filter_map(|record| record.located),
                |right| *right,
            ),
        ),
        Figure::low(
            &name("failed releases, those that begin late among them"),
            OURS,
            Share { count: wrong.count + among.count, of: wrong.of + among.of },
        ),
    ]
}

/// The right hop, version and way of failing are named with the verdict, and since when.
fn located(records: &[Record]) -> Vec<Figure> {
    let bad = || of(records, Truth::Bad);
    let named = bad().filter_map(|record| record.located);
    let off =
        |low: f64| bad().filter_map(move |record| Some(record.named_late_ms?.abs())).filter(move |off| *off >= low);
    let (median, high) = quantiles(off(0.0).collect(), 90).unwrap_or_default();
    let of = Some(off(0.0).count() as u64);
    let time = |name: &str, value| Figure { of, ..Figure::plain(name, OURS, value, "milliseconds") };
    vec![
        Figure::high("fault located with the verdict", OURS, Share::of(named, |right| *right)).at_least(0.99),
        time("first bad request: named time off by, median", median),
        time("first bad request: named time off by, 90% at most", high),
    ]
}

fn rival(records: &[Record], at: usize, kind: Kind) -> Vec<Figure> {
    let back = |record: &&Record| record.rivals[at].0.is_some();
    let good = || of(records, Truth::Good);
    let bad = || of(records, Truth::Bad);
    let wrong = Share {
        count: good().filter(back).count() as u64 + bad().filter(|record| !back(record)).count() as u64,
        of: (good().count() + bad().count()) as u64,
    };
    // Only releases that both take back: a rule that never does would have no end to its failures.
    let both = || bad().filter(|record| back(record) && record.outcome == Outcome::Fail);
    let failed = |of: fn(&Record, usize) -> u64| both().map(|record| real(of(record, at))).sum::<f64>();
    let ratio = failed(|record, _| record.failed) / failed(|record, at| record.rivals[at].1).max(1.0);
    let times = bad().filter_map(|record| record.rivals[at].0).map(real).collect();
    let later = || of(records, Truth::Later);
    let mut ratio =
        Figure::plain("failed requests before rollback, ours over this rule's", kind.name(), ratio, "ratio");
    ratio.of = Some(both().count() as u64);
    let ratio = if kind == Kind::Labelled { ratio.at_most(0.1) } else { ratio };
    vec![
        Figure::low("failed releases", kind.name(), wrong),
        Figure::low("false rollbacks", kind.name(), Share::of(good(), back)),
        Figure::low("bad promoted", kind.name(), Share::of(bad(), |record| !back(record))),
        Figure::low(
            "begins 50 to 240 s late: not taken back within 240 s",
            kind.name(),
            Share::of(later(), |record| !back(record)),
        ),
        Figure::seconds("time to roll back", kind.name(), times),
        ratio,
    ]
}
