//! Counters that restart, come late and go missing.

use super::*;

fn requests(count: u64) -> BTreeMap<Series, u64> {
    let series = Series {
        metric: Metric::Requests,
        service: "cart".into(),
        lane: "canary".into(),
        cohort: Cohort::Slot,
        direction: Direction::Gateway,
        origin: None,
        status: Some(200),
    };
    BTreeMap::from([(series, count)])
}

fn reading(proxy: &str, at_ms: u64, epoch: Option<u64>, count: u64) -> Reading {
    Reading { proxy: proxy.into(), beside: None, at_ms, epoch, series: requests(count) }
}

/// Requests counted between the readings, after a ledger that began at 1,000.
fn counted(readings: impl IntoIterator<Item = Reading>) -> u64 {
    let mut ledger = Ledger::new(1_000);
    readings.into_iter().for_each(|reading| ledger.take(reading));
    ledger.close(9_000).entered.get("canary").copied().unwrap_or(0)
}

#[test]
fn the_first_reading_of_an_unknown_proxy_only_says_where_it_stands() {
    assert_eq!(counted([reading("a", 1_500, None, 700)]), 0);
    assert_eq!(counted([reading("a", 1_500, None, 700), reading("a", 2_500, None, 730)]), 30);
    assert_eq!(counted([reading("a", 1_500, Some(500), 700)]), 0);
}

#[test]
fn a_pod_that_started_since_counts_from_zero() {
    assert_eq!(counted([reading("a", 2_500, Some(1_200), 40)]), 40);
}

#[test]
fn a_counter_that_fell_was_reset() {
    assert_eq!(counted([reading("a", 1_500, None, 700), reading("a", 2_500, None, 20)]), 20);
}

#[test]
fn a_restart_is_seen_by_its_start_even_when_the_counter_has_overtaken() {
    let readings = [reading("a", 1_500, Some(0), 700), reading("a", 60_000, Some(30_000), 900)];
    assert_eq!(counted(readings), 900);
    let jitter = [reading("a", 1_500, Some(0), 700), reading("a", 6_000, Some(900), 900)];
    assert_eq!(counted(jitter), 200);
}

#[test]
fn a_late_or_repeated_reading_is_dropped() {
    let readings = [reading("a", 1_500, None, 10), reading("a", 2_500, None, 30), reading("a", 2_000, None, 20)];
    assert_eq!(counted(readings), 20);
}

#[test]
fn a_proxy_that_does_not_report_is_named_and_its_counts_arrive_later() {
    let mut ledger = Ledger::new(0);
    ledger.expect(["a".to_owned(), "b".to_owned()]);
    ledger.take(reading("a", 500, None, 10));
    ledger.take(reading("b", 500, None, 10));
    ledger.close(1_000);
    ledger.take(reading("a", 1_500, None, 15));
    let interval = ledger.close(2_000);
    assert_eq!((interval.expected, interval.reporting), (2, 1));
    assert!(interval.missing.contains("b"));
    ledger.take(reading("b", 2_500, None, 40));
    assert_eq!(ledger.close(3_000).entered["canary"], 30);
}

#[test]
fn requests_that_were_given_up_stand_beside_the_others_by_who_left() {
    let abandoned = |(direction, quit, count)| {
        let (series, _) = requests(0).pop_first().unwrap();
        (Series { metric: Metric::Abandoned(quit), direction, status: None, ..series }, count)
    };
    let mut read = requests(20);
    read.extend([(Direction::Gateway, Quit::Left, 3), (Direction::Outbound, Quit::GaveUp, 5)].map(abandoned));
    read.extend([(Direction::Outbound, Quit::Left, 2)].map(abandoned));
    let mut ledger = Ledger::new(1_000);
    ledger.take(Reading { series: read, beside: Some("front".into()), ..reading("a", 2_500, Some(1_200), 0) });
    let interval = ledger.close(9_000);
    let (_, tally) = interval.cells.first_key_value().unwrap();
    assert_eq!((tally.requests, tally.entered, tally.left), (20, 20, 3));
    assert_eq!((tally.given_up, tally.cut_off), (5, 2));
}

#[test]
fn proxies_that_are_gone_are_forgotten_after_a_minute_and_those_that_are_silent_are_not() {
    let mut ledger = Ledger::new(0);
    ledger.expect(["silent".to_owned()]);
    ledger.take(reading("silent", 500, None, 10));
    for at in 0..100 {
        ledger.take(reading(&format!("pod-{at}"), 1_000 * (at + 1), None, 10));
    }
    ledger.close(100_000);
    assert_eq!(ledger.known(), 62);
    ledger.take(reading("silent", 100_500, None, 25));
    assert_eq!(ledger.close(101_000).entered["canary"], 15);
}

#[test]
fn what_a_sidecar_chooses_enters_as_what_a_gateway_counts() {
    let (series, _) = requests(0).pop_first().unwrap();
    let pick = |metric| Series { metric, service: String::new(), status: None, ..series.clone() };
    let picks = |beside: Option<&str>| Reading {
        beside: beside.map(str::to_owned),
        series: [(pick(Metric::LanePicks(Pick::Slot)), 40), (pick(Metric::LanePicks(Pick::Rule)), 7)].into(),
        ..reading("a", 2_500, Some(1_200), 0)
    };
    assert_eq!(counted([picks(Some("front"))]), 40);
    assert_eq!(counted([picks(None)]), 0, "a gateway counts the requests themselves");
}
