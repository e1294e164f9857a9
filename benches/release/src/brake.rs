//! The brake of the gateway's filter: the filter's own evidence on the same traffic. Once it has tripped, the weight
//! sends nobody into the lane, until the engine lets it go or the proxy starts anew.

use graylane_policy::LaneId;
use graylane_policy::brake::{Evidence, Sample, Tally, UNITS};
use graylane_policy::lane::STABLE;

use crate::draw::Draw;
use crate::scenario::Scenario;
use crate::world::{Flow, Hop};

/// Workers of the gateway. Each counts by itself.
const WORKERS: usize = 2;
const CANARY: LaneId = LaneId(1);

/// The brake of one gateway.
#[derive(Clone, Debug)]
pub struct Brake {
    /// Evidence at which it trips.
    wanted: f64,
    workers: [Tally; WORKERS],
    evidence: Evidence,
    /// How often it was let go, and when the proxy began: evidence is kept for these alone.
    identity: (u32, u64),
    /// Chance that a failure is of the same user as the one before: retries.
    cluster: f64,
    draw: Draw,
    is_on: bool,
    /// When it tripped first, in Unix milliseconds.
    pub tripped_ms: Option<u64>,
}

// === impl Brake ===

impl Brake {
    /// The brake in a scenario, which trips at so much evidence.
    pub fn new(scenario: &Scenario, wanted: f64) -> Self {
        Self {
            wanted,
            workers: Default::default(),
            evidence: Evidence::new(0),
            identity: (0, 0),
            cluster: scenario.cluster,
            draw: Draw::new(scenario.seed ^ 0x0b7a_4e5d),
            is_on: false,
            tripped_ms: None,
        }
    }

    /// Whether it holds users back.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Begins anew where it was let go, or where the proxy has.
    pub fn follow(&mut self, released: u32, began_ms: u64, now_ms: u64) {
        if self.identity != (released, began_ms) {
            self.identity = (released, began_ms);
            (self.workers, self.evidence, self.is_on) = (Default::default(), Evidence::new(now_ms), false);
        }
    }

    /// Half a second that ends at `now_ms`; `users` are slots and shares of those in the lane whose requests
    /// fail whoever serves them.
    pub fn watch(&mut self, flows: &[Flow; 2], users: &[(f64, f64)], now_ms: u64) {
        if self.is_on {
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
        self.is_on = self.evidence.is_clear(self.wanted);
        if self.is_on {
            self.tripped_ms.get_or_insert(now_ms);
        }
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
