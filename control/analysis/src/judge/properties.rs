//! What holds for any counts, and what holds on average over many.

use proptest::prelude::*;

use super::arm::{Arm, Pair};
use super::harm::{self, RATIOS};
use super::nats::{Nats, log_mean_exp};
use super::*;
use crate::ServicePlan;

/// A small generator, so that the simulations need no crate and never change.
struct Coin(u64);

impl Coin {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn bad(&mut self, n: u64, rate: f64) -> u64 {
        (0..n).filter(|_| self.next() < rate).count() as u64
    }
}

fn plan(services: &[&str]) -> Plan {
    let objectives = vec![
        Objective { name: "success".into(), kind: ObjectiveKind::SuccessRate { at_least: 0.99 } },
        Objective { name: "p95".into(), kind: ObjectiveKind::Latency { over_ms: 300, at_least: 0.95 } },
    ];
    let service = |name: &&str| ServicePlan { service: (*name).to_owned(), objectives: objectives.clone() };
    Plan::new("canary", services.iter().map(service).collect()).unwrap()
}

/// (service, in the lane, requests, failures, slow)
type Count = (usize, bool, u32, u32, u32);

const SERVICES: [&str; 2] = ["cart", "stock"];

fn interval(at: usize, counts: &[Count]) -> Interval {
    let at = at as u64 * 1000;
    let mut interval = Interval { from_ms: at, to_ms: at + 1000, expected: 1, reporting: 1, ..Interval::default() };
    for &(service, in_lane, requests, failures, slow) in counts {
        let lane = if in_lane { "canary" } else { STABLE };
        let cell = Cell { service: SERVICES[service % 2].into(), lane: lane.into(), cohort: Cohort::Slot };
        let tally = interval.cells.entry(cell).or_default();
        tally.requests += u64::from(requests);
        tally.failures += u64::from(failures);
        *tally.slow.entry(300).or_default() += u64::from(slow);
        *interval.entered.entry(lane.into()).or_default() += u64::from(requests);
    }
    interval.weights.insert("canary".into(), 1_000);
    interval
}

fn counts() -> impl Strategy<Value = Vec<Vec<Count>>> {
    let size = || prop_oneof![0..5_u32, 0..500_u32, Just(u32::MAX)];
    prop::collection::vec(prop::collection::vec((0..2_usize, any::<bool>(), size(), size(), size()), 0..6), 0..30)
}

fn observed(plan: &Plan, intervals: &[Interval]) -> Evidence {
    let mut evidence = Evidence::default();
    intervals.iter().for_each(|interval| evidence.observe(plan, interval));
    evidence
}

proptest! {
    #[test]
    fn nothing_that_is_told_is_ever_not_a_number(counts in counts()) {
        let plan = plan(&SERVICES);
        let intervals: Vec<_> = counts.iter().enumerate().map(|(at, counts)| interval(at, counts)).collect();
        let evidence = observed(&plan, &intervals);
        let verdict = evidence.verdict(&plan, 60_000);
        for finding in &verdict.findings {
            let (low, high) = finding.interval;
            prop_assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0, "{:?}", finding);
            prop_assert!(finding.log_harm.is_finite() && finding.log_kept.is_finite(), "{:?}", finding);
            prop_assert!(finding.dispersion.is_finite() && finding.dispersion >= 1.0, "{:?}", finding);
        }
        prop_assert!(verdict.allowed_weight <= 10_000);
        prop_assert!(!serde_json::to_string(&verdict).unwrap().contains("null,null"));
    }

    #[test]
    fn a_controller_that_was_restarted_decides_the_same(counts in counts(), at in 0..30_usize) {
        let plan = plan(&SERVICES);
        let intervals: Vec<_> = counts.iter().enumerate().map(|(at, counts)| interval(at, counts)).collect();
        let (before, after) = intervals.split_at(at.min(intervals.len()));
        let text = serde_json::to_string(&observed(&plan, before)).unwrap();
        let mut resumed: Evidence = serde_json::from_str(&text).unwrap();
        after.iter().for_each(|interval| resumed.observe(&plan, interval));
        prop_assert_eq!(resumed, observed(&plan, &intervals));
    }

    #[test]
    fn the_order_of_services_in_the_plan_changes_no_evidence(counts in counts()) {
        let intervals: Vec<_> = counts.iter().enumerate().map(|(at, counts)| interval(at, counts)).collect();
        let [one, other] = [plan(&["cart", "stock"]), plan(&["stock", "cart"])];
        let [first, second] = [&one, &other].map(|plan| observed(plan, &intervals));
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(first.verdict(&one, 60_000).outcome, second.verdict(&other, 60_000).outcome);
    }
}

/// Mean of the final e-values over many releases whose lane is no worse than `margin` times stable,
/// with a rate and a weight that change in every interval.
fn mean_e_value(margin: f64, rate: impl Fn(u64) -> f64) -> f64 {
    const RUNS: u64 = 4_000;
    let mut sum = 0.0;
    for seed in 0..RUNS {
        let mut coin = Coin(seed);
        let mut logs = [Nats::default(); RATIOS.len()];
        for at in 0..40 {
            let (lane, stable) = (5 + 5 * (at % 9), 60 - at);
            let base = rate(at);
            let pair = Pair {
                lane: Arm::new(lane, coin.bad(lane, base * margin)),
                stable: Arm::new(stable, coin.bad(stable, base)),
            };
            harm::step(&mut logs, &pair, margin, 4.0);
        }
        sum += log_mean_exp(&logs, 1.0).exp();
    }
    sum / RUNS as f64
}

#[test]
fn the_e_value_of_a_harmless_lane_is_at_most_one_on_average() {
    let steady = mean_e_value(1.2, |_| 0.02);
    let drifting = mean_e_value(1.2, |at| 0.001 + 0.004 * at as f64);
    let outage = mean_e_value(1.0, |at| if (10..20).contains(&at) { 0.6 } else { 0.002 });
    for mean in [steady, drifting, outage] {
        assert!(mean <= 1.1, "{steady} {drifting} {outage}");
    }
}

#[test]
fn of_harmless_lanes_that_are_looked_at_every_second_fewer_than_alpha_fail() {
    let plan = Plan { alpha: 0.05, min_failures: 1, floor: 0.0, margin: 1.0, ..plan(&["cart"]) };
    let fails = (0..300_u64).filter(|seed| {
        let (mut coin, mut evidence) = (Coin(seed * 7_919), Evidence::default());
        (0..120).any(|at| {
            let mut bad = |n: u32| u32::try_from(coin.bad(u64::from(n), 0.02)).unwrap();
            let counts = [(0, true, 20, bad(20), 0), (0, false, 80, bad(80), 0)];
            evidence.observe(&plan, &interval(at, &counts));
            evidence.verdict(&plan, (at as u64 + 1) * 1000).outcome == Outcome::Fail
        })
    });
    assert!(fails.count() <= 20, "more than 5% of 300, and some luck");
}
