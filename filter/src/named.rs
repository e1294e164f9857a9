//! Names single requests that failed in a lane, or were slow there, so that a verdict can say where to look.
//!
//! An id is written over the one before, in gauges that every worker shares: there is no series for a
//! request. What succeeds in time, and what stable serves, costs nothing for it; any other at most one look at
//! its headers and the writes of five gauges, once a second for each version, trouble and worker.

use std::cell::RefCell;

use graylane_policy::Policy;
use graylane_policy::specimen::Specimen;

use crate::host::Host;
use crate::meter::{Meter, Place, Trouble, Version};
use crate::pairs;

/// Time between two requests of a version that are named for the same trouble.
const EVERY_NS: u64 = 1_000_000_000;

/// When one worker named a request last, by version and trouble: a handful, and looked at after trouble only.
#[derive(Default)]
pub struct Named(RefCell<Vec<(Version, Trouble, u64)>>);

// === impl Named ===

impl Named {
    /// A request in trouble, which now ends; its headers are what the host holds.
    pub fn name(
        &self,
        host: &impl Host,
        policy: &Policy,
        meter: &Meter,
        (place, trouble): (Place, Trouble),
        now_ns: u64,
    ) {
        let Some(destination) = place.destination.filter(|_| !place.lane.is_stable()) else { return };
        let version = (destination, place.lane);
        if !self.is_time(version, trouble, now_ns) {
            return;
        }
        // Read again, and not kept from the request's begin: a tracer in this proxy has written its id since.
        let headers = host.request_headers();
        if let Some(id) = Specimen::of_headers(pairs::iter(&headers)) {
            meter.name_request(host, policy, (version, trouble), &id);
        }
    }

    /// Whether no request of this version and trouble has been named for a while; from now on one has.
    fn is_time(&self, version: Version, trouble: Trouble, now_ns: u64) -> bool {
        let mut named = self.0.borrow_mut();
        match named.iter_mut().find(|(known, of, _)| (*known, *of) == (version, trouble)) {
            // The clock may have been set back.
            Some((.., last)) if now_ns.abs_diff(*last) < EVERY_NS => return false,
            Some((.., last)) => *last = now_ns,
            None => named.push((version, trouble, now_ns)),
        }
        true
    }
}
