//! Traffic through a chain of three services, half a second at a time.

use graylane_analysis::counts::UNITS;

use crate::draw::Draw;
use crate::scenario::{CALLED, Harm, SERVICES, Scenario};
use crate::users::Users;

/// Half a second.
pub const STEP_S: f64 = 0.5;

/// What happened at one hop of one lane in a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hop {
    /// Calls, as the caller counts them: without those that had no answer when somebody left.
    pub called: u64,
    /// Calls that the caller gave up.
    pub given_up: u64,
    /// Calls that ended because the user left.
    pub cut_off: u64,
    /// Failures because a call was given up.
    pub waited: u64,
    /// Those that nobody answered.
    pub unanswered: u64,
    /// Failed requests by whom they failed for.
    pub own: u64,
    /// Failures handed on from below.
    pub downstream: u64,
    /// Of `own`, those that fail because of who asks.
    pub by_users: u64,
    /// Slow requests.
    pub slow: u64,
}

/// A lane's traffic in a step, by hop.
pub type Flow = [Hop; SERVICES.len()];

/// The world of one release.
#[derive(Clone, Debug)]
pub struct World {
    scenario: Scenario,
    users: Users,
    draw: Draw,
    /// When the lane got its first request, in seconds.
    opened_s: Option<f64>,
    /// Begin of the half second in which the damage first met a request, in seconds.
    first_harm_s: Option<f64>,
}

// === impl Hop ===

impl Hop {
    /// All failures, as the caller counts them.
    pub fn failed(&self) -> u64 {
        self.unanswered + self.own + self.downstream + self.waited
    }
}

// === impl World ===

impl World {
    /// The world of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let mut draw = Draw::new(scenario.seed);
        let users = Users::new(&scenario.crowd, &mut draw);
        Self { scenario: scenario.clone(), users, draw, opened_s: None, first_harm_s: None }
    }

    /// Share of the lane's requests that fail at a weight because of who sends them, on average.
    pub fn of_users(&self, weight: f64) -> f64 {
        self.users.expected(weight)
    }

    /// Slots and shares of the traffic of those in the lane whose requests fail now.
    pub fn failing_users(&self, weight: f64, at_s: f64) -> Vec<(f64, f64)> {
        self.users.who_fails(weight, at_s)
    }

    /// Shares of all traffic that a weight sends to the lane, by bucket of units.
    pub fn by_bucket(&self, weight: f64) -> [f64; UNITS] {
        self.users.by_bucket(weight)
    }

    /// Begin of the half second in which the damage first met a request, in seconds.
    pub fn first_harm_s(&self) -> Option<f64> {
        self.first_harm_s
    }

    /// Requests of half a second that a brake keeps out of the lane at a weight.
    pub fn held_back(&mut self, weight: f64) -> u64 {
        let share = self.users.share(weight);
        self.draw.poisson(share * self.scenario.rps * STEP_S)
    }

    /// Half a second at a weight (0 to 1); gives the lane's and stable's traffic.
    pub fn step(&mut self, at_s: f64, weight: f64) -> [Flow; 2] {
        let share = self.users.share(weight);
        let rate = self.scenario.rps * STEP_S;
        let (broken_lane, broken_stable) = self.users.failing(weight, at_s, &mut self.draw);
        let broken = [broken_lane, broken_stable].map(|share| share * rate);
        let entering = [share * rate, (1.0 - share) * rate].map(|mean| self.draw.poisson(mean));
        if entering[0] > 0 && self.opened_s.is_none() {
            self.opened_s = Some(at_s);
        }
        [self.flow(at_s, true, entering[0], broken[0]), self.flow(at_s, false, entering[1], broken[1])]
    }

    /// From the last hop to the first, so that failures can be handed on.
    fn flow(&mut self, at_s: f64, in_lane: bool, entering: u64, broken: f64) -> Flow {
        let mut flow = Flow::default();
        let mut calls = entering - self.leave(entering, &mut flow);
        for (hop, called) in flow.iter_mut().zip(CALLED) {
            calls = self.draw.binomial(calls, called);
            hop.called = calls;
        }
        let broken = self.draw.poisson(broken);
        let mut below = Hop::default();
        for at in (0..flow.len()).rev() {
            let hop = &mut flow[at];
            let odds = odds(&self.scenario, self.opened_s, at_s, in_lane, at);
            let hung = if odds.hangs > 0.0 { self.draw.binomial(hop.called, odds.hangs) } else { 0 };
            hop.called -= hung;
            hop.given_up = hung;
            hop.unanswered = self.draw.binomial(hop.called, odds.unanswered);
            let arrived = hop.called - hop.unanswered;
            hop.downstream = self.draw.binomial(below.failed(), self.scenario.hands_on).min(arrived);
            hop.waited = below.given_up.min(arrived - hop.downstream);
            let left = arrived - hop.downstream - hop.waited;
            let natural = clustered(&mut self.draw, left, odds.natural, self.scenario.cluster);
            let users = if at == 0 { broken } else { 0 };
            let harmed = self.draw.binomial(left, odds.harm);
            hop.own = (natural + self.draw.binomial(left, odds.extra) + harmed + users).min(left);
            hop.by_users = users.min(hop.own);
            let handed = self.draw.binomial(below.slow, 0.9).min(arrived);
            let harmed_slow = self.draw.binomial(arrived - handed, odds.harm_slow);
            hop.slow = handed + harmed_slow + self.draw.binomial(arrived - handed - harmed_slow, odds.slow);
            if harmed + harmed_slow + hung + hop.unanswered > 0 {
                self.first_harm_s.get_or_insert(at_s);
            }
            below = *hop;
        }
        flow
    }

    /// Users who do not wait for their answers: the call that runs then ends at every hop that it has reached.
    fn leave(&mut self, entering: u64, flow: &mut Flow) -> u64 {
        if self.scenario.leaves <= 0.0 {
            return 0;
        }
        let left = self.draw.binomial(entering, self.scenario.leaves);
        let mut reached = left;
        for hop in flow {
            hop.cut_off = reached;
            reached = self.draw.binomial(reached, 0.7);
        }
        left
    }
}

/// Chances of one hop of one lane at one time.
struct Odds {
    unanswered: f64,
    hangs: f64,
    /// Failures that any version has.
    natural: f64,
    /// Failures by outage, or because the version is young.
    extra: f64,
    slow: f64,
    /// Failures, and slow requests, by damage.
    harm: f64,
    harm_slow: f64,
}

fn odds(scenario: &Scenario, opened_s: Option<f64>, at_s: f64, in_lane: bool, hop: usize) -> Odds {
    let (amplitude, period) = scenario.drift;
    let drift = 1.0 + (amplitude - 1.0) * (0.5 - 0.5 * (std::f64::consts::TAU * at_s / period).cos());
    let mut odds = Odds {
        unanswered: 0.0,
        hangs: 0.0,
        natural: scenario.base[hop] * drift,
        extra: 0.0,
        slow: scenario.slow[hop] * drift,
        harm: 0.0,
        harm_slow: 0.0,
    };
    if let Some(outage) = scenario.outage.filter(|outage| outage.hop == hop && scenario.has_outage(at_s)) {
        odds.extra += outage.rate;
    }
    if !in_lane {
        odds.extra += if hop == 0 { scenario.stable_pod / 5.0 } else { 0.0 };
        return odds;
    }
    let since = at_s - opened_s.unwrap_or(at_s);
    let (slow, failed, tau) = scenario.cold;
    odds.slow += slow * (-since / tau).exp();
    odds.extra += failed * (-since / tau).exp();
    odds.extra += if hop == 0 { scenario.slight } else { 0.0 };
    let damage = scenario.damage;
    if damage.hop == hop && since >= damage.from_s {
        let rise = if damage.rise_s > 0.0 { ((since - damage.from_s) / damage.rise_s).min(1.0) } else { 1.0 };
        match damage.harm {
            Harm::None => {}
            Harm::Own => odds.harm = damage.rate * rise,
            Harm::Unreachable => odds.unanswered += damage.rate * rise,
            Harm::Hanging => odds.hangs += damage.rate * rise,
            Harm::Slow => odds.harm_slow = damage.rate * rise,
        }
    }
    odds
}

fn clustered(draw: &mut Draw, n: u64, rate: f64, more: f64) -> u64 {
    if more <= 0.0 {
        return draw.binomial(n, rate);
    }
    #[expect(clippy::cast_precision_loss, reason = "requests of half a second")]
    let events = draw.poisson(n as f64 * rate * (1.0 - more));
    (0..events).map(|_| draw.cluster(more)).sum::<u64>().min(n)
}
