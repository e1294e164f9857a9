//! `make bench-release`: releases in virtual time, judged by ours and by other rules on the same
//! traces. Prints tables and writes `target/bench/release.json`.
//!
//! `bench-release [--tuning | --burnt] [--scale PERCENT] [--real ROUNDS --envoy FILE --filter FILE] [--kind WORD] [--out FILE]`
//!
//! With `--real`, releases on real Envoys follow; with `--scale 0` there are only those. With `--kind` only those kinds of
//! trouble that have the word in their name, in virtual time as well. Of `--tuning` and `--burnt` seeds, releases that
//! ended wrongly are told one by one.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use graylane_analysis::Outcome;
use release_suite::figures::{self, Figure, OURS};
use release_suite::real;
use release_suite::record::Record;
use release_suite::run::Drive;
use release_suite::scenario::{Damage, Harm, SERVICES, Scenario, Truth};
use release_suite::share::{self, Share};
use release_suite::suite::{BURNT, HELD_OUT, TUNING, releases, run_all};
use release_suite::table;

struct Options {
    first: u64,
    percent: u64,
    out: Option<PathBuf>,
    rounds: usize,
    kind: String,
    envoy: PathBuf,
    filter: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let options = options()?;
    let began = Instant::now();
    let mut all = Vec::new();
    if options.percent > 0 {
        let many = |count: u64| (count * options.percent / 100).max(30);
        let (good, bad) = (many(10_000), many(3_400));
        println!("{good} good and {bad} bad releases at 10%, the same users for every rule:");
        all.extend(fixed(options.first, &options.of_kind(releases(options.first, good, bad))));
        if options.kind.is_empty() {
            all.extend(decision_times(options.first + 10_000_000, many(300)));
            all.extend(ramp_times(options.first + 20_000_000, many(300)));
        }
        let (good, bad) = (many(2_000), many(600));
        println!("{good} good and {bad} bad releases on the ramp:");
        let ramped = options.of_kind(releases(options.first + 21_000_000, good, bad));
        all.extend(ramps(options.first, &ramped));
    }
    if options.rounds > 0 {
        println!("on real Envoys, 100 requests a second, 10% in the lane:");
        let threads = tokio::runtime::Runtime::new()?;
        all.extend(threads.block_on(real::run(&options.envoy, &options.filter, options.rounds, &options.kind))?);
    }
    println!("{}", table::figures(&all));
    println!("{:.0} s, seeds from {}", began.elapsed().as_secs_f64(), options.first);
    if let Some(out) = &options.out {
        let text = serde_json::to_string_pretty(&all)?;
        std::fs::write(out, text).with_context(|| format!("cannot write {}", out.display()))?;
    }
    Ok(())
}

fn options() -> anyhow::Result<Options> {
    let (envoy, filter) = ("envoy".into(), "target/filter/graylane_filter.wasm".into());
    let mut options =
        Options { first: HELD_OUT, percent: 100, out: None, rounds: 0, kind: String::new(), envoy, filter };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--tuning" => options.first = TUNING,
            "--burnt" => options.first = BURNT,
            "--scale" => options.percent = value()?.parse().context("--scale takes a percentage")?,
            "--real" => options.rounds = value()?.parse().context("--real takes a number of rounds")?,
            "--kind" => options.kind = value()?,
            "--envoy" => options.envoy = value()?.into(),
            "--filter" => options.filter = value()?.into(),
            "--out" => options.out = Some(value()?.into()),
            _ => bail!(
                "unknown option '{arg}': --tuning, --burnt, --scale PERCENT, --real ROUNDS, --kind WORD, --envoy FILE, --filter FILE, --out FILE"
            ),
        }
    }
    Ok(options)
}

// === impl Options ===

impl Options {
    /// Those whose kind has the word in it.
    fn of_kind(&self, mut scenarios: Vec<Scenario>) -> Vec<Scenario> {
        scenarios.retain(|scenario| scenario.kind.contains(&self.kind));
        scenarios
    }
}

/// 10% all the time: every rule sees the same users.
fn fixed(first: u64, scenarios: &[Scenario]) -> Vec<Figure> {
    let records = run_all(scenarios, Drive::Fixed);
    println!("{}", table::kinds(&records));
    tell(first, &records);
    figures::compare(&records)
}

/// Single releases are shown only of seeds that settings may be chosen by.
fn tell(first: u64, records: &[Record]) {
    if first < HELD_OUT {
        println!("{}", table::wrong(records));
    }
}

/// From the first bad request to the decision, at 100 requests a second and 10%.
fn decision_times(first: u64, runs: u64) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (rate, target) in [(0.05, 15.0), (0.2, 6.0), (1.0, 4.0)] {
        let damage = |seed: u64| {
            let hop = usize::try_from(seed).unwrap_or_default() % SERVICES.len();
            Damage { harm: Harm::Own, hop, rate, from_s: 0.0, rise_s: 0.0 }
        };
        let scenario = |seed| Scenario::plain(seed, 100.0, 0.001, Some(damage(seed)));
        let records = run_all(&(first..first + runs).map(scenario).collect::<Vec<_>>(), Drive::Fixed);
        let times = records.iter().filter(|record| record.outcome == Outcome::Fail).map(|record| record.decided_s);
        let name = format!("time to decide, 100 rps at 10%, {:.0}% of the lane fails", rate * 100.0);
        figures.push(Figure::seconds(&name, OURS, times.collect()).at_most(target));
        if rate >= 1.0 {
            let braked = records.iter().filter_map(|record| record.braked_s);
            figures.push(
                Figure::seconds("time to the brake, 100 rps at 10%, all of the lane fails", OURS, braked.collect())
                    .at_most(2.0),
            );
        }
        let rival = records.iter().filter_map(|record| record.rivals[1].0).map(share::real).collect();
        figures.push(Figure::seconds(&name, "handbook, lane-labelled", rival));
    }
    figures
}

/// The `auto` ramp: all kinds.
fn ramps(first: u64, scenarios: &[Scenario]) -> Vec<Figure> {
    let records = run_all(scenarios, Drive::Auto);
    println!("{}", table::kinds(&records));
    tell(first, &records);
    on_ramp(&records)
}

/// The `auto` ramp: how long good releases take, and dead ones.
fn ramp_times(first: u64, runs: u64) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (rps, target) in [(100.0, 60.0), (1000.0, 20.0)] {
        let scenario = |seed| Scenario::plain(seed, rps, 0.001, None);
        let records = run_all(&(first..first + runs).map(scenario).collect::<Vec<_>>(), Drive::Auto);
        let times = records.iter().filter_map(|record| record.verified_s).collect();
        let name = format!("good release from 1% to all, verified, {rps:.0} rps");
        figures.push(Figure::seconds(&name, OURS, times).at_most(target));
        let handed = records.iter().filter(|record| record.outcome == Outcome::Pass).map(|record| record.decided_s);
        let name = format!("good release from 1% to the handover, bake and all, {rps:.0} rps");
        figures.push(Figure::seconds(&name, OURS, handed.collect()));
        let share = Share::of(&records, |record| record.outcome == Outcome::Pass);
        figures.push(Figure::high(&format!("promoted by the ramp, {rps:.0} rps"), OURS, share).at_least(0.99));
    }
    figures.extend(dead(first, runs));
    figures
}

/// A lane that fails every request.
fn dead(first: u64, runs: u64) -> Vec<Figure> {
    let damage = Damage { harm: Harm::Unreachable, hop: 1, rate: 1.0, from_s: 0.0, rise_s: 0.0 };
    let scenario = |seed| Scenario::plain(seed, 100.0, 0.001, Some(damage));
    let records = run_all(&(first..first + runs).map(scenario).collect::<Vec<_>>(), Drive::Auto);
    let weight = records.iter().map(|record| record.weight).fold(0.0, f64::max);
    let times = records.iter().map(|record| record.decided_s).collect();
    vec![
        Figure::plain("largest weight of a dead lane on the ramp, 100 rps", OURS, weight, "share").at_most(0.05),
        Figure::seconds("time to decide on a dead lane on the ramp, 100 rps", OURS, times),
    ]
}

fn on_ramp(records: &[Record]) -> Vec<Figure> {
    let good = || figures::of(records, Truth::Good);
    let bad = || figures::of(records, Truth::Bad);
    let sum = |of: fn(&Record) -> u64| bad().map(|record| share::real(of(record))).sum::<f64>();
    let hurt = sum(|record| record.failed) / sum(|record| record.requests).max(1.0);
    let mut figures = vec![
        Figure::low("false rollbacks on the ramp", OURS, Share::of(good(), |record| record.outcome == Outcome::Fail))
            .at_most(0.001),
        Figure::low("bad promoted on the ramp", OURS, Share::of(bad(), |record| record.outcome == Outcome::Pass))
            .at_most(0.001),
        Figure::plain("requests failed by bad lanes on the ramp, until the decision", OURS, hurt, "share"),
    ];
    figures.extend(figures::braked(" on the ramp", records));
    figures.extend(figures::later(" on the ramp", records));
    figures
}
