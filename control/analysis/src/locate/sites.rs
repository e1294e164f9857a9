//! Where failures come from, as both sides of every hop count them.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FaultKind;
use crate::STABLE;
use crate::counts::{Cohort, Interval};
use crate::judge::{Arm, Pair, real};
use crate::plan::Plan;

/// Counts of one service and lane from both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Site {
    /// As callers saw it.
    pub called: Arm,
    /// Calls that nobody answered, by their status.
    pub unanswered: u64,
    /// Requests that arrived.
    pub arrived: u64,
    /// Failures of its own.
    pub own: u64,
    /// Failures that came from below.
    pub downstream: u64,
    /// Failures that may have come from below.
    pub unknown: u64,
    /// Calls that were given up before any answer; they are not among `called`.
    #[serde(skip_serializing_if = "is_zero")]
    pub given_up: u64,
    /// Calls that ended because whoever they were made for had left.
    #[serde(skip_serializing_if = "is_zero")]
    pub cut_off: u64,
}

/// Time in which half of the counts are forgotten, in milliseconds: what a service has failed in an hour, as little as
/// it is allowed to, is more than what another one fails in the seconds until it is found.
const HALF_LIFE_MS: u64 = 60_000;
/// What is known to be somebody's own explains at least this share of what failed, or it is somebody else's.
const EXPLAINED: f64 = 0.25;

/// Where failures come from: both sides' counts by service, of the lane and of stable, and who calls
/// whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sites {
    age: u64,
    lane: BTreeMap<String, Site>,
    stable: BTreeMap<String, Site>,
    /// Services by the services they call.
    calls: BTreeMap<String, BTreeSet<String>>,
    /// Requests at gateways, and how many of them their users left before an answer.
    users: Pair,
}

/// Failures of a service beyond what stable's rate explains, by kind.
struct Blame<'a> {
    service: &'a str,
    own: f64,
    silent: f64,
    given_up: f64,
    /// Calls without an answer, whoever ended them first.
    ended: f64,
    /// Failures that its callers saw, whosever they are.
    seen: f64,
}

// === impl Blame ===

impl Blame<'_> {
    fn total(&self) -> f64 {
        self.own + self.silent + self.given_up
    }

    fn kind(&self) -> FaultKind {
        if self.given_up > self.own.max(self.silent) {
            FaultKind::Hanging
        } else if self.silent > self.own {
            FaultKind::Unreachable
        } else {
            FaultKind::Own
        }
    }
}

// === impl Site ===

impl Site {
    fn halve(&mut self) {
        self.called.halve();
        let Self { called: _, unanswered, arrived, own, downstream, unknown, given_up, cut_off } = self;
        for count in [unanswered, arrived, own, downstream, unknown, given_up, cut_off] {
            *count /= 2;
        }
    }
}

// === impl Sites ===

impl Sites {
    pub(crate) fn observe(&mut self, plan: &Plan, interval: &Interval) {
        self.forget(interval.to_ms / HALF_LIFE_MS);
        for (cell, tally) in &interval.cells {
            let Some(site) = self.site(plan, &cell.service, &cell.lane) else { continue };
            if cell.cohort != Cohort::Fallback {
                site.called.add(Arm::new(tally.requests, tally.failures));
                site.unanswered += tally.unanswered;
                site.given_up += tally.given_up;
                site.cut_off += tally.cut_off;
            }
            // At the entry a fallback is a request of the lane, whoever serves it there.
            let is_lanes = cell.lane == plan.lane || cell.cohort == Cohort::Fallback;
            let users = if is_lanes { &mut self.users.lane } else { &mut self.users.stable };
            users.add(Arm::new(tally.entered + tally.left, tally.left));
        }
        for ((service, lane), inbound) in &interval.inbound {
            let Some(site) = self.site(plan, service, lane) else { continue };
            site.arrived += inbound.requests;
            site.own += inbound.own;
            site.downstream += inbound.downstream;
            site.unknown += inbound.unknown;
        }
        for call in interval.calls.keys() {
            if let Some(from) = call.from.as_ref().filter(|from| **from != call.to) {
                self.calls.entry(from.clone()).or_default().insert(call.to.clone());
            }
        }
    }

    fn forget(&mut self, age: u64) {
        if self.age != 0 && age > self.age {
            self.lane.values_mut().chain(self.stable.values_mut()).for_each(Site::halve);
            self.users.lane.halve();
            self.users.stable.halve();
        }
        self.age = age;
    }

    fn site(&mut self, plan: &Plan, service: &str, lane: &str) -> Option<&mut Site> {
        let sites = if lane == plan.lane {
            &mut self.lane
        } else if lane == STABLE {
            &mut self.stable
        } else {
            return None;
        };
        Some(sites.entry(service.to_owned()).or_default())
    }

    /// The service with most failures of its own beyond what stable's rate explains, and how it failed.
    ///
    /// Whoever waits for a call that hangs may be given up as well; and it seems to fail by itself where it
    /// answers before its proxy sees the call end, or no trace tells the two together. Of about as many, those
    /// furthest below are meant.
    ///
    /// Nobody where that explains little of what failed: then the proxies of whoever it was have not been read yet, and
    /// what others fail now and then is all that is known.
    pub(super) fn guilty(&self) -> Option<(&str, FaultKind)> {
        let blames: Vec<Blame<'_>> = self.lane.iter().map(|(service, site)| self.blame(service, site)).collect();
        let most = blames.iter().max_by(|a, b| a.total().total_cmp(&b.total()))?;
        let seen = blames.iter().map(|blame| blame.seen).fold(0.0, f64::max);
        if most.total() < f64::max(1.0, EXPLAINED * seen) {
            return None;
        }
        let mut found = most;
        for hanging in blames.iter().filter(|blame| blame.given_up.max(blame.ended) >= most.total() / 2.0) {
            if self.reaches(found.service, hanging.service) {
                found = hanging;
            }
        }
        let kind = if std::ptr::eq(found, most) { found.kind() } else { FaultKind::Hanging };
        Some((found.service, kind))
    }

    /// Which share of the lane's failures of a service its own proxies do not know to be from below; 1 while they know
    /// of none.
    pub(super) fn own_share(&self, service: &str) -> f64 {
        let Some(site) = self.lane.get(service) else { return 1.0 };
        let own = site.own + site.unknown;
        if own + site.downstream == 0 { 1.0 } else { real(own) / real(own + site.downstream) }
    }

    fn blame<'a>(&self, service: &'a str, site: &Site) -> Blame<'a> {
        let base = self.stable.get(service).copied().unwrap_or_default();
        let beyond = |lane: u64, stable: u64| real(lane) - real(stable) * scale(site.called.n, base.called.n);
        // Calls that failed and that no proxy of the service saw fail.
        let unseen = |site: &Site| site.called.bad.saturating_sub(site.own + site.downstream + site.unknown);
        let unanswered = |site: &Site| site.unanswered.min(unseen(site));
        Blame {
            service,
            seen: beyond(site.called.bad, base.called.bad),
            own: beyond(site.own, base.own).max(0.0),
            silent: beyond(unanswered(site), unanswered(&base)).max(0.0),
            given_up: self.ended(site, &base, |site| site.given_up, site.cut_off),
            ended: self.ended(site, &base, |site| site.given_up + site.cut_off, 0),
        }
    }

    /// Calls without an answer, beyond stable's rate and beyond the users who have left more often than
    /// stable's, but for those that are known to be left out here: when a user leaves, every call on the way
    /// ends. None where chance alone may explain them.
    fn ended(&self, site: &Site, base: &Site, of: impl Fn(&Site) -> u64, left_out: u64) -> f64 {
        let Pair { lane, stable } = self.users;
        let left = real(lane.bad) - real(stable.bad) * scale(lane.n, stable.n) - real(left_out);
        let calls = |site: &Site| site.called.n + site.given_up + site.cut_off;
        let explained = real(of(base)) * scale(calls(site), calls(base)) + left.max(0.0);
        let beyond = real(of(site)) - explained;
        if beyond > 2.0 * (explained + 1.0).sqrt() { beyond } else { 0.0 }
    }

    /// Whether one service calls another, directly or through others.
    pub(super) fn reaches(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(service) = open.pop() {
            for next in self.calls.get(service).into_iter().flatten() {
                if next == to {
                    return true;
                }
                if seen.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        false
    }
}

/// How many requests of the lane there are for one of stable's.
fn scale(lane: u64, stable: u64) -> f64 {
    if stable == 0 { 0.0 } else { real(lane) / real(stable) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
