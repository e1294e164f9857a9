//! What holds for any counts, and what holds on average over many.

use proptest::prelude::*;

use super::arm::{Arm, Pair};
use super::breach::Breach;
use super::harm::{self, RATIOS};
use super::nats::{Nats, log_mean_exp};
use super::*;
use crate::ServicePlan;
use crate::counts::{UNITS, Unit};

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

/// (bucket, requests, failures)
fn units() -> impl Strategy<Value = Vec<(u8, u32, u32)>> {
    let size = || prop_oneof![0..5_u32, 0..500_u32, Just(u32::MAX)];
    prop::collection::vec((0..16_u8, size(), size()), 1..30)
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
    fn what_entries_tell_of_users_only_ever_favours_the_lane(counts in counts(), failed in units()) {
        let plan = plan(&SERVICES);
        let intervals: Vec<_> = counts.iter().enumerate().map(|(at, counts)| interval(at, counts)).collect();
        let mut told = intervals.clone();
        for (interval, (bucket, requests, failures)) in told.iter_mut().zip(failed.iter().cycle()) {
            let unit = Unit { requests: u64::from(*requests), failures: u64::from(*failures) };
            interval.units.insert(("canary".into(), *bucket), unit);
        }
        let steps = f64::from(u32::try_from(told.len()).unwrap_or(u32::MAX));
        let [plain, told] = [&intervals, &told].map(|intervals| observed(&plan, intervals));
        for (service, objective) in plan.objectives() {
            let of = |evidence: &Evidence| evidence.trial(service, &objective.name).map(|trial| (trial.harm(), trial.keep()));
            if let (Some((plain, kept)), Some((told, still_kept))) = (of(&plain), of(&told)) {
                // Each of the steps is rounded down to a millionth, of the two not always alike.
                let rounding = 1e-6 * steps;
                prop_assert!(told <= plain + rounding && kept == still_kept, "{told} {plain} {kept} {still_kept}");
            }
        }
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
            harm::step(&mut logs, RATIOS, &pair, margin, 4.0);
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

/// A release of which the entry tells whose requests fail. Every user asks as often as all others.
struct Crowd {
    /// Users in the lane; stable has nine times, or 99 times, as many.
    users: usize,
    stable: u32,
    /// Requests of the lane in a second, and how many of them fail, by user.
    asks: u32,
    fails: fn(usize, u64) -> f64,
    is_told: bool,
}

impl Crowd {
    fn second(&self, at: u64, coin: &mut Coin) -> Interval {
        let mut units = BTreeMap::<(String, u8), Unit>::new();
        let mut failures = 0;
        for _ in 0..self.asks {
            let user = (coin.next() * self.users as f64) as usize;
            let bucket = (user * 5 % UNITS) as u8;
            let unit = units.entry(("canary".into(), bucket)).or_default();
            let failed = u64::from(coin.next() < (self.fails)(user, at));
            *unit = Unit { requests: unit.requests + 1, failures: unit.failures + failed };
            failures += failed;
        }
        let stable = u32::try_from(coin.bad(u64::from(self.stable), 0.001)).unwrap();
        let counts = [(0, true, self.asks, failures as u32, 0), (0, false, self.stable, stable, 0)];
        let mut interval = interval(at as usize, &counts);
        interval.units = if self.is_told { units } else { interval.units };
        interval
    }

    /// The second in which it is taken back, within five minutes.
    fn taken_back(&self, seed: u64) -> Option<u64> {
        let (plan, mut coin, mut evidence) = (plan(&["cart"]), Coin(seed), Evidence::default());
        (0..300).find(|at| {
            evidence.observe(&plan, &self.second(*at, &mut coin));
            evidence.verdict(&plan, (at + 1) * 1000).outcome == Outcome::Fail
        })
    }
}

#[test]
fn one_user_who_fails_takes_no_release_back() {
    // One of thirty fails from the thirtieth second on; all others as often as in stable.
    let fails = |user: usize, at: u64| if user == 7 && at >= 30 { 1.0 } else { 0.001 };
    let crowd = |is_told| Crowd { users: 30, stable: 270, asks: 30, fails, is_told };
    let taken_back = |is_told| (0..40).filter(|seed| crowd(is_told).taken_back(*seed).is_some()).count();
    assert_eq!(taken_back(true), 0);
    assert_eq!(taken_back(false), 40, "requests alone do not tell it from a bad version");
}

#[test]
fn a_lane_whose_users_all_fail_goes_back() {
    for (users, asks, stable) in [(1, 1, 99), (2, 1, 99), (3, 2, 198), (50, 10, 90), (200, 100, 900)] {
        for seed in 0..20 {
            let crowd = |is_told| Crowd { users, stable, asks, fails: |_, _| 1.0, is_told };
            let [told, plain] = [true, false].map(|is_told| crowd(is_told).taken_back(seed));
            assert_eq!(told, plain, "{users} users");
            assert!(told.is_some_and(|second| second < 10), "{users} users: {told:?}");
        }
    }
}

#[test]
fn a_version_that_fails_a_twentieth_of_all_goes_back_no_later_for_it() {
    let crowd = |is_told| Crowd { users: 40, stable: 90, asks: 10, fails: |_, _| 0.05, is_told };
    let sum = |is_told| (0..60).map(|seed| crowd(is_told).taken_back(seed).unwrap_or(300)).sum::<u64>();
    let (told, plain) = (sum(true), sum(false));
    assert!(told <= plain + plain / 10, "{told} seconds in all against {plain}");
}

/// Mean of the final e-values against "the lane keeps the objective" over many lanes that just keep it, and the
/// share of them that it ever called broken at 5%.
fn breach(rate: impl Fn(u64) -> f64) -> (f64, f64) {
    const RUNS: u64 = 2_000;
    let (mut sum, mut called) = (0.0, 0.0);
    for seed in 0..RUNS {
        let (mut coin, mut breach, mut was_called) = (Coin(seed), Breach::default(), false);
        for at in 0..200 {
            breach.take(Arm::new(60, coin.bad(60, rate(at))), 0.01, 4.0);
            was_called |= breach.get(1.0) >= f64::ln(20.0);
        }
        sum += breach.get(1.0).exp();
        called += f64::from(u8::from(was_called));
    }
    (sum / RUNS as f64, called / RUNS as f64)
}

#[test]
fn the_e_value_against_a_lane_that_keeps_its_objective_is_at_most_one_on_average() {
    for (mean, called) in [breach(|_| 0.01), breach(|_| 0.004), breach(|at| if at % 50 < 25 { 0.0 } else { 0.01 })] {
        assert!(mean <= 1.1 && called <= 0.05, "{mean} {called}");
    }
}

/// Of lanes that just keep their objective and are worse than stable, the share that ever fails at an alpha of 5%.
/// Failures come in so many at a time.
fn called_broken(at_once: u32) -> f64 {
    const RUNS: u64 = 100;
    let plan = Plan { alpha: 0.05, min_failures: 1, floor: 0.0, margin: 5.0, ..plan(&["cart"]) };
    let fails = (0..RUNS).filter(|seed| {
        let (mut coin, mut evidence) = (Coin(seed * 7_919 + 1), Evidence::default());
        (0..240).any(|at| {
            let mut bad = |n: u32, rate: f64| {
                let rate = rate / f64::from(at_once);
                (u32::try_from(coin.bad(u64::from(n), rate)).unwrap() * at_once).min(n)
            };
            let counts = [(0, true, 100, bad(100, 0.01), 0), (0, false, 100, bad(100, 0.003), 0)];
            evidence.observe(&plan, &interval(at, &counts));
            evidence.verdict(&plan, (at as u64 + 1) * 1000).outcome == Outcome::Fail
        })
    });
    fails.count() as f64 / RUNS as f64
}

#[test]
fn of_lanes_that_just_keep_their_objective_fewer_than_alpha_fail_also_where_failures_come_in_bursts() {
    for at_once in [1, 5, 20] {
        let share = called_broken(at_once);
        assert!(share <= 0.05, "{at_once} at once: {share}");
    }
}

#[test]
fn one_user_who_fails_takes_no_release_back_where_nobody_is_left_to_compare_with() {
    let fails = |user: usize, at: u64| if user == 7 && at >= 30 { 1.0 } else { 0.001 };
    let crowd = |is_told| Crowd { users: 30, stable: 0, asks: 30, fails, is_told };
    let taken_back = |is_told| (0..20).filter(|seed| crowd(is_told).taken_back(*seed).is_some()).count();
    assert_eq!([true, false].map(taken_back), [0, 20], "requests alone do not tell it from a bad version");
}
