//! The brake of the gateway's filter on the same traces: when it would have stopped the lane. It only watches
//! here, so that the rules judge the same traffic with and without it.

use graylane_policy::LaneId;
use graylane_policy::brake::{Evidence, Sample, Tally, UNITS};
use graylane_policy::lane::STABLE;

use crate::draw::Draw;
use crate::scenario::Scenario;
use crate::world::{Flow, Hop};

/// What a document asks for where eight proxies have a brake: all of them together trip for nothing in at most
/// one attempt of 10,000.
const WANTED: f64 = 80_000.0;
/// Workers of the gateway. Each counts by itself.
const WORKERS: usize = 2;
const CANARY: LaneId = LaneId(1);

/// The brake of one gateway.
#[derive(Debug)]
pub struct Brake {
    workers: [Tally; WORKERS],
    evidence: Evidence,
    /// Chance that a failure is of the same user as the one before: retries.
    cluster: f64,
    draw: Draw,
    /// When it tripped, in milliseconds.
    pub tripped_ms: Option<u64>,
}

// === impl Brake ===

impl Brake {
    /// The brake in a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            workers: Default::default(),
            evidence: Evidence::new(0),
            cluster: scenario.cluster,
            draw: Draw::new(scenario.seed ^ 0x0b7a_4e5d),
            tripped_ms: None,
        }
    }

    /// Half a second that ends at `now_ms`; `users` are slots and shares of those in the lane whose requests
    /// fail whoever serves them.
    pub fn watch(&mut self, flows: &[Flow; 2], users: &[(f64, f64)], now_ms: u64) {
        if self.tripped_ms.is_some() {
            return;
        }
        self.stable(&flows[1][0]);
        self.lane(&flows[0][0], users);
        for worker in &mut self.workers {
            worker.close(now_ms);
            if worker.step().says_something() {
                self.evidence.fold(worker.step(), now_ms);
            }
            worker.taken();
        }
        self.tripped_ms = self.evidence.is_clear(WANTED).then_some(now_ms);
    }

    fn stable(&mut self, hop: &Hop) {
        for at in 0..hop.called {
            self.count(STABLE, 0, at < hop.failed());
        }
    }

    fn lane(&mut self, hop: &Hop, users: &[(f64, f64)]) {
        let mut last = 0.0;
        for at in 0..hop.called {
            let (of_users, failed) = (at < hop.by_users, at < hop.failed());
            let retries = failed && at > hop.by_users && self.cluster > 0.0 && self.draw.chance(self.cluster);
            last = match (of_users, retries) {
                (true, _) => self.draw.one_of(users),
                (false, true) => last,
                (false, false) => self.draw.between(0.0, 1.0),
            };
            self.count(CANARY, unit_of(last), failed);
        }
    }

    fn count(&mut self, lane: LaneId, unit: usize, failed: bool) {
        let sample = Sample { group: 0, lane, stratum: 0, unit };
        let worker = usize::from(self.draw.chance(0.5));
        self.workers[worker].count(&sample, failed);
    }
}

/// As the filter takes the bucket from the slot of 10,000.
fn unit_of(slot: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a slot is not negative")]
    let slot = (slot * 10_000.0) as usize;
    slot % UNITS
}
