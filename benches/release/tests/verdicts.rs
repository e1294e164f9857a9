//! A part of the suite that is quick enough for every test run. Seeds are those of tuning: the held-out
//! ones are for `make bench-release` alone.

use graylane_analysis::Outcome;
use release_suite::figures;
use release_suite::run::{Drive, Record};
use release_suite::scenario::{Damage, Harm, Scenario, Truth};
use release_suite::suite::{TUNING, releases, run_all};

/// Plain traffic: no users who fail by themselves.
fn plain(records: &[Record]) -> impl Iterator<Item = &Record> {
    records.iter().filter(|record| record.scenario.crowd.breaks == 0.0 && record.scenario.crowd.storm == 0.0)
}

#[test]
fn good_releases_stay_and_bad_ones_go() {
    let records = run_all(&releases(TUNING, 400, 200), Drive::Fixed);
    let wrong = |record: &&Record| match record.scenario.truth {
        Truth::Good => record.outcome == Outcome::Fail,
        Truth::Bad => record.outcome == Outcome::Pass,
        Truth::Between => false,
    };
    let told: Vec<_> = plain(&records).filter(wrong).map(|record| (record.scenario.kind, &record.reason)).collect();
    assert!(told.is_empty(), "{told:?}");
    for figure in figures::compare(&records) {
        let must = figure.name.contains("twice the traffic") || figure.name.contains("located");
        assert!(!must || figure.value >= 0.98, "{figure:?}");
    }
}

#[test]
fn a_release_is_the_same_on_every_run() {
    let scenarios = releases(TUNING + 5_000, 10, 10);
    let told =
        || run_all(&scenarios, Drive::Auto).iter().map(|record| (record.outcome, record.decided_s)).collect::<Vec<_>>();
    assert_eq!(told(), told());
}

#[test]
fn a_dead_lane_never_gets_more_than_a_few_percent_on_the_ramp() {
    let damage = Damage { harm: Harm::Unreachable, hop: 2, rate: 1.0, from_s: 0.0, rise_s: 0.0 };
    let scenarios: Vec<_> = (1..40).map(|seed| Scenario::plain(seed, 100.0, 0.001, Some(damage))).collect();
    for record in run_all(&scenarios, Drive::Auto) {
        assert_eq!((record.outcome, record.located), (Outcome::Fail, Some(true)), "{}", record.reason);
        assert!(record.weight <= 0.05 && record.decided_s <= 20, "{} {}", record.weight, record.decided_s);
    }
}

#[test]
fn a_good_lane_is_verified_at_full_weight_within_minutes() {
    let scenarios: Vec<_> = (1..40).map(|seed| Scenario::plain(seed, 100.0, 0.001, None)).collect();
    let records = run_all(&scenarios, Drive::Auto);
    let mut times: Vec<_> = records.iter().map(|record| record.verified_s.unwrap_or(u64::MAX)).collect();
    times.sort_unstable();
    assert!(times[times.len() / 2] <= 60, "{times:?}");
    assert!(records.iter().all(|record| record.outcome == Outcome::Pass));
}
