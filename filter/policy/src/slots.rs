//! The slot table: which of 10,000 buckets of units is in which lane, and how it evolves.
//!
//! The controller owns the table and evolves it from weight to weight; the filter only reads it.
//! The table alone is the state, so a restarted controller that reads it back moves nobody.

use std::collections::BTreeMap;

use crate::hash::SLOTS;
use crate::raw::RawRun;

/// The lane that always exists.
pub const STABLE: &str = "stable";

/// A complete assignment of the 10,000 slots, kept as runs.
///
/// Invariant: runs ascend, the last ends at 10,000, and neighbours have different lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotTable {
    runs: Vec<Run>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    until: u32,
    lane: String,
}

/// Why a table or a set of weights cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// Weights are shares of 10,000.
    #[error("weights add up to {sum} of 10000; lower them until at most 10000 are taken")]
    Overweight {
        /// The sum that was asked for.
        sum: u64,
    },
    /// Stable gets what the lanes leave over, so it has no weight of its own.
    #[error("lane `stable` cannot be given a weight; it has whatever the other lanes leave")]
    StableWeight,
    /// The runs do not ascend from 0 to 10,000.
    #[error("run {index} ends at {until}, not above {from} and at most 10000")]
    Order {
        /// Index of the run.
        index: usize,
        /// Where the run before it ends.
        from: u32,
        /// Where this one ends.
        until: u32,
    },
    /// The last run ends early.
    #[error("the last run ends at {until}; it must end at 10000")]
    Gap {
        /// Where the last run ends.
        until: u32,
    },
}

/// The table after a change of weights, moving as few units as possible.
///
/// `weights` are of 10,000, for every lane but stable; a lane that is left out gets nothing. Lanes
/// that shrink give up their highest slots, lanes that grow take the lowest that are free, first
/// from what other lanes gave up and then from stable. The number of moved slots is therefore the
/// total-variation distance between the two sets of weights, which no assignment can beat, and
/// growing one lane alone takes from stable alone.
///
/// # Errors
/// When the weights add up to more than 10,000, or name `stable`.
pub fn evolve(table: &SlotTable, weights: &BTreeMap<String, u32>) -> Result<SlotTable, SlotError> {
    let wanted = with_stable(weights)?;
    let have = table.weights();
    let lanes: Vec<&str> = have.keys().chain(wanted.keys()).map(String::as_str).collect();
    let mut slots = table.expand(&lanes);
    for (lane, &count) in &have {
        let surplus = count.saturating_sub(wanted.get(lane).copied().unwrap_or(0));
        release(&mut slots, index_of(&lanes, lane), surplus, lane == STABLE);
    }
    let grants = grants(&lanes, &have, &wanted);
    for (slot, lane) in slots.iter_mut().filter(|slot| slot.is_none()).zip(grants) {
        *slot = Some(lane);
    }
    Ok(SlotTable::compress(&slots, &lanes))
}

/// How many slots, and so how many of 10,000 units, are in different lanes in the two tables.
pub fn moved(before: &SlotTable, after: &SlotTable) -> u32 {
    (0..SLOTS as u16).filter(|&slot| before.lane_of(slot) != after.lane_of(slot)).count() as u32
}

fn with_stable(weights: &BTreeMap<String, u32>) -> Result<BTreeMap<String, u32>, SlotError> {
    if weights.contains_key(STABLE) {
        return Err(SlotError::StableWeight);
    }
    let sum: u64 = weights.values().map(|&w| u64::from(w)).sum();
    let left = u64::from(SLOTS).checked_sub(sum).ok_or(SlotError::Overweight { sum })?;
    let mut wanted = weights.clone();
    wanted.insert(STABLE.into(), left as u32);
    Ok(wanted)
}

/// Empties slots that a lane has too many of. Stable gives up its lowest and the others their highest,
/// so that a lane which grows again gets the same users back.
fn release(slots: &mut [Option<usize>], lane: usize, surplus: u32, lowest_first: bool) {
    let mine = |slot: &&mut Option<usize>| **slot == Some(lane);
    let surplus = surplus as usize;
    if lowest_first {
        slots.iter_mut().filter(mine).take(surplus).for_each(|slot| *slot = None);
    } else {
        slots.iter_mut().rev().filter(mine).take(surplus).for_each(|slot| *slot = None);
    }
}

/// What the emptied slots get, in order: the lanes that have too few, and stable last, which takes
/// back what the others do not need.
fn grants(lanes: &[&str], have: &BTreeMap<String, u32>, wanted: &BTreeMap<String, u32>) -> Vec<usize> {
    let order = wanted.keys().filter(|lane| *lane != STABLE).chain(wanted.keys().filter(|lane| *lane == STABLE));
    let deficit =
        |lane: &String| wanted.get(lane).copied().unwrap_or(0).saturating_sub(have.get(lane).copied().unwrap_or(0));
    order.flat_map(|lane| std::iter::repeat_n(index_of(lanes, lane), deficit(lane) as usize)).collect()
}

/// Position of a lane; every lane of either table is listed.
fn index_of(lanes: &[&str], lane: &str) -> usize {
    lanes.iter().position(|known| *known == lane).unwrap_or(0)
}

// === impl SlotTable ===

impl SlotTable {
    /// The table in which every unit is in stable.
    pub fn all_stable() -> Self {
        Self { runs: vec![Run { until: SLOTS, lane: STABLE.into() }] }
    }

    /// A table from its runs; neighbours of one lane are joined.
    ///
    /// # Errors
    /// When the runs do not ascend, or do not end at 10,000.
    pub fn from_runs(raw: &[RawRun]) -> Result<Self, SlotError> {
        let mut from = 0;
        let mut runs: Vec<Run> = Vec::new();
        for (index, run) in raw.iter().enumerate() {
            if run.until <= from || run.until > SLOTS {
                return Err(SlotError::Order { index, from, until: run.until });
            }
            from = run.until;
            push_run(&mut runs, run.until, &run.lane);
        }
        if from == SLOTS { Ok(Self { runs }) } else { Err(SlotError::Gap { until: from }) }
    }

    /// The runs, as they stand in a document or in status.
    pub fn to_runs(&self) -> Vec<RawRun> {
        self.runs.iter().map(|run| RawRun { until: run.until, lane: run.lane.clone() }).collect()
    }

    /// How many slots each lane has; lanes without any are left out.
    pub fn weights(&self) -> BTreeMap<String, u32> {
        let mut weights = BTreeMap::new();
        let mut from = 0;
        for run in &self.runs {
            *weights.entry(run.lane.clone()).or_insert(0) += run.until - from;
            from = run.until;
        }
        weights
    }

    /// The lane of a slot; `stable` for a slot that does not exist.
    pub fn lane_of(&self, slot: u16) -> &str {
        let at = self.runs.partition_point(|run| run.until <= u32::from(slot));
        self.runs.get(at).map_or(STABLE, |run| &run.lane)
    }

    /// The lane of each slot, by its position in `lanes`.
    fn expand(&self, lanes: &[&str]) -> Vec<Option<usize>> {
        let mut slots = Vec::with_capacity(SLOTS as usize);
        for run in &self.runs {
            slots.resize(run.until as usize, Some(index_of(lanes, &run.lane)));
        }
        slots
    }

    fn compress(slots: &[Option<usize>], lanes: &[&str]) -> Self {
        let mut runs = Vec::new();
        for (index, lane) in slots.iter().enumerate() {
            let lane = lane.and_then(|lane| lanes.get(lane)).copied().unwrap_or(STABLE);
            push_run(&mut runs, index as u32 + 1, lane);
        }
        Self { runs }
    }
}

fn push_run(runs: &mut Vec<Run>, until: u32, lane: &str) {
    match runs.last_mut() {
        Some(last) if last.lane == lane => last.until = until,
        _ => runs.push(Run { until, lane: lane.into() }),
    }
}
