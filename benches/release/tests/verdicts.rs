//! A part of the suite that is quick enough for every test run. Seeds are those of tuning: the held-out
//! ones are for `make bench-release` alone.

use graylane_analysis::Outcome;
use release_suite::figures;
use release_suite::record::Record;
use release_suite::run::Drive;
use release_suite::scenario::{Damage, Harm, NO_DAMAGE, Scenario, Truth};
use release_suite::suite::{TUNING, releases, run_all};

/// What was decided wrongly, in words.
fn wrong(records: &[Record]) -> Vec<(&str, &str)> {
    let wrong = |record: &&Record| match record.scenario.truth {
        Truth::Good => record.outcome == Outcome::Fail,
        Truth::Bad => record.outcome == Outcome::Pass,
        Truth::Between | Truth::Later => false,
    };
    records.iter().filter(wrong).map(|record| (record.scenario.kind, record.reason.as_str())).collect()
}

#[test]
fn good_releases_stay_and_bad_ones_go() {
    let records = run_all(&releases(TUNING, 200, 100), Drive::Fixed);
    let told = wrong(&records);
    assert!(told.is_empty(), "{told:?}");
    for figure in figures::compare(&records) {
        let must = figure.name.contains("twice the traffic") || figure.name.contains("located");
        assert!(!must || figure.value >= 0.98, "{figure:?}");
    }
}

#[test]
fn users_who_fail_by_themselves_take_no_release_back() {
    let fails = |scenario: &Scenario| scenario.crowd.breaks > 0.0 || scenario.crowd.storm > 0.0;
    let scenarios: Vec<_> = (TUNING..).map(Scenario::good).filter(fails).take(100).collect();
    for drive in [Drive::Fixed, Drive::Auto] {
        let records = run_all(&scenarios, drive);
        let told = wrong(&records);
        assert!(told.is_empty(), "{drive:?}: {told:?}");
    }
}

#[test]
fn a_bad_version_goes_back_whoever_its_users_are() {
    let few_and_heavy = |seed| {
        let mut scenario =
            Scenario::plain(seed, 100.0, 0.001, Some(Damage { rate: 0.2, harm: Harm::Own, ..NO_DAMAGE }));
        (scenario.crowd.users, scenario.crowd.shape) = (200, 1.5);
        (scenario.crowd.broken, scenario.crowd.breaks) = (0.02, 0.1);
        scenario
    };
    let records = run_all(&(1..60).map(few_and_heavy).collect::<Vec<_>>(), Drive::Fixed);
    let back = records.iter().filter(|record| record.outcome == Outcome::Fail && record.decided_s <= 20.0).count();
    assert!(back >= 57, "{back} of {}", records.len());
}

/// The brake stops the lane within seconds; then the counts have to do, or the brake is let go and counts grow again.
#[test]
fn a_dead_lane_is_braked_and_taken_back_all_the_same() {
    let damage = Damage { rate: 1.0, harm: Harm::Own, ..NO_DAMAGE };
    let dead = |seed| Scenario::plain(seed, 100.0, 0.001, Some(damage));
    let records = run_all(&(1..40).map(dead).collect::<Vec<_>>(), Drive::Fixed);
    let braked = records.iter().filter(|record| record.braked_s.is_some_and(|at| at <= 3.0)).count();
    assert!(braked >= 30, "{braked} of {}", records.len());
    for record in records {
        assert_eq!(record.outcome, Outcome::Fail, "{}", record.reason);
        assert!(record.failed <= 60, "{} failed within {} s", record.failed, record.decided_s);
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
        assert!(record.weight <= 0.05 && record.decided_s <= 20.0, "{} {}", record.weight, record.decided_s);
    }
}

/// Where applications hand no trace on, nothing tells callers that give up from users who leave.
#[test]
fn a_version_whose_callers_give_up_on_it_is_named_however_many_users_leave() {
    let mut scenarios = Vec::new();
    for (leaves, untraced) in [(0.0, 0.0), (0.0, 1.0), (0.02, 0.0), (0.1, 0.0), (0.3, 0.0)] {
        for (hop, rate) in [(1, 0.03), (1, 0.2), (1, 1.0), (2, 0.03), (2, 0.2), (2, 1.0)] {
            let damage = Damage { harm: Harm::Hanging, hop, rate, from_s: 0.0, rise_s: 0.0 };
            let seeds = (1..8).map(|seed| Scenario::plain(seed, 100.0, 0.001, Some(damage)));
            scenarios.extend(seeds.map(|plain| Scenario { leaves, untraced, ..plain }));
        }
    }
    let records = run_all(&scenarios, Drive::Fixed);
    let missed = records.iter().filter(|record| record.located != Some(true));
    let missed: Vec<_> = missed.map(|record| (record.scenario.damage, record.scenario.leaves)).collect();
    assert!(missed.len() <= records.len() / 100, "{missed:?}");
}

#[test]
fn a_good_lane_is_verified_at_full_weight_within_minutes() {
    let scenarios: Vec<_> = (1..40).map(|seed| Scenario::plain(seed, 100.0, 0.001, None)).collect();
    let records = run_all(&scenarios, Drive::Auto);
    let mut times: Vec<_> = records.iter().map(|record| record.verified_s.unwrap_or(f64::MAX)).collect();
    times.sort_by(f64::total_cmp);
    assert!(times[times.len() / 2] <= 60.0, "{times:?}");
    let baked = |record: &Record| record.verified_s.is_some_and(|verified| record.decided_s - verified >= 60.0);
    assert!(records.iter().all(baked), "what is judged stays for a minute before it is handed over");
    assert!(records.iter().all(|record| record.outcome == Outcome::Pass));
}
