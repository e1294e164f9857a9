//! Which workers run which generation.
//!
//! A config is in force only when *every* worker runs it. Each VM (one a worker, and one on the main
//! thread) signs a roster in shared data from its ticks, never from `on_configure`, which canary VMs
//! run too. From the roster every worker computes the same two gauges: the generation that was
//! configured last, and how many VMs run exactly that document. A VM that stops ticking, because it
//! trapped or was replaced, drops out after `STALE_MS`.

use graylane_policy::Policy;
use graylane_policy::metric::stat_name;

use crate::host::{Host, MetricKind};

/// Time to the first tick after a config arrives: soon, but after `on_configure` has returned.
pub const FIRST_TICK_MS: u32 = 5;
/// Time between further ticks.
pub const TICK_MS: u32 = 1_000;
/// After this long without a sign of life a VM no longer counts.
const STALE_MS: u64 = 5_000;
/// How often a contended update is tried again; each loser saw another worker succeed.
const TRIES: u32 = 64;
/// Size of an entry: VM, generation, document, configured, seen; 8 bytes each.
const ENTRY: usize = 40;

/// One VM's line in the roster of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Random number of the VM, drawn once in its life.
    pub vm: u64,
    /// The generation it runs.
    pub generation: u64,
    /// Hash of the document, so that two documents of one generation are told apart.
    pub document: u64,
    /// When it was configured, in Unix milliseconds.
    pub configured_unix_ms: u64,
    /// When it last ticked, in Unix milliseconds.
    pub seen_unix_ms: u64,
}

/// What the roster says: the newest generation, and how many VMs run it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The generation that was configured last.
    pub generation: u64,
    /// VMs that run exactly that document.
    pub workers: u64,
}

/// Signs the roster and publishes the gauges.
pub fn sign(host: &impl Host, policy: &Policy, mine: Entry) {
    let key = format!("graylane.roster.{}", policy.role_label());
    for _ in 0..TRIES {
        let (bytes, version) = host.shared(&key).unwrap_or_default();
        let roster = with(decode(&bytes), mine);
        if host.set_shared(&key, &encode(&roster), version) {
            publish(host, policy, standing(&roster));
            return;
        }
    }
}

/// The roster with one VM's entry renewed and the dead left out.
pub fn with(mut roster: Vec<Entry>, mine: Entry) -> Vec<Entry> {
    let alive = |entry: &Entry| entry.seen_unix_ms.saturating_add(STALE_MS) >= mine.seen_unix_ms;
    roster.retain(|entry| entry.vm != mine.vm && alive(entry));
    roster.push(mine);
    roster
}

/// The newest document and how many VMs run it.
pub fn standing(roster: &[Entry]) -> Standing {
    let Some(newest) = roster.iter().max_by_key(|entry| (entry.configured_unix_ms, entry.generation)) else {
        return Standing::default();
    };
    let same = |entry: &&Entry| entry.generation == newest.generation && entry.document == newest.document;
    Standing { generation: newest.generation, workers: roster.iter().filter(same).count() as u64 }
}

/// The workers gauge is set before the generation gauge, so that a reader who sees a new generation
/// never sees the old one's number of workers with it.
fn publish(host: &impl Host, policy: &Policy, standing: Standing) {
    let labels = [("role", policy.role_label())];
    let gauges = [("graylane_config_workers", standing.workers), ("graylane_config_generation", standing.generation)];
    for (name, value) in gauges {
        if let Some(id) = host.metric(MetricKind::Gauge, &stat_name(name, &labels)) {
            host.record(id, value);
        }
    }
}

fn encode(roster: &[Entry]) -> Vec<u8> {
    let words =
        |entry: &Entry| [entry.vm, entry.generation, entry.document, entry.configured_unix_ms, entry.seen_unix_ms];
    roster.iter().flat_map(words).flat_map(u64::to_le_bytes).collect()
}

fn decode(bytes: &[u8]) -> Vec<Entry> {
    let word = |entry: &[u8; ENTRY], at: usize| {
        entry.get(at * 8..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
    };
    let entry = |entry: &[u8; ENTRY]| Entry {
        vm: word(entry, 0),
        generation: word(entry, 1),
        document: word(entry, 2),
        configured_unix_ms: word(entry, 3),
        seen_unix_ms: word(entry, 4),
    };
    bytes.as_chunks::<ENTRY>().0.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(vm: u64, generation: u64, configured: u64, seen: u64) -> Entry {
        Entry { vm, generation, document: generation * 7, configured_unix_ms: configured, seen_unix_ms: seen }
    }

    #[test]
    fn a_generation_counts_only_the_workers_that_run_it() {
        let roster = with(with(with(vec![], entry(1, 6, 10, 10)), entry(2, 6, 10, 11)), entry(1, 7, 20, 20));
        assert_eq!(standing(&roster), Standing { generation: 7, workers: 1 });
        let roster = with(roster, entry(2, 7, 21, 21));
        assert_eq!(standing(&roster), Standing { generation: 7, workers: 2 });
    }

    #[test]
    fn a_lower_generation_that_came_later_is_the_one_in_force() {
        let roster = with(with(vec![], entry(1, 9, 10, 10)), entry(1, 3, 20, 20));
        assert_eq!(standing(&roster), Standing { generation: 3, workers: 1 });
    }

    #[test]
    fn a_vm_that_stopped_ticking_drops_out() {
        let roster = with(with(vec![], entry(1, 6, 10, 10)), entry(2, 6, 10, 10 + STALE_MS + 1));
        assert_eq!(standing(&roster).workers, 1);
    }

    #[test]
    fn the_roster_survives_its_encoding() {
        let roster = vec![entry(1, 2, 3, 4), entry(u64::MAX, 6, 7, 8)];
        assert_eq!(decode(&encode(&roster)), roster);
        assert_eq!(decode(b"garbage"), vec![]);
    }
}
