//! Whose requests fail: many users', or a few users' own.
//!
//! A sticky split deals out users and not requests: one user who fails by itself and happens to be in the lane
//! makes the lane fail more often than stable, and the version has nothing to do with it. So what one bucket of
//! users fails is held against the lane only up to a share of all its failures: [`SHARE`], or the bucket's share
//! of the lane's requests where that is more. A version that fails whoever asks fails each bucket by its share of
//! the requests, and loses nothing; also where the lane has one user only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::real;
use crate::counts::{Interval, UNITS};
use crate::plan::Plan;

/// Failures of a bucket that always count.
const FREE: f64 = 2.0;
/// Share of all counted failures up to which those of one bucket count, in any case.
const SHARE: f64 = 0.125;
/// Time in which half of it is forgotten, in milliseconds.
const HALF_LIFE_MS: u64 = 600_000;
/// Most steps towards the share; the rest counts.
const STEPS: usize = 100;

/// What the units of a lane did so far, by bucket; empty where no entry tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Crowd {
    age: u64,
    buckets: Vec<Bucket>,
}

/// The units of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Bucket {
    requests: u64,
    /// Failures that were held against the lane.
    counted: u64,
}

// === impl Crowd ===

impl Crowd {
    /// Takes an interval; gives the failures of the lane that are not held against it.
    pub(super) fn observe(&mut self, plan: &Plan, interval: &Interval) -> u64 {
        self.forget(interval.to_ms / HALF_LIFE_MS);
        let mut failed = [0_u64; UNITS];
        for ((lane, at), unit) in &interval.units {
            let at = usize::from(*at);
            if *lane != plan.lane || at >= UNITS {
                continue;
            }
            self.buckets.resize(UNITS, Bucket::default());
            let requests = &mut self.buckets[at].requests;
            *requests = requests.saturating_add(unit.requests);
            failed[at] = failed[at].saturating_add(unit.failures);
        }
        if failed.iter().all(|failed| *failed == 0) {
            return 0;
        }
        self.admit(&failed)
    }

    /// The clock was turned back.
    pub(super) fn turn_back(&mut self) {
        self.age = 0;
    }

    fn forget(&mut self, age: u64) {
        if self.age == 0 {
            self.age = age;
        }
        if age > self.age {
            for bucket in &mut self.buckets {
                *bucket = Bucket { requests: bucket.requests / 2, counted: bucket.counted / 2 };
            }
            self.age = age;
        }
    }

    /// Counts failures up to each bucket's limit. The limits depend on how many count in all, and this on them;
    /// from above, steps come down to the one number that fits both.
    fn admit(&mut self, failed: &[u64; UNITS]) -> u64 {
        // A failure is told before its request.
        let asked = |bucket: &Bucket, failed: u64| real(bucket.requests.max(bucket.counted.saturating_add(failed)));
        let sum: f64 = self.buckets.iter().zip(failed).map(|(bucket, failed)| asked(bucket, *failed)).sum();
        let counted = |bucket: &Bucket, failed: u64, all: u64| {
            let share = (asked(bucket, failed) / sum).max(SHARE);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let limit = (FREE + share * real(all)) as u64;
            bucket.counted.saturating_add(failed).min(limit.max(bucket.counted))
        };
        let all_at = |all: u64| {
            let each = self.buckets.iter().zip(failed).map(|(bucket, failed)| counted(bucket, *failed, all));
            each.fold(0_u64, u64::saturating_add)
        };
        let mut all = all_at(u64::MAX);
        for _ in 0..STEPS {
            let next = all_at(all);
            if next >= all {
                break;
            }
            all = next;
        }
        let mut lone = 0_u64;
        let mut next = self.buckets.clone();
        for ((bucket, failed), old) in next.iter_mut().zip(failed).zip(&self.buckets) {
            bucket.counted = counted(old, *failed, all);
            lone = lone.saturating_add(old.counted.saturating_add(*failed) - bucket.counted);
        }
        self.buckets = next;
        lone
    }
}
