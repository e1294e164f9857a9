//! Whose requests a lane has, and whose of them fail: by bucket of units, at the entry that chose.
//!
//! A sticky split deals out users. One who fails by itself must not speak for the whole lane, and only an entry
//! knows whose a request is. A failure is counted at once, and requests with the next report of the worker: until
//! then they cost an addition in its own memory.

use std::cell::RefCell;

use graylane_policy::brake::{GroupLane, Sample};
use graylane_policy::{Group, Policy};

use crate::host::Host;
use crate::meter::Meter;

/// Units are counted in so many buckets; the number is part of the metrics (`control/analysis`, `counts::UNITS`).
pub const BUCKETS: usize = 16;

/// What one worker has not reported yet.
#[derive(Default)]
pub struct Units(RefCell<Vec<(GroupLane, [u32; BUCKETS])>>);

// === impl Units ===

impl Units {
    /// A finished request, by where it counts for brakes. Only an entry knows the unit; stable is not counted.
    pub fn count(&self, host: &impl Host, policy: &Policy, meter: &Meter, samples: &[Sample], failed: bool) {
        for sample in samples {
            let is_entry = policy.groups().get(sample.group).is_some_and(Group::is_entry);
            // What is for nobody that the config knows is in no other count either.
            if sample.is_baseline() || !is_entry || sample.stratum == 0 {
                continue;
            }
            let (at, bucket) = ((sample.group, sample.lane), sample.unit % BUCKETS);
            let mut lanes = self.0.borrow_mut();
            let lane = match lanes.iter().position(|(known, _)| *known == at) {
                Some(lane) => lane,
                None => {
                    lanes.push((at, [0; BUCKETS]));
                    lanes.len() - 1
                }
            };
            if let Some(requests) = lanes.get_mut(lane).and_then(|(_, buckets)| buckets.get_mut(bucket)) {
                *requests = requests.saturating_add(1);
            }
            if failed {
                meter.unit(host, policy, (at, bucket as u8), true, 1);
            }
        }
    }

    /// Reports what is not yet reported.
    pub fn report(&self, host: &impl Host, policy: &Policy, meter: &Meter) {
        for (at, buckets) in self.0.borrow_mut().iter_mut() {
            for (bucket, requests) in (0..).zip(buckets) {
                if *requests > 0 {
                    meter.unit(host, policy, (*at, bucket), false, std::mem::take(requests));
                }
            }
        }
    }
}
