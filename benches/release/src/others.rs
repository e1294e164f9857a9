//! The other rules on the same users. Where our brake or our decision changes the traffic, theirs goes on as it would
//! have without.

use crate::rivals::{Counts, KINDS, Rival, Second};
use crate::run::{Drive, RIVAL_S, WEIGHT};
use crate::scenario::Scenario;
use crate::world::{Flow, World};

/// All other rules on one release.
#[derive(Debug)]
pub struct Others {
    /// The users' world once it is no longer ours.
    world: Option<World>,
    rules: Vec<Rival>,
    failed: Vec<u64>,
    open: Second,
    /// Seconds since the lane was opened.
    seconds: Option<u64>,
    /// False where the weight is moved by ours: nothing to compare.
    judges: bool,
}

// === impl Others ===

impl Others {
    /// All of them before the lane's first request.
    pub fn new(scenario: &Scenario, drive: Drive) -> Self {
        let before = (scenario.rps, scenario.rps * scenario.base.iter().sum::<f64>());
        Self {
            world: None,
            rules: KINDS.iter().map(|kind| Rival::new(*kind, before)).collect(),
            failed: vec![0; KINDS.len()],
            open: Second::default(),
            seconds: None,
            judges: drive == Drive::Fixed,
        }
    }

    /// The lane has users.
    pub fn open(&mut self) {
        self.seconds.get_or_insert(0);
    }

    /// From here on their world is another one than ours.
    pub fn part(&mut self, world: &World) {
        if self.judges && self.world.is_none() {
            self.world = Some(world.clone());
        }
    }

    /// Whether their world is another one than ours.
    pub fn are_apart(&self) -> bool {
        self.world.is_some()
    }

    /// Half a second: what ours saw, or what happens where that is something else. The latter is given back.
    pub fn step(&mut self, at_s: f64, ours: Option<&[Flow; 2]>) -> Option<[Flow; 2]> {
        if self.are_done() || self.seconds.is_none() {
            return None;
        }
        let own = self.world.as_mut().map(|world| world.step(at_s, WEIGHT));
        let flows = own.as_ref().or(ours)?;
        for (lane, flow) in flows.iter().enumerate() {
            for (sum, hop) in self.open[lane].iter_mut().zip(flow) {
                add(sum, [hop.called, hop.failed(), hop.slow]);
            }
        }
        let failed = flows[0][0].failed();
        for (rule, sum) in self.rules.iter().zip(&mut self.failed) {
            *sum += if rule.decided_s.is_none() { failed } else { 0 };
        }
        own
    }

    /// A second is over.
    pub fn close(&mut self) {
        let second = std::mem::take(&mut self.open);
        if self.are_done() {
            return;
        }
        let Some(seconds) = &mut self.seconds else { return };
        *seconds += 1;
        self.rules.iter_mut().for_each(|rule| rule.observe(&second));
    }

    /// Whether every rule has taken the lane back, or there is none.
    pub fn have_decided(&self) -> bool {
        !self.judges || self.rules.iter().all(|rule| rule.decided_s.is_some())
    }

    /// Whether their time is over.
    pub fn are_done(&self) -> bool {
        !self.judges || self.seconds.is_some_and(|seconds| seconds >= RIVAL_S)
    }

    /// When each took the lane back, and the failures until then; nothing where they do not judge.
    pub fn end(self) -> Vec<(Option<u64>, u64)> {
        if !self.judges {
            return Vec::new();
        }
        self.rules.iter().map(|rule| rule.decided_s).zip(self.failed).collect()
    }
}

/// Adds counts.
pub(crate) fn add(sum: &mut Counts, counts: Counts) {
    sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}
