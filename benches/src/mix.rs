//! The mix of rules that everything is measured with, and requests for it.
//!
//! Of every 20 rules 12 compare exactly, 4 with a list, 3 with a prefix and 1 as a number or a
//! version, over 8 headers, a query key and a cookie. Deterministic: the same size is always the
//! same mix. The last rule is exact and, from 10 rules on, on the same header.

pub mod document;
mod lua;
mod request;
mod routes;

pub use request::Request;

/// Sizes that are measured.
pub const SIZES: [usize; 4] = [1, 10, 100, 1000];
/// Lanes of the mix, besides `stable`; rules take turns.
pub const LANES: [&str; 2] = ["canary", "v2"];
/// What the rules read.
pub const FIELDS: [Field; 10] = [
    Field::Header("x-user-id"),
    Field::Header("x-tenant"),
    Field::Header("x-region"),
    Field::Header("x-device"),
    Field::Header("x-app-version"),
    Field::Header("x-build"),
    Field::Header("x-plan"),
    Field::Header("x-campaign"),
    Field::Query("env"),
    Field::Cookie("beta"),
];
/// Position in [`FIELDS`] of what semver rules read.
const VERSION_FIELD: usize = 4;
/// Position in [`FIELDS`] of what numeric rules read.
const NUMBER_FIELD: usize = 5;
/// Kinds of the rules, over and over: (e)xact, (i)n, (p)refix, (n)umber or version.
const KINDS: &[u8; 20] = b"eiepeneeieepeieepeie";

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A header.
    Header(&'static str),
    /// A query key.
    Query(&'static str),
    /// A cookie.
    Cookie(&'static str),
}

/// How a rule compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Equal.
    Exact(String),
    /// One of these.
    In(Vec<String>),
    /// Begins with.
    Prefix(String),
    /// A number from the first to the second, both included.
    Range(u64, u64),
    /// A version `2.<this>.x`.
    Minor(u64),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Position in [`FIELDS`].
    pub field: usize,
    /// How it compares.
    pub test: Test,
    /// The lane it opts a request into.
    pub lane: &'static str,
}

/// Rules in order.
#[derive(Clone, Debug)]
pub struct Mix {
    /// The rules; the first that holds wins.
    pub rules: Vec<Rule>,
}

// === impl Mix ===

impl Mix {
    /// The mix of this size.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { rules: (0..size).map(Rule::new).collect() }
    }

    /// A request that has every field and meets no rule.
    #[must_use]
    pub fn none(&self) -> Request {
        Request::new()
    }

    /// The same, but for one value that meets the last rule and no other.
    #[must_use]
    pub fn last(&self) -> Request {
        let mut request = Request::new();
        if let Some(rule) = self.rules.last() {
            request.values[rule.field] = Some(rule.value(0));
        }
        request
    }

    /// A request made up from a seed: of each field nothing, a value that meets no rule, or one that
    /// meets some rule.
    #[must_use]
    pub fn any(&self, seed: u64) -> Request {
        let mut request = Request::new();
        let mut random = seed;
        for (field, value) in request.values.iter_mut().enumerate() {
            let mut draw = |below: usize| (next(&mut random) % below.max(1) as u64) as usize;
            let rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.field == field).collect();
            match draw(10) {
                0 | 1 => *value = None,
                2 => *value = rules.get(draw(rules.len())).map(|rule| rule.value(draw(4))),
                _ => {}
            }
        }
        request
    }

    /// The lane of a request, found the plain way: each rule in turn.
    #[must_use]
    pub fn lane_of(&self, request: &Request) -> &'static str {
        let holds = |rule: &&Rule| request.values[rule.field].as_deref().is_some_and(|value| rule.test.holds(value));
        self.rules.iter().find(holds).map_or("stable", |rule| rule.lane)
    }

    /// Whether some rule reads this field.
    fn reads(&self, field: usize) -> bool {
        self.rules.iter().any(|rule| rule.field == field)
    }
}

/// splitmix64: the numbers must be the same on every machine and in every release.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

// === impl Rule ===

impl Rule {
    fn new(at: usize) -> Self {
        // 7 and 10 have no common factor: neighbours read different fields.
        let spread = at * 7 % FIELDS.len();
        let (field, test) = match KINDS[at % KINDS.len()] {
            b'e' => (spread, Test::Exact(format!("exact-{at:04}"))),
            b'i' => (spread, Test::In((0..4).map(|of| format!("listed-{at:04}-{of}")).collect())),
            b'p' => (spread, Test::Prefix(format!("{}{at:04}-", ["p", "eu-", "eu-west-"][at % 3]))),
            _ if (at / KINDS.len()).is_multiple_of(2) => {
                let low = 10_000 * (at as u64 + 1);
                (NUMBER_FIELD, Test::Range(low, low + 99))
            }
            _ => (VERSION_FIELD, Test::Minor(at as u64)),
        };
        Self { field, test, lane: LANES[at % LANES.len()] }
    }

    /// A value that the rule holds for.
    fn value(&self, variant: usize) -> String {
        match &self.test {
            Test::Exact(value) => value.clone(),
            Test::In(values) => values[variant % values.len()].clone(),
            Test::Prefix(prefix) => format!("{prefix}{variant}"),
            Test::Range(low, _) => (low + variant as u64).to_string(),
            Test::Minor(minor) => format!("2.{minor}.{variant}"),
        }
    }
}

// === impl Test ===

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Exact(wanted) => value == wanted,
            Self::In(values) => values.iter().any(|wanted| value == wanted),
            Self::Prefix(prefix) => value.starts_with(prefix.as_str()),
            Self::Range(low, high) => value.parse().is_ok_and(|number: u64| (*low..=*high).contains(&number)),
            Self::Minor(minor) => value.starts_with(&format!("2.{minor}.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_rules_have_the_shares_that_are_asked_for() {
        let share = |wanted: fn(&Test) -> bool| Mix::new(1000).rules.iter().filter(|rule| wanted(&rule.test)).count();
        assert_eq!(share(|test| matches!(test, Test::Exact(_))), 600);
        assert_eq!(share(|test| matches!(test, Test::In(_))), 200);
        assert_eq!(share(|test| matches!(test, Test::Prefix(_))), 150);
        assert_eq!(share(|test| matches!(test, Test::Range(..) | Test::Minor(_))), 50);
    }

    #[test]
    fn the_two_requests_meet_the_last_rule_and_none() {
        for size in SIZES {
            let mix = Mix::new(size);
            let holding = |request: &Request| -> Vec<usize> {
                let holds =
                    |rule: &Rule| request.values[rule.field].as_deref().is_some_and(|value| rule.test.holds(value));
                mix.rules.iter().enumerate().filter(|(_, rule)| holds(rule)).map(|(at, _)| at).collect()
            };
            assert_eq!(holding(&mix.last()), [size - 1]);
            assert_eq!(holding(&mix.none()), Vec::<usize>::new());
        }
    }

    #[test]
    fn the_filter_decides_as_the_plain_reading_of_the_rules_does() {
        for size in SIZES {
            let mix = Mix::new(size);
            let policy = mix.policy();
            let mut lanes = std::collections::BTreeMap::new();
            for seed in 0..2_000 {
                let request = mix.any(seed);
                let lane = mix.lane_of(&request);
                assert_eq!(crate::operations::lane_of(&policy, &request.headers()), lane, "{size} rules, {request:?}");
                *lanes.entry(lane).or_insert(0) += 1;
            }
            assert!(lanes.len() > 1, "the requests of {size} rules exercise nothing: {lanes:?}");
        }
    }
}
