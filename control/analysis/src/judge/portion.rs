//! The lane's portion of the traffic against its weight, by users and not by requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::real;
use crate::counts::{Interval, UNITS};
use crate::plan::Plan;

/// Time in which half of it is forgotten, in milliseconds.
const HALF_LIFE_MS: u64 = 300_000;
/// What is believed of the number of users that buckets show: sixteen of them show it within a factor of two.
const BELIEVED: f64 = 0.25;
/// The same once more of a lane with too few: those in stable may be heavier than any in the lane.
const UNSEEN: f64 = 0.5;

/// What entered by weight, and how it is spread over users.
///
/// A sticky split deals out users, each with all requests, so that many requests are no reason to believe in a
/// portion: one user may have half of them. How many users of like size they stand for follows from how evenly they
/// fall into the buckets of users: of `u` such users the squares of the buckets' parts add up to about
/// `1/16 + (15/16)/u`. Those who are in stable are in no bucket; they are taken to be like the lane's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Portion {
    age: u64,
    lane: u64,
    /// What was chosen for the lane and served by stable.
    fell_back: u64,
    all: u64,
    /// What the lane would have had by its weight, in 1/10,000 requests.
    meant: u64,
    /// The lane's requests by bucket of users; empty where no entry tells.
    buckets: Vec<u64>,
}

// === impl Portion ===

impl Portion {
    /// Takes an interval in which the lane had a weight, in 1/10,000, with the requests that entered the lane, fell back
    /// to stable, and entered at all.
    pub(super) fn take(&mut self, plan: &Plan, interval: &Interval, entered: (u64, u64, u64), weight: u32) {
        self.forget(interval.to_ms / HALF_LIFE_MS);
        let (lane, fell_back, all) = entered;
        self.all = self.all.saturating_add(all);
        self.meant = self.meant.saturating_add(all.saturating_mul(weight.into()));
        self.lane = self.lane.saturating_add(lane);
        self.fell_back = self.fell_back.saturating_add(fell_back);
        for ((lane, at), unit) in &interval.units {
            if *lane == plan.lane && usize::from(*at) < UNITS {
                self.buckets.resize(UNITS, 0);
                let bucket = &mut self.buckets[usize::from(*at)];
                *bucket = bucket.saturating_add(unit.requests);
            }
        }
    }

    fn forget(&mut self, age: u64) {
        if self.age != 0 && age > self.age {
            for sum in [&mut self.lane, &mut self.fell_back, &mut self.all, &mut self.meant] {
                *sum /= 2;
            }
            self.buckets.iter_mut().for_each(|bucket| *bucket /= 2);
        }
        self.age = age;
    }

    /// Logarithm of the evidence that the lane has more than twice its weight, or less than half of it; above a third,
    /// more is what leaves stable less than half.
    pub(super) fn evidence(&self) -> (f64, f64) {
        let (all, users) = (real(self.all), self.users());
        let weight = real(self.meant) / all / 10_000.0;
        let (most, least) = (real(self.lane) / all, real(self.lane.saturating_add(self.fell_back)) / all);
        let inside = |share: f64| share > 0.0 && share < 1.0;
        let evidence = |part: f64| {
            let gain = part * f64::ln(part / weight) + (1.0 - part) * f64::ln((1.0 - part) / (1.0 - weight));
            if inside(part) && inside(weight) { BELIEVED * users / part * gain } else { 0.0 }
        };
        let more = most >= (2.0 * weight).min(weight.midpoint(1.0));
        let less = least <= weight / 2.0;
        (if more { evidence(most) } else { 0.0 }, if less { UNSEEN * evidence(least) } else { 0.0 })
    }

    /// How many users of like size the lane's requests stand for; none where no entry tells.
    fn users(&self) -> f64 {
        let sum: f64 = self.buckets.iter().map(|bucket| real(*bucket)).sum();
        if sum <= 0.0 {
            return 0.0;
        }
        let even = 1.0 / real(UNITS as u64);
        let squares: f64 = self.buckets.iter().map(|bucket| (real(*bucket) / sum).powi(2)).sum();
        ((1.0 - even) / (squares - even).max(f64::MIN_POSITIVE)).min(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chance that is the same every time.
    fn next(state: &mut u64) -> f64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        real(mixed >> 11) / real(1 << 53)
    }

    /// Ten minutes of users with so many requests each, of whom a share is put into the lane, while another one is meant.
    fn spread(requests: &[u64], share: f64, meant: u32, seed: u64) -> Portion {
        let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) + 1;
        let mut interval = Interval { to_ms: 600_000, ..Interval::default() };
        for requests in requests {
            let (is_in, bucket) = (next(&mut state) < share, (next(&mut state) * 16.0) as u8);
            *interval.entered.entry(if is_in { "canary" } else { "stable" }.into()).or_default() += requests;
            if is_in {
                interval.units.entry(("canary".into(), bucket)).or_default().requests += requests;
            }
        }
        let mut portion = Portion::default();
        let entered = |lane: &str| interval.entered.get(lane).copied().unwrap_or(0);
        let lane = entered("canary");
        portion.take(&Plan::default(), &interval, (lane, 0, lane + entered("stable")), meant);
        portion
    }

    fn pauses(requests: &[u64], share: f64, meant: u32) -> usize {
        let pauses = |seed: &u64| {
            let (more, less) = spread(requests, share, meant, *seed).evidence();
            more.max(less) >= 9.9
        };
        (0..1_000_u64).filter(pauses).count()
    }

    /// Users of like size, a few heavy ones among many, and each half as heavy as the one before in rank.
    fn crowds() -> Vec<Vec<u64>> {
        let mut crowds: Vec<Vec<u64>> = [30, 300, 3_000].map(|users| vec![60; users]).into();
        crowds.push((0..1_000).map(|at| if at < 3 { 10_000 } else { 60 }).collect());
        crowds.extend([30, 300, 3_000].map(|users: u64| (1..=users).map(|rank| 60_000 / rank).collect()));
        crowds
    }

    #[test]
    fn a_lane_that_has_the_users_of_its_weight_is_fine_whatever_they_ask() {
        for (at, requests) in crowds().iter().enumerate() {
            for weight in [100, 500, 1_000, 3_000, 5_000, 9_800] {
                let paused = pauses(requests, f64::from(weight) / 10_000.0, weight);
                assert!(paused <= 1, "crowd {at} at {weight}: {paused} of 1,000");
            }
        }
    }

    #[test]
    fn a_lane_with_many_more_or_far_fewer_users_than_its_weight_is_seen() {
        for (users, share, weight) in [(300, 0.45, 100), (3_000, 0.3, 1_000), (6_000, 0.02, 1_000), (3_000, 0.9, 5_000)]
        {
            let paused = pauses(&vec![60; users], share, weight);
            assert!(paused >= 990, "{users} users, {share} at {weight}: {paused} of 1,000");
        }
    }
}
