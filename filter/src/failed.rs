//! Names single requests that failed in a lane, so that a verdict can say where to look.
//!
//! An id is written over the one before, in gauges that every worker shares: there is no series for a
//! request. What succeeds, and what stable serves, costs nothing for it; a failure at most one look at its
//! headers and the writes of five gauges, once a second for each version and worker.

use std::cell::RefCell;

use graylane_policy::Policy;
use graylane_policy::specimen::Specimen;

use crate::host::Host;
use crate::meter::{Meter, Place, Version};
use crate::pairs;

/// Time between two requests of a version that are named.
const EVERY_NS: u64 = 1_000_000_000;

/// When one worker named a failed request last, by version: a handful, and looked at after a failure only.
#[derive(Default)]
pub struct FailedTraces(RefCell<Vec<(Version, u64)>>);

// === impl FailedTraces ===

impl FailedTraces {
    /// A request that has failed and now ends; its headers are what the host holds.
    pub fn name(&self, host: &impl Host, policy: &Policy, meter: &Meter, place: Place, now_ns: u64) {
        let Some(destination) = place.destination.filter(|_| !place.lane.is_stable()) else { return };
        let version = (destination, place.lane);
        if !self.is_time(version, now_ns) {
            return;
        }
        // Read again, and not kept from the request's begin: a tracer in this proxy has written its id since.
        let headers = host.request_headers();
        if let Some(id) = Specimen::of_headers(pairs::iter(&headers)) {
            meter.failed_trace(host, policy, version, &id);
        }
    }

    /// Whether this version has not been named for a while; from now on it has.
    fn is_time(&self, version: Version, now_ns: u64) -> bool {
        let mut named = self.0.borrow_mut();
        match named.iter_mut().find(|(known, _)| *known == version) {
            // The clock may have been set back.
            Some((_, last)) if now_ns.abs_diff(*last) < EVERY_NS => return false,
            Some((_, last)) => *last = now_ns,
            None => named.push((version, now_ns)),
        }
        true
    }
}
