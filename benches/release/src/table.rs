//! The table on the screen.

use std::collections::BTreeMap;
use std::fmt::Write;

use graylane_analysis::Outcome;

use crate::figures::Figure;
use crate::record::Record;
use crate::scenario::Truth;

/// Figures, one a line, with the target and whether it was met.
pub fn figures(figures: &[Figure]) -> String {
    let mut text = format!("{:<62} {:<24} {:>9} {:>16} {:>10}  target\n", "figure", "rule", "value", "count", "95%");
    for figure in figures {
        let count = match (figure.count, figure.of) {
            (Some(count), Some(of)) => format!("{count}/{of}"),
            (None, Some(of)) => format!("n {of}"),
            _ => String::new(),
        };
        let show = |value: f64| match figure.unit {
            "share" => format!("{:.2}%", value * 100.0),
            "seconds" => format!("{value:.1} s"),
            "milliseconds" => format!("{value:.0} ms"),
            _ => format!("{value:.3}"),
        };
        let bound = figure.bound95.map_or_else(String::new, show);
        let met = match (figure.met, figure.target) {
            (Some(met), Some(target)) => format!("{} {}", show(target), if met { "met" } else { "MISSED" }),
            _ => String::new(),
        };
        let (name, rule, value) = (&figure.name, figure.rule, show(figure.value));
        let _ = writeln!(text, "{name:<62} {rule:<24} {value:>9} {count:>16} {bound:>10}  {met}");
    }
    text
}

/// Releases by kind: how ours ended, and how many every other rule took back.
pub fn kinds(records: &[Record]) -> String {
    let mut kinds: BTreeMap<(Truth, &str), Vec<&Record>> = BTreeMap::new();
    for record in records {
        kinds.entry((record.scenario.truth, record.scenario.kind)).or_default().push(record);
    }
    let mut text = format!(
        "{:<8} {:<34} {:>6} {:>7} {:>7} {:>7} {:>7} | taken back by: {:>8} {:>8} {:>8}\n",
        "is", "kind", "all", "pass", "fail", "unver.", "pause", "printed", "labelled", "Flagger"
    );
    for ((truth, kind), records) in kinds {
        let ended = |outcome: Outcome| records.iter().filter(|record| record.outcome == outcome).count();
        let [pass, fail] = [Outcome::Pass, Outcome::Fail].map(ended);
        let [open, paused] = [Outcome::Unverified, Outcome::Pause].map(ended);
        let by =
            |at: usize| records.iter().filter(move |record| record.rivals.get(at).is_some_and(|one| one.0.is_some()));
        let back = |at: usize| by(at).count();
        let all = records.len();
        let truth = format!("{truth:?}").to_lowercase();
        let _ = write!(text, "{truth:<8} {kind:<34} {all:>6} {pass:>7} {fail:>7} {open:>7} {paused:>7} | ");
        let _ = writeln!(text, "{:>15}{:>8} {:>8} {:>8}", "", back(0), back(1), back(2));
    }
    text
}

/// Releases whose end was wrong, or that a brake stopped for nothing, one a line.
pub fn wrong(records: &[Record]) -> String {
    let is_wrong = |record: &&Record| match (record.scenario.truth, record.outcome) {
        (Truth::Good, Outcome::Fail) | (Truth::Bad, Outcome::Pass) => true,
        (Truth::Good, _) => record.braked_s.is_some(),
        _ => false,
    };
    let mut text = String::new();
    for record in records.iter().filter(is_wrong) {
        let Record { scenario, outcome, decided_s, braked_s, is_braked, released, reason, .. } = record;
        let _ = writeln!(
            text,
            "  {:?} {} {:.0} rps: {outcome:?} after {decided_s} s, braked {braked_s:?} {is_braked} {released}: {reason}",
            scenario.truth, scenario.kind, scenario.rps
        );
    }
    text
}
