//! Requests that failed in a lane, or were slow there, by the ids that proxies name (`filter/src/named.rs`): put
//! together from the gauges of a page. Pure.

use std::collections::BTreeMap;

use graylane_policy::specimen::{PARTS, Specimen};

use super::page::Line;

/// What a stat's name begins with; behind it stands which part of an id it is.
const FAILED: &str = "graylane_failed_trace_";
/// The same of a slow one.
const SLOW: &str = "graylane_slow_trace_";
/// The parts of an id, in order.
const PART_NAMES: [&str; PARTS] = ["0", "1", "2", "3", "check"];

/// Where requests are in trouble, as one side of a proxy sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The destination (`name.namespace`).
    pub service: String,
    /// The lane that served.
    pub lane: String,
    /// The side of the proxy that saw it: `gateway`, `outbound` or `inbound`.
    pub direction: String,
    /// Of slow ones: the objective that allows most among those they broke, in milliseconds. `None` of failed ones.
    pub over_ms: Option<u32>,
}

/// The request that was in trouble last, or nearly so, at each spot.
pub type Named = BTreeMap<Spot, Specimen>;

/// The parts of ids on a page, until all of its lines are read.
#[derive(Debug, Default)]
pub struct Parts(BTreeMap<(String, Spot), [Option<u32>; PARTS]>);

// === impl Parts ===

impl Parts {
    /// Takes a line if it is part of an id.
    pub fn take(&mut self, line: &Line<'_>) -> bool {
        let label = |name: &str| line.labels.get(name).cloned().unwrap_or_default();
        let (part, over_ms) = if let Some(part) = line.name.strip_prefix(FAILED) {
            (part, None)
        } else if let (Some(part), Ok(over_ms)) = (line.name.strip_prefix(SLOW), label("over_ms").parse()) {
            (part, Some(over_ms))
        } else {
            return false;
        };
        let Some(at) = PART_NAMES.iter().position(|name| *name == part) else { return false };
        let spot = Spot { service: label("service"), lane: label("lane"), direction: label("direction"), over_ms };
        let parts = self.0.entry((label("rollout"), spot)).or_default();
        if let Some(part) = parts.get_mut(at) {
            *part = u32::try_from(line.value).ok();
        }
        true
    }

    /// The ids by release (`namespace/name`). One that was being written while the page was read is left out.
    pub fn put_together(self) -> BTreeMap<String, Named> {
        let mut releases: BTreeMap<String, Named> = BTreeMap::new();
        for ((release, spot), parts) in self.0 {
            let [Some(a), Some(b), Some(c), Some(d), Some(check)] = parts else { continue };
            if let Some(id) = Specimen::from_parts(&[a, b, c, d, check]) {
                releases.entry(release).or_default().insert(spot, id);
            }
        }
        releases
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::text_lines;
    use super::*;

    const ONE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OTHER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parts(parent: &str) -> [u32; PARTS] {
        Specimen::of_headers([(&b"traceparent"[..], parent.as_bytes())].into_iter()).unwrap().to_parts()
    }

    /// A page with these parts of an id at the gateway, numbers as some exporters write them.
    fn page(parts: &[(&str, u32)]) -> String {
        let labels = "service=\"orders.shop\",rollout=\"shop/summer\",lane=\"canary\",direction=\"gateway\"";
        parts.iter().map(|(part, value)| format!("{FAILED}{part}{{{labels}}} {:e}\n", f64::from(*value))).collect()
    }

    fn read(page: &str) -> BTreeMap<String, Named> {
        let mut read = Parts::default();
        assert!(text_lines(page).all(|line| read.take(&line)));
        read.put_together()
    }

    #[test]
    fn an_id_is_put_together_from_its_parts() {
        let ids = read(&page(&PART_NAMES.into_iter().zip(parts(ONE)).collect::<Vec<_>>()));
        let (spot, id) = ids["shop/summer"].first_key_value().unwrap();
        assert_eq!((spot.service.as_str(), spot.lane.as_str()), ("orders.shop", "canary"));
        assert_eq!(id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn a_slow_one_tells_its_objective() {
        let failed = page(&PART_NAMES.into_iter().zip(parts(ONE)).collect::<Vec<_>>());
        let slow = |over_ms: &str| failed.replace(FAILED, SLOW).replace("direction=", &format!("{over_ms}direction="));
        let ids = read(&(failed.clone() + &slow("over_ms=\"500\",")));
        let objectives: Vec<_> = ids["shop/summer"].keys().map(|spot| spot.over_ms).collect();
        assert_eq!(objectives, [None, Some(500)]);
        for nonsense in ["", "over_ms=\"soon\","] {
            let mut read = Parts::default();
            assert!(!text_lines(&slow(nonsense)).any(|line| read.take(&line)), "{nonsense}");
        }
    }

    #[test]
    fn an_id_that_two_workers_write_at_once_is_dropped() {
        let (one, other) = (parts(ONE), parts(OTHER));
        for torn in 1..PARTS {
            let mixed = one.iter().take(torn).chain(other.iter().skip(torn)).copied();
            assert!(read(&page(&PART_NAMES.into_iter().zip(mixed).collect::<Vec<_>>())).is_empty(), "{torn}");
        }
    }

    #[test]
    fn an_id_without_all_of_its_parts_is_none() {
        for missing in 0..PARTS {
            let mut some: Vec<_> = PART_NAMES.into_iter().zip(parts(ONE)).collect();
            some.remove(missing);
            assert!(read(&page(&some)).is_empty(), "{missing}");
        }
        assert!(read("graylane_failed_trace_0{rollout=\"a\"} 4294967296\n").is_empty());
        let mut read = Parts::default();
        assert!(!text_lines("graylane_failed_trace_9{} 1\n").any(|line| read.take(&line)));
    }
}
