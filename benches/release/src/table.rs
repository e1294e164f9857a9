//! The table on the screen.

use std::collections::BTreeMap;
use std::fmt::Write;

use graylane_analysis::Outcome;

use crate::figures::Figure;
use crate::run::Record;
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
            "seconds" => format!("{value:.0} s"),
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
        let back = |at: usize| records.iter().filter(|record| record.rivals[at].0.is_some()).count();
        let all = records.len();
        let truth = format!("{truth:?}").to_lowercase();
        let _ = write!(text, "{truth:<8} {kind:<34} {all:>6} {pass:>7} {fail:>7} {open:>7} {paused:>7} | ");
        let _ = writeln!(text, "{:>15}{:>8} {:>8} {:>8}", "", back(0), back(1), back(2));
    }
    text
}
