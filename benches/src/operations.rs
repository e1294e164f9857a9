//! The operations of the core that are measured, by wall clock (criterion) and by instructions
//! (callgrind). Each asserts its answer every time it runs.

use std::collections::BTreeMap;
use std::hint::black_box;

use graylane_filter::pairs;
use graylane_policy::slots::{self, SlotTable};
use graylane_policy::vacant::Vacant;
use graylane_policy::{Inputs, Policy, baggage, cookie, hash, query, trace};

use crate::mix::{Mix, Request, SIZES};

/// One operation, named `group/operation/size`.
pub struct Operation {
    /// The name.
    pub name: String,
    /// Builds what it needs, and gives what does it once.
    pub prepare: Box<dyn FnOnce() -> Box<dyn FnMut()>>,
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Operation> {
    let mut all = Vec::new();
    for size in SIZES {
        all.push(decide(&format!("decide/last/{size}"), size, Mix::last));
        all.push(decide(&format!("decide/none/{size}"), size, Mix::none));
        all.push(parse(&format!("configure/parse/{size}"), size));
    }
    all.extend([capture(16), capture(100)]);
    all.extend([evolve("2way", &[("canary", 2_500)]), evolve("4way", &[("a", 500), ("b", 2_000), ("c", 4_000)])]);
    all.extend([cookies("60B", 0), cookies("60kB", 60_000), queries("60B", 0), queries("16kB", 16_000)]);
    all.extend(formats());
    all
}

/// The lane that a policy puts a request in, in its first group.
#[must_use]
pub fn lane_of<'p>(policy: &'p Policy, headers: &[(&'static str, String)]) -> &'p str {
    decide_encoded(policy, &encode(headers))
}

/// Pairs as a host hands them to a filter.
pub fn encode_pairs<'p>(headers: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone) -> Vec<u8> {
    pairs::encode(headers)
}

fn encode(headers: &[(&'static str, String)]) -> Vec<u8> {
    encode_pairs(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

/// What the shell does between the two host calls: read the pairs in place, decide.
fn decide_encoded<'p>(policy: &'p Policy, encoded: &[u8]) -> &'p str {
    let captured = policy.capture(pairs::iter(encoded));
    let decision = policy.decide(&Inputs {
        headers: &captured,
        now_unix_ms: 1_000_000,
        random: [0; 2],
        peer: None,
        claims: &[],
        pod: None,
        workload: "orders",
        note: None,
        tags: &[],
        braked: &[],
        vacant: &Vacant::default(),
    });
    match (decision.choices.first(), policy.groups().first()) {
        (Some(choice), Some(group)) => group.lane_name(choice.lane),
        _ => "stable",
    }
}

fn operation<R: FnMut() + 'static>(name: &str, prepare: impl FnOnce() -> R + 'static) -> Operation {
    Operation { name: name.to_owned(), prepare: Box::new(|| Box::new(prepare())) }
}

fn decide(name: &str, size: usize, request: fn(&Mix) -> Request) -> Operation {
    operation(name, move || {
        let mix = Mix::new(size);
        let request = request(&mix);
        let (policy, encoded, lane) = (mix.policy(), encode(&request.headers()), mix.lane_of(&request));
        move || assert_eq!(decide_encoded(&policy, black_box(&encoded)), lane)
    })
}

fn parse(name: &str, size: usize) -> Operation {
    operation(name, move || {
        let json = Mix::new(size).deciding().to_string().into_bytes();
        move || assert!(Policy::parse(black_box(&json)).is_ok_and(|policy| !policy.is_inert()))
    })
}

fn capture(count: usize) -> Operation {
    operation(&format!("capture/headers/{count}"), move || {
        let policy = Mix::new(10).policy();
        let names: Vec<String> = (0..count).map(|at| format!("x-other-{at}")).collect();
        let encoded = pairs::encode(names.iter().map(|name| (name.as_bytes(), &b"some value"[..])));
        move || {
            let captured = policy.capture(pairs::iter(black_box(&encoded)));
            assert!(!policy.is_grpc(&captured));
        }
    })
}

fn evolve(ways: &str, weights: &'static [(&str, u32)]) -> Operation {
    operation(&format!("slots/evolve/{ways}"), move || {
        let weights: BTreeMap<String, u32> =
            weights.iter().map(|(lane, weight)| ((*lane).to_owned(), *weight)).collect();
        let wanted: u32 = weights.values().sum();
        move || {
            let table = slots::evolve(&SlotTable::all_stable(), black_box(&weights));
            assert_eq!(table.ok().and_then(|table| table.weights().get("stable").copied()), Some(10_000 - wanted));
        }
    })
}

fn cookies(size: &str, ballast: usize) -> Operation {
    operation(&format!("cookie/first/{size}"), move || {
        let header = format!("session=4f1c9ab27d5e4f3c8a6b; theme={}; beta=yes", "d".repeat(ballast));
        move || assert_eq!(cookie::first(black_box(header.as_bytes()), b"beta"), Some(&b"yes"[..]))
    })
}

fn queries(size: &str, ballast: usize) -> Operation {
    operation(&format!("query/first/{size}"), move || {
        let query = format!("page=2&sort=asc&filter={}&env=gr%61y", "%2B".repeat(ballast / 3));
        move || assert_eq!(query::first(black_box(query.as_bytes()), b"env").as_deref(), Some(&b"gray"[..]))
    })
}

fn formats() -> Vec<Operation> {
    let baggage_header = "userId=alice,serverNode=DF%2028,graylane.shop=canary;cohort=slot,isProduction=false";
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    vec![
        operation("baggage/first/80B", move || {
            move || {
                let member = baggage::first(black_box(baggage_header.as_bytes()), b"graylane.shop");
                assert!(member.is_some_and(|member| *member.value == *b"canary"));
            }
        }),
        operation("trace/traceparent/55B", move || {
            move || assert!(trace::from_traceparent(black_box(traceparent.as_bytes())).is_some())
        }),
        operation("hash/slot_of/10B", || {
            || assert!(hash::slot_of(black_box(b"u-81726354"), black_box("shop/summer#1")) < 10_000)
        }),
    ]
}
