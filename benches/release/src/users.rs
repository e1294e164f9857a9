//! Users: how much of the traffic is in the lane at a weight, and who of them fails.

use crate::draw::Draw;
use crate::scenario::Crowd;
use crate::units::bucket_of;
use graylane_analysis::counts::UNITS;

/// A crowd with slots.
#[derive(Clone, Debug)]
pub struct Users {
    /// Slots in ascending order with the share of the traffic up to each.
    shares: Vec<(f64, f64)>,
    broken: Vec<Broken>,
    breaks: f64,
    /// Slot and share of the user who begins to fail.
    storm: (f64, f64),
}

/// A user whose requests fail.
#[derive(Clone, Debug)]
struct Broken {
    slot: f64,
    share: f64,
    is_on: bool,
    turns_s: f64,
    bout_s: f64,
}

// === impl Users ===

impl Users {
    /// Draws the users of a crowd.
    pub fn new(crowd: &Crowd, draw: &mut Draw) -> Self {
        let mut all: Vec<(f64, f64)> =
            (0..crowd.users).map(|_| (draw.between(0.0, 1.0), draw.pareto(crowd.shape).min(1e4))).collect();
        let sum: f64 = all.iter().map(|(_, rate)| rate).sum();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut broken = Vec::new();
        let mut shares = Vec::with_capacity(all.len());
        let mut up_to = 0.0;
        for (slot, rate) in all {
            let share = rate / sum;
            up_to += share;
            shares.push((slot, up_to));
            if draw.chance(crowd.broken) {
                broken.push(Broken {
                    slot,
                    share,
                    is_on: true,
                    turns_s: draw.exponential(crowd.bout_s),
                    bout_s: crowd.bout_s,
                });
            }
        }
        Self { shares, broken, breaks: crowd.breaks, storm: (draw.between(0.0, 1.0), crowd.storm) }
    }

    /// Share of the traffic that a weight sends to the lane.
    pub fn share(&self, weight: f64) -> f64 {
        let at = self.shares.partition_point(|(slot, _)| *slot < weight);
        if at == 0 { 0.0 } else { self.shares[at - 1].1 }
    }

    /// Shares of all traffic that a weight sends to the lane, by bucket of units.
    pub fn by_bucket(&self, weight: f64) -> [f64; UNITS] {
        let mut shares = [0.0; UNITS];
        let mut before = 0.0;
        for (slot, up_to) in self.shares.iter().take_while(|(slot, _)| *slot < weight) {
            shares[bucket_of(*slot)] += up_to - before;
            before = *up_to;
        }
        shares
    }

    /// Share of the lane's requests that fail at a weight because of who sends them, on average.
    pub fn expected(&self, weight: f64) -> f64 {
        let duty = |user: &Broken| if user.bout_s > 0.0 { 0.5 } else { 1.0 };
        let broken: f64 =
            self.broken.iter().filter(|user| user.slot < weight).map(|user| user.share * duty(user)).sum();
        let share = self.share(weight);
        if share > 0.0 { broken * self.breaks / share } else { 0.0 }
    }

    /// Slots and shares of those in the lane who fail now.
    pub fn who_fails(&self, weight: f64, at_s: f64) -> Vec<(f64, f64)> {
        let broken = self.broken.iter().filter(|user| user.is_on).map(|user| (user.slot, user.share * self.breaks));
        let storm = (at_s > 30.0).then_some(self.storm);
        broken.chain(storm).filter(|(slot, share)| *slot < weight && *share > 0.0).collect()
    }

    /// Shares of all traffic that fail because of who sends it, in the lane and in stable.
    pub fn failing(&mut self, weight: f64, at_s: f64, draw: &mut Draw) -> (f64, f64) {
        let (mut lane, mut stable) = (0.0, 0.0);
        for user in &mut self.broken {
            while user.bout_s > 0.0 && at_s >= user.turns_s {
                user.is_on = !user.is_on;
                user.turns_s += draw.exponential(user.bout_s).max(0.5);
            }
            if user.is_on {
                *(if user.slot < weight { &mut lane } else { &mut stable }) += user.share * self.breaks;
            }
        }
        let (slot, share) = self.storm;
        if at_s > 30.0 {
            *(if slot < weight { &mut lane } else { &mut stable }) += share;
        }
        (lane, stable)
    }
}
