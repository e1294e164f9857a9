//! From slots to figures: medians, paired ratios, bootstrap intervals.

use serde::Serialize;

/// CPU microseconds per request: `[round][variant]`.
pub type Rounds = Vec<Vec<f64>>;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2_000;

/// One line of the table, and one entry of `load.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The variant.
    pub name: String,
    /// Median CPU microseconds of the Envoy process for one request.
    pub cpu_us_per_request: f64,
    /// Median of what it adds to Envoy alone in the same round.
    pub added_us: f64,
    /// Against Envoy alone: CPU by CPU. Against anything else: added cost by added cost.
    pub ratio: f64,
    /// What the ratio is against.
    pub against: String,
    /// Lower end of the ratio's 95% interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A ratio of added costs that the project wants to reach.
pub struct Target {
    /// The variant.
    pub name: &'static str,
    /// What it is compared with.
    pub against: &'static str,
    /// The most that the ratio may be.
    pub at_most: f64,
}

/// A variant against Envoy alone, which is variant 0.
pub fn against_alone(names: &[&str], rounds: &Rounds, variant: usize) -> Line {
    line(names, rounds, variant, 0, |rounds| median(rounds.iter().map(|round| round[variant] / round[0])))
}

/// What a variant adds, against what another one adds.
pub fn added_against(names: &[&str], rounds: &Rounds, variant: usize, other: usize) -> Line {
    let added = |rounds: &[&Vec<f64>], at: usize| median(rounds.iter().map(|round| round[at] - round[0]));
    line(names, rounds, variant, other, |rounds| added(rounds, variant) / added(rounds, other))
}

fn line(names: &[&str], rounds: &Rounds, variant: usize, other: usize, ratio: impl Fn(&[&Vec<f64>]) -> f64) -> Line {
    let all: Vec<&Vec<f64>> = rounds.iter().collect();
    let (low, high) = interval(&all, &ratio);
    Line {
        name: names[variant].to_owned(),
        cpu_us_per_request: median(rounds.iter().map(|round| round[variant])),
        added_us: median(rounds.iter().map(|round| round[variant] - round[0])),
        ratio: ratio(&all),
        against: names[other].to_owned(),
        low,
        high,
    }
}

/// 95% interval of a statistic: rounds drawn with replacement, so that what is paired stays paired.
fn interval(rounds: &[&Vec<f64>], statistic: impl Fn(&[&Vec<f64>]) -> f64) -> (f64, f64) {
    let mut state = 42_u64;
    let mut draw = || {
        // xorshift64: any even generator does, and the same data must give the same interval.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % rounds.len()
    };
    let mut found: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sample: Vec<&Vec<f64>> = (0..rounds.len()).map(|_| rounds[draw()]).collect();
            statistic(&sample)
        })
        .collect();
    found.sort_by(f64::total_cmp);
    (found[RESAMPLES / 40], found[RESAMPLES - 1 - RESAMPLES / 40])
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

// === impl Target ===

impl Target {
    /// One line for people. Where the interval holds the target, the run was too short or the machine too
    /// noisy to tell.
    pub fn verdict(&self, line: &Line) -> String {
        let word = match () {
            () if line.high <= self.at_most => "reached",
            () if line.low > self.at_most => "MISSED",
            () => "unclear",
        };
        format!(
            "{word:<8} {:<28} adds {:.2} of {:<26} [{:.2}, {:.2}], wanted at most {:.2}",
            self.name, line.ratio, self.against, line.low, line.high, self.at_most
        )
    }
}
