//! Requests in trouble in the lanes of a release while it was judged, for the verdict that may name them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use graylane_analysis::{Fault, FaultKind, ObjectiveKind, Plan};
use graylane_policy::specimen::Specimen;

use crate::counts::Told;
use crate::counts::named::{Named, Spot};
use crate::engine::Millis;

/// So many are kept of each version and trouble, the newest.
const KEPT: usize = 5;

/// The ids that proxies have named since the judgement began. A proxy goes on naming the last one for as
/// long as it runs, so what it names when it is read first may be of an older attempt: that counts only
/// where the proxy itself is newer than the judgement.
#[derive(Debug)]
pub(super) struct Examples {
    began_ms: Millis,
    /// What each proxy named last.
    known: BTreeMap<String, Named>,
    /// Ids by version and trouble, each with its number, the newest first.
    found: BTreeMap<Trouble, VecDeque<(u64, Specimen)>>,
    /// How many have been found.
    count: u64,
}

/// A service, a lane, and of slow requests the milliseconds that they took longer than.
type Trouble = (String, String, Option<u32>);

// === impl Examples ===

impl Examples {
    pub(super) fn new(began_ms: Millis) -> Self {
        Self { began_ms, known: BTreeMap::new(), found: BTreeMap::new(), count: 0 }
    }

    /// Takes what proxies name now. Whatever is not expected any more is forgotten.
    pub(super) fn take(&mut self, told: Vec<Told>, expected: &[String]) {
        for Told { proxy, epoch, named, .. } in told {
            let is_new = epoch.is_some_and(|epoch| epoch >= self.began_ms);
            let before = self.known.remove(&proxy);
            for (spot, id) in &named {
                let is_other = before.as_ref().map_or(is_new, |before| before.get(spot) != Some(id));
                if is_other {
                    self.add(spot, *id);
                }
            }
            self.known.insert(proxy, named);
        }
        let expected: BTreeSet<&String> = expected.iter().collect();
        self.known.retain(|proxy, _| expected.contains(proxy));
    }

    fn add(&mut self, spot: &Spot, id: Specimen) {
        let ids = self.found.entry((spot.service.clone(), spot.lane.clone(), spot.over_ms)).or_default();
        if ids.iter().all(|(_, known)| *known != id) {
            self.count += 1;
            ids.push_front((self.count, id));
            ids.truncate(KEPT);
        }
    }

    /// Requests that broke an objective at the place of a fault, the newest first. A request that did wrong work is
    /// known to nobody here; where one hangs, those failed that are above it in the lane.
    pub(super) fn of(&self, fault: &Fault, plan: &Plan) -> Vec<String> {
        let is_meant = |service: &str, slower: Option<u32>| match fault.kind {
            FaultKind::Own | FaultKind::Unreachable => slower.is_none() && service == fault.service,
            FaultKind::Hanging => slower.is_none(),
            FaultKind::Slow => slower.is_some() && slower >= allowed(fault, plan) && service == fault.service,
            FaultKind::Business => false,
        };
        let meant =
            self.found.iter().filter(|((service, lane, over), _)| *lane == fault.lane && is_meant(service, *over));
        let mut ids: Vec<&(u64, Specimen)> = meant.flat_map(|(_, ids)| ids).collect();
        ids.sort_unstable_by_key(|(number, _)| Reverse(*number));
        ids.into_iter().take(KEPT).map(|(_, id)| id.to_string()).collect()
    }
}

/// The milliseconds that the objective of a fault allows.
fn allowed(fault: &Fault, plan: &Plan) -> Option<u32> {
    let is_its = |(service, name): (&str, &str)| service == fault.service && name == fault.objective;
    let (_, objective) = plan.objectives().find(|(service, objective)| is_its((service, &objective.name)))?;
    match objective.kind {
        ObjectiveKind::Latency { over_ms, .. } => Some(over_ms),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use graylane_analysis::{Objective, ServicePlan};

    use super::*;

    const BEGAN: Millis = 1_000_000;

    fn id(at: u8) -> Specimen {
        let parent = format!("00-{:032x}-b7ad6b7169203331-01", u32::from(at) + 1);
        Specimen::of_headers([(&b"traceparent"[..], parent.as_bytes())].into_iter()).unwrap()
    }

    fn named(proxy: &str, epoch: Option<u64>, at: u8) -> Told {
        named_for(None, proxy, epoch, at)
    }

    fn named_for(over_ms: Option<u32>, proxy: &str, epoch: Option<u64>, at: u8) -> Told {
        let spot = Spot { service: "orders.shop".into(), lane: "canary".into(), direction: "gateway".into(), over_ms };
        Told { proxy: proxy.into(), epoch, at_ms: 0, named: [(spot, id(at))].into(), open: BTreeMap::new() }
    }

    /// Two objectives for latency.
    fn plan() -> Plan {
        let objectives = [300, 500].map(|over_ms| Objective {
            name: format!("at most {over_ms} ms"),
            kind: ObjectiveKind::Latency { over_ms, at_least: 0.9 },
        });
        let services = vec![ServicePlan { service: "orders.shop".into(), objectives: objectives.into() }];
        Plan { services, ..Plan::default() }
    }

    fn fault(kind: FaultKind) -> Fault {
        Fault {
            service: "orders.shop".into(),
            lane: "canary".into(),
            objective: "success rate".into(),
            kind,
            first_bad_ms: 0,
            n: 0,
            failures: 0,
            traces: Vec::new(),
        }
    }

    /// What is known after proxies have named these, one reading after the other.
    fn known(readings: impl IntoIterator<Item = Told>) -> Examples {
        let mut examples = Examples::new(BEGAN);
        for reading in readings {
            examples.take(vec![reading], &["a".into(), "b".into()]);
        }
        examples
    }

    fn after(readings: impl IntoIterator<Item = Told>) -> Vec<String> {
        known(readings).of(&fault(FaultKind::Own), &plan())
    }

    #[test]
    fn what_was_named_before_the_judgement_began_is_of_another_one() {
        assert!(after([named("a", None, 1), named("a", None, 1)]).is_empty());
        assert!(after([named("a", Some(BEGAN - 1), 1)]).is_empty());
        assert_eq!(after([named("a", None, 1), named("a", None, 2)]), [id(2).to_string()]);
    }

    #[test]
    fn a_pod_that_came_later_counts_from_its_first_word() {
        assert_eq!(after([named("a", Some(BEGAN), 1)]), [id(1).to_string()]);
    }

    #[test]
    fn the_newest_five_are_kept_each_once() {
        let of_a = (0..9).map(|at| named("a", None, at));
        let again = [named("b", None, 0), named("b", None, 8)];
        let ids = after(of_a.chain(again));
        assert_eq!(ids, [8, 7, 6, 5, 4].map(|at| id(at).to_string()));
    }

    #[test]
    fn a_slow_version_has_slow_requests_to_name_and_no_failed_ones() {
        let slow = known([named_for(Some(300), "a", Some(BEGAN), 1), named_for(Some(500), "b", Some(BEGAN), 2)]);
        let of = |objective: &str, service: &str| {
            let fault = Fault { objective: objective.into(), service: service.into(), ..fault(FaultKind::Slow) };
            slow.of(&fault, &plan())
        };
        assert_eq!(of("at most 300 ms", "orders.shop"), [2, 1].map(|at| id(at).to_string()));
        assert_eq!(of("at most 500 ms", "orders.shop"), [id(2).to_string()]);
        assert!(of("at most 300 ms", "payment.shop").is_empty());
        for kind in [FaultKind::Own, FaultKind::Unreachable, FaultKind::Hanging, FaultKind::Business] {
            assert!(slow.of(&fault(kind), &plan()).is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn a_version_whose_requests_fail_names_no_slow_ones() {
        let failed = known([named("a", Some(BEGAN), 1)]);
        for (kind, count) in [(FaultKind::Unreachable, 1), (FaultKind::Slow, 0), (FaultKind::Business, 0)] {
            assert_eq!(failed.of(&fault(kind), &plan()).len(), count, "{kind:?}");
        }
    }

    #[test]
    fn what_failed_above_a_version_that_hangs_is_named_for_it() {
        let failed = known([named("a", Some(BEGAN), 1)]);
        let below =
            |lane: &str| Fault { service: "payment.shop".into(), lane: lane.into(), ..fault(FaultKind::Hanging) };
        assert_eq!(failed.of(&below("canary"), &plan()).len(), 1);
        assert!(failed.of(&below("other"), &plan()).is_empty());
    }

    #[test]
    fn proxies_that_are_gone_are_forgotten() {
        let mut examples = Examples::new(BEGAN);
        for at in 0..100_u8 {
            let proxy = format!("pod-{at}");
            examples.take(vec![named(&proxy, None, at)], std::slice::from_ref(&proxy));
        }
        assert_eq!(examples.known.len(), 1);
    }
}
