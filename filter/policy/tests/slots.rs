//! What must hold of slot tables for every sequence of weights.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeMap;

use graylane_policy::hash::{SLOTS, slot_of};
use graylane_policy::slots::{STABLE, SlotError, SlotTable, evolve, moved};
use proptest::prelude::*;

type Weights = BTreeMap<String, u32>;

fn weights(pairs: &[(&str, u32)]) -> Weights {
    pairs.iter().map(|(lane, weight)| ((*lane).to_owned(), *weight)).collect()
}

/// Up to four lanes that share at most 10,000.
fn any_weights() -> impl Strategy<Value = Weights> {
    prop::collection::vec(0_u32..=2_500, 0..=4).prop_map(|shares| {
        let lanes = ["a", "b", "c", "d"].into_iter().map(str::to_owned);
        lanes.zip(shares).collect()
    })
}

fn table_of(history: &[Weights]) -> SlotTable {
    history.iter().fold(SlotTable::all_stable(), |table, weights| evolve(&table, weights).unwrap())
}

fn full(mut weights: Weights) -> Weights {
    let taken: u32 = weights.values().sum();
    weights.insert(STABLE.into(), SLOTS - taken);
    weights.retain(|_, weight| *weight > 0);
    weights
}

/// Half the sum of differences: no assignment can move fewer.
fn total_variation(a: &Weights, b: &Weights) -> u32 {
    let lanes: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let of = |weights: &Weights, lane: &String| weights.get(lane).copied().unwrap_or(0);
    lanes.iter().map(|lane| of(a, lane).abs_diff(of(b, lane))).sum::<u32>() / 2
}

proptest! {
    #[test]
    fn shares_are_exact(history in prop::collection::vec(any_weights(), 1..6)) {
        let table = table_of(&history);
        prop_assert_eq!(table.weights(), full(history.last().unwrap().clone()));
    }

    #[test]
    fn no_more_users_move_than_must(history in prop::collection::vec(any_weights(), 0..5), next in any_weights()) {
        let before = table_of(&history);
        let after = evolve(&before, &next).unwrap();
        prop_assert_eq!(moved(&before, &after), total_variation(&before.weights(), &after.weights()));
    }

    #[test]
    fn growing_a_lane_moves_no_other_user(history in prop::collection::vec(any_weights(), 0..5), by in 1_u32..500) {
        let before = table_of(&history);
        let mut grown = before.weights();
        grown.remove(STABLE);
        let room = before.weights().get(STABLE).copied().unwrap_or(0).min(by);
        *grown.entry("a".into()).or_insert(0) += room;
        let after = evolve(&before, &grown).unwrap();
        for slot in 0..SLOTS as u16 {
            let (old, new) = (before.lane_of(slot), after.lane_of(slot));
            prop_assert!(old == new || (old == STABLE && new == "a"), "slot {} went {} -> {}", slot, old, new);
        }
    }

    #[test]
    fn a_table_read_back_from_its_runs_is_the_same(history in prop::collection::vec(any_weights(), 0..6)) {
        let table = table_of(&history);
        prop_assert_eq!(SlotTable::from_runs(&table.to_runs()).unwrap(), table);
    }

    #[test]
    fn the_same_weights_again_move_nobody(history in prop::collection::vec(any_weights(), 1..6)) {
        let table = table_of(&history);
        prop_assert_eq!(&evolve(&table, history.last().unwrap()).unwrap(), &table);
    }
}

#[test]
fn a_ramp_stays_compact() {
    let ramp = [50, 500, 2_500, 5_000, 10_000, 0].map(|weight| weights(&[("canary", weight)]));
    for steps in 1..=ramp.len() {
        assert!(table_of(&ramp[..steps]).to_runs().len() <= 2);
    }
    let four_ways: Vec<Weights> = (1..=5)
        .map(|step| weights(&[("a", 400 * step), ("b", 300 * step), ("c", 200 * step), ("d", 100 * step)]))
        .collect();
    assert!(table_of(&four_ways).to_runs().len() <= 21, "{:?}", table_of(&four_ways).to_runs());
}

#[test]
fn a_lane_that_shrinks_and_grows_again_gets_the_same_users_back() {
    let wide = table_of(&[weights(&[("canary", 2_500)])]);
    let narrow = evolve(&wide, &weights(&[("canary", 500)])).unwrap();
    assert_eq!(evolve(&narrow, &weights(&[("canary", 2_500)])).unwrap(), wide);
}

#[test]
fn weights_that_cannot_be_are_refused() {
    let table = SlotTable::all_stable();
    assert_eq!(evolve(&table, &weights(&[("a", 6_000), ("b", 4_001)])), Err(SlotError::Overweight { sum: 10_001 }));
    assert_eq!(evolve(&table, &weights(&[("stable", 1)])), Err(SlotError::StableWeight));
}

#[test]
fn cohorts_of_different_releases_are_independent() {
    // Two canaries of 10%: of the users in one, a tenth are in the other, whatever the salts.
    let users: Vec<String> = (0..20_000).map(|user| format!("user-{user}")).collect();
    let in_canary =
        |salt: &str| -> Vec<bool> { users.iter().map(|user| slot_of(user.as_bytes(), salt) < 1_000).collect() };
    let cohorts: Vec<Vec<bool>> = (0..100).map(|release| in_canary(&format!("shop/release-{release}#1"))).collect();
    let (mut both, mut first) = (0_u32, 0_u32);
    for pair in cohorts.windows(2) {
        first += pair[0].iter().filter(|&&is| is).count() as u32;
        both += pair[0].iter().zip(&pair[1]).filter(|(a, b)| **a && **b).count() as u32;
    }
    let overlap = f64::from(both) / f64::from(first);
    assert!((0.095..=0.105).contains(&overlap), "overlap of two 10% canaries: {overlap}");
    for cohort in &cohorts {
        let share = cohort.iter().filter(|&&is| is).count() as f64 / users.len() as f64;
        assert!((0.09..=0.11).contains(&share), "share of one cohort: {share}");
    }
}
