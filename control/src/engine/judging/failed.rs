//! Requests that failed in the lanes of a release while it was judged, for the verdict that may name them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use graylane_analysis::{Fault, FaultKind};
use graylane_policy::specimen::Specimen;

use crate::counts::Told;
use crate::counts::failed::{Failed, Spot};
use crate::engine::Millis;

/// So many are kept of each version, the newest.
const KEPT: usize = 5;

/// The ids that proxies have named since the judgement began. A proxy goes on naming the last one for as
/// long as it runs, so what it names when it is read first may be of an older attempt: that counts only
/// where the proxy itself is newer than the judgement.
#[derive(Debug)]
pub(super) struct Failures {
    began_ms: Millis,
    /// What each proxy named last.
    known: BTreeMap<String, Failed>,
    /// Ids by service and lane, the newest first.
    found: BTreeMap<(String, String), VecDeque<Specimen>>,
}

// === impl Failures ===

impl Failures {
    pub(super) fn new(began_ms: Millis) -> Self {
        Self { began_ms, known: BTreeMap::new(), found: BTreeMap::new() }
    }

    /// Takes what proxies name now. Whatever is not expected any more is forgotten.
    pub(super) fn take(&mut self, told: Vec<Told>, expected: &[String]) {
        for Told { proxy, epoch, failed, .. } in told {
            let is_new = epoch.is_some_and(|epoch| epoch >= self.began_ms);
            match self.known.get(&proxy) {
                Some(before) => {
                    let differs = |(spot, id): &(&Spot, &Specimen)| before.get(*spot) != Some(*id);
                    failed.iter().filter(differs).for_each(|(spot, id)| add(&mut self.found, spot, *id));
                }
                None if is_new => failed.iter().for_each(|(spot, id)| add(&mut self.found, spot, *id)),
                None => {}
            }
            self.known.insert(proxy, failed);
        }
        let expected: BTreeSet<&String> = expected.iter().collect();
        self.known.retain(|proxy, _| expected.contains(proxy));
    }

    /// Requests that failed at the place of a fault. A request that was slow, or did wrong work, did not fail;
    /// where one hangs, those failed that are above it in the lane.
    pub(super) fn of(&self, fault: &Fault) -> Vec<String> {
        let is_place = |service: &String| match fault.kind {
            FaultKind::Own | FaultKind::Unreachable => *service == fault.service,
            FaultKind::Hanging => true,
            FaultKind::Slow | FaultKind::Business => false,
        };
        let of_lane = self.found.iter().filter(|((service, lane), _)| *lane == fault.lane && is_place(service));
        of_lane.flat_map(|(_, ids)| ids).take(KEPT).map(ToString::to_string).collect()
    }
}

fn add(found: &mut BTreeMap<(String, String), VecDeque<Specimen>>, spot: &Spot, id: Specimen) {
    let ids = found.entry((spot.service.clone(), spot.lane.clone())).or_default();
    if !ids.contains(&id) {
        ids.push_front(id);
        ids.truncate(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: Millis = 1_000_000;

    fn id(at: u8) -> Specimen {
        let parent = format!("00-{:032x}-b7ad6b7169203331-01", u32::from(at) + 1);
        Specimen::of_headers([(&b"traceparent"[..], parent.as_bytes())].into_iter()).unwrap()
    }

    fn named(proxy: &str, epoch: Option<u64>, at: u8) -> Told {
        let spot = Spot { service: "orders.shop".into(), lane: "canary".into(), direction: "gateway".into() };
        Told { proxy: proxy.into(), epoch, at_ms: 0, failed: [(spot, id(at))].into(), open: BTreeMap::new() }
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

    /// The ids that are known after proxies have named these, one reading after the other.
    fn after(readings: impl IntoIterator<Item = Told>) -> Vec<String> {
        let mut failures = Failures::new(BEGAN);
        for reading in readings {
            failures.take(vec![reading], &["a".into(), "b".into()]);
        }
        failures.of(&fault(FaultKind::Own))
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
    fn a_version_that_is_only_slow_has_no_failed_requests_to_name() {
        let mut failures = Failures::new(BEGAN);
        failures.take(vec![named("a", Some(BEGAN), 1)], &["a".into()]);
        assert_eq!(failures.of(&fault(FaultKind::Unreachable)).len(), 1);
        assert!(failures.of(&fault(FaultKind::Slow)).is_empty());
        assert!(failures.of(&fault(FaultKind::Business)).is_empty());
    }

    #[test]
    fn what_failed_above_a_version_that_hangs_is_named_for_it() {
        let mut failures = Failures::new(BEGAN);
        failures.take(vec![named("a", Some(BEGAN), 1)], &["a".into()]);
        let below =
            |lane: &str| Fault { service: "payment.shop".into(), lane: lane.into(), ..fault(FaultKind::Hanging) };
        assert_eq!(failures.of(&below("canary")).len(), 1);
        assert!(failures.of(&below("other")).is_empty());
    }

    #[test]
    fn proxies_that_are_gone_are_forgotten() {
        let mut failures = Failures::new(BEGAN);
        for at in 0..100_u8 {
            let proxy = format!("pod-{at}");
            failures.take(vec![named(&proxy, None, at)], std::slice::from_ref(&proxy));
        }
        assert_eq!(failures.known.len(), 1);
    }
}
