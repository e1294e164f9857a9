//! Releases on real Envoys: the chain of the demo, the shipped module, the engine, 100 requests a second of
//! which the lane gets 10%. The kinds of trouble take turns, so that what else the machine does meets all
//! of them.

mod crowd;
mod trial;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use graylane::demo::stage::Stage;
use graylane_analysis::FaultKind;

use self::trial::Trial;
use crate::figures::{Figure, OURS};
use crate::share::Share;

/// What is wrong with a version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trouble {
    /// In words.
    pub name: &'static str,
    /// What a request says that meets it.
    pub query: &'static str,
    /// Share of requests that meet it.
    pub rate: f64,
    /// What every request says.
    pub always: &'static str,
    /// What the release says besides, below `spec` and on one line.
    pub spec: &'static str,
    /// Whether no other service has a version in the lane.
    pub is_alone: bool,
    /// Who has to be named: service and lane, or who drops the context; nobody where nothing is wrong.
    pub fault: Option<(&'static str, &'static str)>,
    /// How it has to be said to fail, where a version is named.
    pub kind: FaultKind,
    /// Median of the time from the first bad request to the lane's last one that is aimed at, in seconds.
    pub target_s: Option<f64>,
}

/// The canary of `orders` answers 500 to a fifth.
const OWN: Trouble = Trouble {
    name: "own 500, 20%",
    query: "fail=orders-canary:500",
    rate: 0.2,
    always: "",
    spec: "",
    is_alone: false,
    fault: Some(("orders.shop", "canary")),
    kind: FaultKind::Own,
    target_s: Some(6.0),
};
const HANGS: Trouble = Trouble {
    name: "hangs, caller gives up after 300 ms, 20%",
    query: "delay=orders-canary:2000&limit=cart:300",
    kind: FaultKind::Hanging,
    ..OWN
};

/// Every kind of trouble, in the order of a round.
pub const TROUBLES: [Trouble; 11] = [
    Trouble { name: "own 500, 5%", rate: 0.05, target_s: Some(15.0), ..OWN },
    OWN,
    Trouble { name: "own 500, 100%", rate: 1.0, target_s: Some(4.0), ..OWN },
    Trouble { name: "500 that the caller swallows, 20%", query: "fail=orders-canary:500&swallow=cart", ..OWN },
    Trouble { name: "502, 20%", query: "fail=orders-canary:502", ..OWN },
    HANGS,
    Trouble { name: "hangs in a canary alone, 20%", is_alone: true, ..HANGS },
    // The lane gets through by baggage, and nothing else does.
    Trouble {
        name: "traces dropped, own 500, 20%",
        always: "forward=baggage",
        spec: "propagation: {baggage: true}",
        ..OWN
    },
    // A version may be slow for its warm-up, so that no target of seconds fits.
    Trouble {
        name: "slow, 600 ms, 30%",
        query: "delay=orders-canary:600",
        rate: 0.3,
        spec: "analysis: {latency: [{overMs: 300, share: 95%}]}",
        kind: FaultKind::Slow,
        target_s: None,
        ..OWN
    },
    Trouble {
        name: "context dropped",
        query: "forward=none",
        rate: 1.0,
        fault: Some(("cart", "")),
        target_s: None,
        ..OWN
    },
    Trouble { name: "nothing wrong", query: "", rate: 0.0, fault: None, target_s: None, ..OWN },
];

/// Runs every kind of trouble whose name has the word in it `rounds` times.
///
/// # Errors
/// When the chain does not start, or a release does not begin.
pub async fn run(envoy: &Path, filter: &Path, rounds: usize, kind: &str) -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let find = |file: &Path| file.canonicalize().with_context(|| format!("{} is not there", file.display()));
    let mut stage = Stage::start(dir.path(), &find(envoy)?, &find(filter)?).await?;
    let mut trials = Vec::new();
    for round in 0..rounds {
        for turn in 0..TROUBLES.len() {
            // Another order in every round: nobody always follows the same one. 3 and 11 have no common divisor.
            let trouble = TROUBLES[(turn * 3 + round) % TROUBLES.len()];
            if !trouble.name.contains(kind) {
                continue;
            }
            let seed = u64::try_from(trials.len())?;
            let trial = trial::run(&mut stage, trouble, seed).await?;
            println!("{}", trial.line());
            trials.push(trial);
        }
    }
    Ok(figures(&trials))
}

fn figures(trials: &[Trial]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for trouble in TROUBLES.into_iter().filter(|trouble| trials.iter().any(|trial| trial.trouble == *trouble)) {
        let of = || trials.iter().filter(move |trial| trial.trouble == trouble);
        let name = |what: &str| format!("real Envoys, {}: {what}", trouble.name);
        if trouble.fault.is_none() {
            let held_up = Share::of(of(), |trial| trial.ended_s.is_some());
            figures.push(Figure::low(&name("taken back or paused"), OURS, held_up).at_most(0.0));
            continue;
        }
        let seconds = |of: Vec<Option<Duration>>| of.into_iter().flatten().map(|time| time.as_secs_f64()).collect();
        figures.push(Figure::seconds(&name("decided"), OURS, seconds(of().map(|trial| trial.ended_s).collect())));
        let last =
            Figure::seconds(&name("lane's last request"), OURS, seconds(of().map(|trial| trial.last_s).collect()));
        figures.push(match trouble.target_s {
            Some(target) => last.at_most(target),
            None => last,
        });
        let later = of().filter_map(|trial| Some(trial.last_s?.saturating_sub(trial.ended_s?)));
        figures.push(Figure::seconds(
            &name("decision to lane's last request"),
            OURS,
            seconds(later.map(Some).collect()),
        ));
        let right = Share::of(of(), |trial| trial.is_right());
        figures.push(Figure::high(&name("stopped, fault named"), OURS, right).at_least(0.99));
        let sum = |of: Vec<u64>| of.into_iter().sum::<u64>();
        let failed = Share {
            count: sum(of().map(|trial| trial.failed).collect()),
            of: sum(of().map(|trial| trial.sent).collect()),
        };
        figures.push(Figure::low(&name("requests failed of all until the end"), OURS, failed));
    }
    figures.extend(together(trials));
    figures
}

/// Of all kinds together.
fn together(trials: &[Trial]) -> [Figure; 2] {
    let bad = || trials.iter().filter(|trial| trial.trouble.fault.is_some());
    let wrong = |trial: &&Trial| trial.ended_s.is_some() != trial.trouble.fault.is_some();
    [
        Figure::low("real Envoys, all kinds: failed releases", OURS, Share::of(trials.iter(), wrong)).at_most(0.005),
        Figure::high("real Envoys, all kinds: stopped, fault named", OURS, Share::of(bad(), |trial| trial.is_right()))
            .at_least(0.99),
    ]
}
