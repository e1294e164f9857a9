//! The local brake: what trips it, how soon, and what must not.

mod support;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use graylane_policy::brake::{Evidence, Line, Sample, Table, Tally};
use graylane_policy::{LaneId, Reason};
use serde_json::json;
use support::{Request, document, plain, policy};

const STABLE: LaneId = LaneId(0);
const CANARY: LaneId = LaneId(1);
/// A chance of one in 20,000: 0.0005 for a release, divided by ten proxies.
const WANTED: f64 = 20_000.0;

/// A reproducible source of numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn hits(&mut self, chance: f64) -> bool {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64 <= chance && chance > 0.0
    }
}

/// A proxy with workers that serve this many requests a second together.
struct Proxy {
    workers: Vec<Tally>,
    evidence: Evidence,
    now_ms: f64,
    per_second: f64,
    ticked_ms: u64,
    dice: Dice,
    wanted: f64,
}

/// Traffic: the lane's share and how often requests fail.
#[derive(Clone, Copy)]
struct Traffic {
    share: f64,
    lane_fails: f64,
    stable_fails: f64,
}

impl Proxy {
    fn new(workers: usize, per_second: f64, seed: u64) -> Self {
        Self {
            workers: vec![Tally::default(); workers],
            evidence: Evidence::new(1_000_000_000),
            now_ms: 1e9,
            per_second,
            ticked_ms: 1_000_000_000,
            dice: Dice(seed),
            wanted: WANTED,
        }
    }

    /// One request; true when the brake has tripped since. `unit` stands for who sends lane requests.
    fn serve(&mut self, traffic: Traffic, unit: Option<usize>) -> (bool, bool) {
        self.now_ms += 1_000.0 / self.per_second;
        let in_lane = self.dice.hits(traffic.share);
        let fails = self.dice.hits(if in_lane { traffic.lane_fails } else { traffic.stable_fails });
        let unit = unit.unwrap_or_else(|| self.dice.next() as usize % 64);
        let worker = self.dice.next() as usize % self.workers.len();
        self.workers[worker].count(&sample(if in_lane { CANARY } else { STABLE }, unit), fails);
        (in_lane, self.tick())
    }

    fn tick(&mut self) -> bool {
        let now = self.now_ms as u64;
        if now < self.ticked_ms + 250 {
            return false;
        }
        self.ticked_ms = now;
        for tally in &mut self.workers {
            tally.close(now);
            if tally.step().says_something() {
                self.evidence.fold(tally.step(), now);
                tally.taken();
            }
        }
        self.evidence.is_clear(self.wanted)
    }

    /// Requests of the lane until the brake trips, within so many requests in all.
    fn until_tripped(&mut self, traffic: Traffic, most: usize) -> Option<(usize, f64)> {
        let (began, mut of_lane) = (self.now_ms, 0);
        for _ in 0..most {
            let (in_lane, tripped) = self.serve(traffic, None);
            of_lane += usize::from(in_lane);
            if tripped {
                return Some((of_lane, self.now_ms - began));
            }
        }
        None
    }
}

fn sample(lane: LaneId, unit: usize) -> Sample {
    Sample { group: 0, lane, stratum: 0, unit }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn a_dead_lane_trips_within_a_few_tens_of_its_requests() {
    for (share, per_second, base, most) in
        [(0.1, 100.0, 0.0, 30.0), (0.1, 100.0, 0.005, 30.0), (0.5, 100.0, 0.001, 100.0), (0.1, 20.0, 0.0, 30.0)]
    {
        let traffic = Traffic { share, lane_fails: 1.0, stable_fails: base };
        let runs: Vec<(usize, f64)> = (0..101)
            .map(|seed| Proxy::new(2, per_second, seed).until_tripped(traffic, 5_000).expect("it trips"))
            .collect();
        let requests = median(runs.iter().map(|(requests, _)| *requests as f64).collect());
        let millis = median(runs.iter().map(|(_, millis)| *millis).collect());
        println!("share {share}, {per_second}/s, base {base}: {requests} requests of the lane, {millis:.0} ms");
        assert!(requests <= most, "{requests} requests at share {share}");
        assert!(per_second < 100.0 || millis < 2_000.0, "{millis} ms at share {share}");
    }
}

#[test]
fn a_lane_that_goes_bad_after_a_good_hour_trips_nearly_as_soon() {
    let mut proxy = Proxy::new(2, 100.0, 5);
    let good = Traffic { share: 0.1, lane_fails: 0.002, stable_fails: 0.002 };
    assert_eq!(proxy.until_tripped(good, 360_000), None);
    let (requests, millis) = proxy.until_tripped(Traffic { lane_fails: 1.0, ..good }, 5_000).expect("it trips");
    println!("after a good hour: {requests} requests of the lane, {millis:.0} ms");
    assert!(requests <= 60, "{requests}");
}

#[test]
fn lanes_that_do_no_clear_harm_trip_no_more_often_than_promised() {
    const RUNS: u64 = 300;
    // Alike, and at the very edge of what is no clear harm.
    for (lane_fails, most) in [(0.05, 0), (0.1, RUNS / 20)] {
        let traffic = Traffic { share: 0.1, lane_fails, stable_fails: 0.05 };
        let trips = |seed: &u64| {
            let mut proxy = Proxy { wanted: 20.0, ..Proxy::new(2, 200.0, 1_000 + seed) };
            proxy.until_tripped(traffic, 10_000).is_some()
        };
        let tripped = (0..RUNS).filter(trips).count() as u64;
        println!("failing {lane_fails} against 0.05: {tripped} of {RUNS} trip at a chance of 1 in 20");
        assert!(tripped <= most, "{tripped} of {RUNS} at {lane_fails}");
    }
}

#[test]
fn an_outage_of_everything_trips_nothing() {
    for fails in [0.5, 1.0] {
        let mut proxy = Proxy { wanted: 20.0, ..Proxy::new(2, 200.0, 9) };
        let outage = Traffic { share: 0.1, lane_fails: fails, stable_fails: fails };
        assert_eq!(proxy.until_tripped(outage, 20_000), None, "{fails}");
    }
}

#[test]
fn one_broken_user_trips_nothing() {
    let mut proxy = Proxy { wanted: 20.0, ..Proxy::new(2, 200.0, 3) };
    let broken = Traffic { share: 0.3, lane_fails: 1.0, stable_fails: 0.0 };
    for _ in 0..50_000 {
        assert!(!proxy.serve(broken, Some(7)).1);
    }
}

#[test]
fn one_broken_user_among_sound_ones_trips_nothing() {
    let mut proxy = Proxy::new(2, 100.0, 4);
    let sound = Traffic { share: 0.08, lane_fails: 0.005, stable_fails: 0.005 };
    let broken = Traffic { share: 1.0, lane_fails: 1.0, stable_fails: 0.0 };
    for _ in 0..60_000 {
        let is_broken = proxy.dice.hits(0.02);
        let (_, tripped) = if is_broken { proxy.serve(broken, Some(7)) } else { proxy.serve(sound, None) };
        assert!(!tripped, "a fifth of the lane's requests are one user's, and that user's all fail");
    }
}

#[test]
fn a_dead_lane_with_few_users_trips_too() {
    let mut proxy = Proxy::new(2, 100.0, 8);
    let dead = Traffic { share: 0.1, lane_fails: 1.0, stable_fails: 0.002 };
    let requests = (0..3_000).take_while(|at| !proxy.serve(dead, Some(at % 5)).1).count();
    assert!(requests < 1_000, "five users: {requests} requests in all");
}

/// Ten minutes at 100 requests a second of 1,000 users, of whom some have twenty times the traffic of
/// others and one in a hundred is broken in either version; whether the brake trips.
#[cfg(not(target_arch = "wasm32"))]
fn with_broken_users(seed: u64, share: f64) -> bool {
    let mut dice = Dice(seed);
    let users: Vec<(bool, f64)> =
        (0..1_000).map(|_| (dice.hits(share), if dice.hits(0.01) { 0.5 } else { 0.005 })).collect();
    let mut proxy = Proxy::new(2, 100.0, seed + 1_000_000);
    (0..60_000).any(|_| {
        proxy.now_ms += 10.0;
        let often = proxy.dice.hits(0.2);
        let at = proxy.dice.next() as usize % if often { 10 } else { 1_000 };
        let (in_lane, risk) = users[at];
        let fails = proxy.dice.hits(risk);
        let lane = if in_lane { CANARY } else { STABLE };
        // Connections are kept, so a user stays with a worker.
        proxy.workers[at % 2].count(&sample(lane, at * 7 % 64), fails);
        proxy.tick()
    })
}

/// Natively only: eighteen million requests.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn broken_users_who_happen_to_be_in_the_lane_trip_nothing() {
    const RUNS: u64 = 100;
    for share in [0.01, 0.05, 0.2] {
        let tripped = (0..RUNS).filter(|seed| with_broken_users(*seed, share)).count();
        println!("one user in a hundred broken, share {share}: {tripped} of {RUNS} trip");
        assert_eq!(tripped, 0, "of {RUNS} at share {share}");
    }
}

#[test]
fn evidence_never_leaves_the_numbers() {
    let mut tally = Tally::default();
    let mut evidence = Evidence::new(0);
    let mut now = 0;
    for round in 0..2_000_u64 {
        for at in 0..400 {
            tally.count(
                &sample(if at % 2 == 0 { CANARY } else { STABLE }, at % 64),
                (round / 500 + at as u64).is_multiple_of(2),
            );
        }
        now = if round % 97 == 0 { 0 } else { now + 700 };
        tally.close(now);
        evidence.fold(tally.step(), now);
        tally.taken();
        assert!(evidence.worth().is_finite() && evidence.worth() >= 0.0, "round {round}: {}", evidence.worth());
    }
}

#[test]
fn a_window_without_a_counterpart_says_nothing() {
    let mut tally = Tally::default();
    for unit in 0..60 {
        tally.count(&sample(CANARY, unit), true);
    }
    for tick in 1..=400 {
        tally.close(tick * 250);
    }
    assert!(!tally.step().says_something(), "there was no stable request to compare with");
}

#[test]
fn the_table_survives_its_encoding_and_stays_small() {
    let mut table = Table::default();
    for at in 0..500_u64 {
        let mut evidence = Evidence::new(at);
        evidence.fold(&Tally::default().step().clone(), at + 5);
        table.add(Line {
            identity: at,
            seen_unix_ms: at,
            tripped_unix_ms: at % 2,
            evidence,
            rollout: "shop/summer".into(),
            lane: format!("lane-{at}"),
        });
    }
    assert_eq!(Table::decode(&table.encode()), table);
    assert!(table.encode().len() < 16_384 && table.line(499).is_some() && table.line(3).is_none());
    let bytes = table.encode();
    for len in [0, 1, 50, bytes.len() - 1] {
        assert!(table.lines.starts_with(&Table::decode(&bytes[..len]).lines), "cut at {len}");
    }
    assert_eq!(Table::decode(&[0xff; 1_000]).lines, []);
}

fn braked_entry() -> serde_json::Value {
    let mut document = document(
        "gateway",
        json!({
            "rules": [{"name": "testers", "lane": "canary",
                       "when": {"match": {"field": {"header": "x-tester"}, "is": "present"}}}],
            "slots": {"salt": "s", "runs": [{"until": 9_999, "lane": "canary"}, {"until": 10_000, "lane": "stable"}]},
            "stickiness": {"unit": [{"header": "x-user-id"}]}
        }),
    );
    document["groups"][0]["brake"] = json!({"evidence": 20_000, "attempt": "s"});
    document
}

#[test]
fn a_tripped_lane_gets_its_testers_and_nobody_by_weight() {
    let policy = policy(&braked_entry());
    let user = Request::to("orders").with("x-user-id", "u");
    assert_eq!(user.lane(&policy), "canary");
    let braked = Request { braked: vec![(0, CANARY)], ..user };
    assert_eq!(braked.lane(&policy), "stable");
    assert_eq!(braked.decide(&policy).choices[0].reason, Reason::Brake);
    assert_eq!(braked.clone().with("x-tester", "").lane(&policy), "canary");
    assert_eq!(Request { braked: vec![(0, LaneId(2)), (1, CANARY)], ..braked }.lane(&policy), "canary");
}

#[test]
fn an_entry_compares_whom_it_sent_by_weight_wherever_they_were_served() {
    let policy = policy(&braked_entry());
    let samples = |request: Request| policy.samples(&request.decide(&policy), None);
    let user = Request::to("elsewhere").with("x-user-id", "u");
    let [sample] = samples(user.clone())[..] else { panic!("one sample") };
    assert_eq!((sample.lane, sample.stratum), (CANARY, 0));
    let [member] = samples(Request::to("orders").with("x-user-id", "u"))[..] else { panic!("one sample") };
    assert_eq!((member.lane, member.unit, member.stratum), (CANARY, sample.unit, 1));
    assert_eq!(samples(user.with("x-tester", "")), [], "testers never count");
    assert_eq!(samples(Request::to("orders")), [], "nobody in particular");
}

#[test]
fn a_caller_compares_the_versions_that_served_it() {
    let mut document = plain("outbound");
    document["groups"][0]["brake"] = json!({"evidence": 20_000, "attempt": "s"});
    let policy = policy(&document);
    let lanes = |request: Request| -> Vec<LaneId> {
        policy.samples(&request.decide(&policy), None).iter().map(|sample| sample.lane).collect()
    };
    let in_canary = |cohort: &str| {
        let cohort = format!("shop={cohort}");
        Request::to("orders").with("x-release-stage", "canary").with("x-graylane-cohort", cohort)
    };
    assert_eq!(lanes(in_canary("slot")), [CANARY]);
    assert_eq!(lanes(in_canary("rule")), []);
    assert_eq!(lanes(Request::to("orders")), [STABLE]);
    assert_eq!(lanes(Request::to("elsewhere")), [], "no member of the group");
}

#[test]
fn where_no_lane_is_exposed_nothing_is_sampled() {
    let mut entry = braked_entry();
    entry["groups"][0]["entry"]["slots"]["runs"] = json!([{"until": 10_000, "lane": "stable"}]);
    let mut caller = plain("outbound");
    caller["groups"][0]["brake"] = json!({"evidence": 20_000, "attempt": "s"});
    caller["groups"][0]["lanes"]["destinations"][0]["ready"] = json!([]);
    for document in [entry, caller, plain("outbound")] {
        let policy = policy(&document);
        assert_eq!(policy.samples(&Request::to("orders").with("x-user-id", "u").decide(&policy), None), []);
    }
}

#[test]
fn evidence_is_kept_for_the_attempt_and_no_longer() {
    let identity = |edit: fn(&mut serde_json::Value)| {
        let mut document = braked_entry();
        edit(&mut document);
        policy(&document).groups()[0].brake().expect("a brake").lanes()[0].identity
    };
    let first = identity(|_| ());
    assert_eq!(identity(|document| document["generation"] = json!(8)), first);
    assert_eq!(identity(|document| document["groups"][0]["brake"]["evidence"] = json!(40_000)), first);
    assert_ne!(identity(|document| document["groups"][0]["brake"]["released"] = json!(1)), first);
    assert_ne!(identity(|document| document["groups"][0]["brake"]["attempt"] = json!("t")), first);
    assert_ne!(identity(|document| document["groups"][0]["rollout"] = json!("shop/winter")), first);
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use graylane_policy::brake::{Arm, RATIOS, Window};
    use proptest::prelude::*;

    fn chance(of: u32, failures: u32, risk: f64) -> f64 {
        let ways = (0..failures).map(|at| f64::from(of - at) / f64::from(failures - at)).product::<f64>();
        ways * risk.powi(failures as i32) * (1.0 - risk).powi((of - failures) as i32)
    }

    proptest! {
        /// The heart of the promise: what a window is worth is on average no more than 1, over all the
        /// ways in which it may turn out, while the lane fails at most twice as often as stable.
        #[test]
        fn a_window_is_worth_no_more_than_one_on_average(
            lane in 1_u32..14, stable in 1_u32..14, risk in 0.0_f64..0.5, ratio in 0.0_f64..=2.0,
        ) {
            let mut average = [0.0; RATIOS.len()];
            for of_lane in 0..=lane {
                for of_stable in 0..=stable {
                    let window = Window {
                        lane: Arm { requests: lane, failures: of_lane },
                        stable: Arm { requests: stable, failures: of_stable },
                    };
                    let chance = chance(lane, of_lane, risk * ratio) * chance(stable, of_stable, risk);
                    for (sum, growth) in average.iter_mut().zip(window.growth()) {
                        *sum += chance * growth.exp();
                    }
                }
            }
            for average in average {
                prop_assert!(average <= 1.0 + 1e-9, "{average}");
            }
        }
    }
}
