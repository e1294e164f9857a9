//! What happens to users and proxies: traffic, counters, and the entry that deals users out.

use graylane_analysis::Reading;

use crate::proxies::Proxies;
use crate::scenario::Scenario;
use crate::units::Units;
use crate::world::{Flow, World};

/// One course of things. A copy goes on by itself, with the same draws as long as the same happens.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The traffic.
    pub world: World,
    /// Who counts it.
    pub proxies: Proxies,
    units: Units,
    /// Slots and shares of those in the lane whose requests fail now, whoever serves them.
    pub users: Vec<(f64, f64)>,
}

// === impl Trace ===

impl Trace {
    /// The course of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            world: World::new(scenario),
            proxies: Proxies::new(scenario),
            units: Units::new(scenario),
            users: Vec::new(),
        }
    }

    /// Half a second at a weight (0 to 1). Where the entry's brake is on, those whom the weight would send to the
    /// lane are served by stable, and counted.
    pub fn step(&mut self, at_s: f64, weight: f64, is_braked: bool) -> [Flow; 2] {
        let open = if is_braked { 0.0 } else { weight };
        let flows = self.world.step(at_s, open);
        self.proxies.count(&flows);
        self.users = self.world.failing_users(open, at_s);
        self.proxies.count_units(&self.units.of(&self.world, open, &flows[0][0], &self.users));
        let held_back = if is_braked { self.world.held_back(weight) } else { 0 };
        self.proxies.count_picks(flows[0][0].called, held_back);
        flows
    }

    /// Readings of the proxies whose moment it is.
    pub fn read(&mut self, at_ms: u64, is_early: bool) -> Vec<Reading> {
        self.proxies.read(at_ms, is_early)
    }
}
