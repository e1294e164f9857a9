//! What a release meets. Everything is drawn from the seed before the first second.

mod bad;
mod good;

use crate::draw::Draw;

/// Services of the chain, first to last, as they appear in labels.
pub const SERVICES: [&str; 3] = ["front.shop", "cart.shop", "stock.shop"];
/// Chance that a request of the service before makes this call.
pub const CALLED: [f64; 3] = [1.0, 0.9, 0.8];
/// Objective on failures, and on requests slower than [`SLOW_MS`].
pub const SUCCESS: f64 = 0.99;
/// Objective on latency.
pub const FAST: f64 = 0.95;
/// The cut-off of the latency objective.
pub const SLOW_MS: u32 = 300;

/// Whether the lane should be promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// Like stable, or so little worse that the floor of 0.3 points covers it.
    Good,
    /// At least twice what an objective allows, and stable keeps it.
    Bad,
    /// Worse than stable and under twice what is allowed: either verdict has its reasons.
    Between,
    /// Bad, but not before it has had users for [`LATE_S`]: it may be handed over before there is anything to see.
    Later,
}

/// Damage that begins later than this is counted by itself.
pub const LATE_S: f64 = 50.0;

/// How a bad lane is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// None.
    None,
    /// Failures of its own.
    Own,
    /// Nobody answers: callers see 503 and the proxies of the lane see nothing.
    Unreachable,
    /// It hangs: callers give up, answer a failure themselves, and no proxy counts the call.
    Hanging,
    /// Slow answers.
    Slow,
}

/// What is wrong with the lane, from when.
#[derive(Clone, Copy, Debug)]
pub struct Damage {
    /// How.
    pub harm: Harm,
    /// Position of the service.
    pub hop: usize,
    /// Share of its requests.
    pub rate: f64,
    /// Seconds after the lane's first request.
    pub from_s: f64,
    /// Seconds until the full rate is reached.
    pub rise_s: f64,
}

/// Both sides fail for a while.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// Position of the service that both versions call.
    pub hop: usize,
    /// Share of its requests.
    pub rate: f64,
    /// Begin in seconds.
    pub from_s: f64,
    /// End in seconds.
    pub to_s: f64,
}

/// Who the users are.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// How many.
    pub users: usize,
    /// Shape of the Pareto law of their rates; the smaller, the heavier the heaviest.
    pub shape: f64,
    /// Share of users whose requests fail whatever serves them.
    pub broken: f64,
    /// How many of their requests fail.
    pub breaks: f64,
    /// Mean length of their bouts in seconds, with as long a pause; 0 is always.
    pub bout_s: f64,
    /// One user with this share of all traffic begins to fail after half a minute, wherever it is.
    pub storm: f64,
}

/// All of a release.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Name of its kind.
    pub kind: &'static str,
    /// What should become of it.
    pub truth: Truth,
    /// Requests a second.
    pub rps: f64,
    /// Share of failures of each service's own.
    pub base: [f64; 3],
    /// Share of slow requests of each service's own.
    pub slow: [f64; 3],
    /// Drift of both: amplitude (1 is none) and period in seconds.
    pub drift: (f64, f64),
    /// What is wrong with the lane.
    pub damage: Damage,
    /// Extra failures of the lane that are within the floor.
    pub slight: f64,
    /// What is wrong with one of stable's five pods of the first service: share of its requests.
    pub stable_pod: f64,
    /// Both sides fail.
    pub outage: Option<Outage>,
    /// Chance that a failure comes with another.
    pub cluster: f64,
    /// Users.
    pub crowd: Crowd,
    /// Cold start of the lane: share of slow and of failed requests at once, and the seconds in which
    /// they fall to a third.
    pub cold: (f64, f64, f64),
    /// Share of readings that get lost.
    pub lost: f64,
    /// Proxies restart every so many seconds on average; 0 is never.
    pub restart_s: f64,
    /// Share of requests whose users leave before there is an answer.
    pub leaves: f64,
    /// The called service hands failures on.
    pub hands_on: f64,
    /// Share of failures whose trace got lost, so that their origin is unknown.
    pub untraced: f64,
    /// The cohort is known at the entry only.
    pub unknown_cohort: bool,
    /// Seed of everything that happens.
    pub seed: u64,
}

// === impl Scenario ===

impl Scenario {
    /// The good release of a seed.
    pub fn good(seed: u64) -> Self {
        let mut draw = Draw::new(seed ^ 0x600d);
        let mut scenario = Self::quiet(&mut draw);
        good::shape(&mut scenario, &mut draw);
        scenario
    }

    /// The bad release of a seed.
    pub fn bad(seed: u64) -> Self {
        let mut draw = Draw::new(seed ^ 0xbad);
        let mut scenario = Self::quiet(&mut draw);
        bad::shape(&mut scenario, &mut draw);
        scenario
    }

    /// Nothing special, at 100 requests a second and a base rate of failures, for the decision times.
    pub fn plain(seed: u64, rps: f64, base: f64, damage: Option<Damage>) -> Self {
        let mut draw = Draw::new(seed ^ 0x91a1);
        let damage = damage.unwrap_or(NO_DAMAGE);
        let truth = if damage.harm == Harm::None { Truth::Good } else { Truth::Bad };
        let scenario = Self { kind: "plain", truth, rps, damage, ..Self::quiet(&mut draw) };
        Self { base: split(base), ..scenario }
    }

    fn quiet(draw: &mut Draw) -> Self {
        let base = draw.log_between(0.0002, 0.009);
        let slow = draw.log_between(0.002, 0.03);
        Self {
            kind: "plain",
            truth: Truth::Good,
            rps: draw.log_between(20.0, 500.0),
            base: split(base),
            slow: split(slow),
            drift: (1.0, 60.0),
            damage: NO_DAMAGE,
            slight: 0.0,
            stable_pod: 0.0,
            outage: None,
            cluster: 0.0,
            crowd: Crowd { users: 5_000, shape: 3.0, broken: 0.0, breaks: 0.0, bout_s: 0.0, storm: 0.0 },
            cold: (0.0, 0.0, 1.0),
            lost: 0.0,
            restart_s: 0.0,
            leaves: 0.0,
            hands_on: 1.0,
            untraced: 0.0,
            unknown_cohort: draw.chance(0.2),
            seed: draw.seed(),
        }
    }

    /// The objectives that the lane is judged by: (service, success or latency).
    pub fn has_outage(&self, at_s: f64) -> bool {
        self.outage.is_some_and(|outage| (outage.from_s..outage.to_s).contains(&at_s))
    }
}

/// Nothing is wrong.
pub const NO_DAMAGE: Damage = Damage { harm: Harm::None, hop: 0, rate: 0.0, from_s: 0.0, rise_s: 0.0 };

/// A rate at the entry as rates of the services behind it.
fn split(rate: f64) -> [f64; 3] {
    [rate * 0.4, rate * 0.35, rate * 0.35]
}
