//! Our readers against well-kept ones, and against arbitrary bytes.
#![cfg(not(target_arch = "wasm32"))]

mod support;

use graylane_policy::{Policy, baggage, cookie, query, ring, trace};
use proptest::prelude::*;
use serde_json::json;
use support::{Request, document, is, policy};

proptest! {
    #[test]
    fn queries_are_read_as_the_url_standard_reads_them(text in "[a-c=&+%;0-9A-F#?]{0,40}", key in "[a-c +%=]{1,3}") {
        let query = text.split('#').next().unwrap();
        let expected = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| *name == *key);
        let ours = query::first(query.as_bytes(), key.as_bytes());
        let ours = ours.map(|value| String::from_utf8_lossy(&value).into_owned());
        // The reference replaces bytes that are no text; a key that has such bytes is left to ours.
        let expected = expected.map(|(_, value)| value.into_owned());
        if !query.contains('%') || expected.is_some() {
            prop_assert_eq!(ours, expected);
        }
    }

    #[test]
    fn cookies_are_read_as_servers_read_them(header in "[a-c=; \t\"]{0,40}", name in "[a-c]{1,2}") {
        let expected = cookie::first(header.as_bytes(), name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned());
        let reference = ::cookie::Cookie::split_parse(header.as_str())
            .filter_map(Result::ok)
            .find(|cookie| cookie.name() == name)
            .map(|cookie| cookie.value().to_owned());
        prop_assert_eq!(expected, reference);
    }

    #[test]
    fn replacing_our_member_leaves_the_others_alone(others in prop::collection::vec("[a-z]{1,4}=[a-z0-9%]{0,6}(;p=1)?", 0..5), at in 0_usize..6) {
        let mut members = others.clone();
        members.insert(at.min(others.len()), "graylane.shop=old;cohort=slot".into());
        let header = members.join(",");
        let replaced = baggage::replace(header.as_bytes(), b"graylane.shop", Some("graylane.shop=new"));
        let expected: Vec<String> = others.iter().cloned().chain(["graylane.shop=new".to_owned()]).collect();
        prop_assert_eq!(String::from_utf8(replaced.clone()).unwrap(), expected.join(","));
        let value = baggage::first(&replaced, b"graylane.shop").unwrap().value.into_owned();
        prop_assert_eq!(value, b"new".to_vec());
        prop_assert_eq!(baggage::replace(&replaced, b"graylane.shop", None), others.join(",").into_bytes());
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        query::first(&bytes, b"k");
        query::of_path(&bytes);
        cookie::first(&bytes, b"k");
        baggage::first(&bytes, b"k");
        baggage::replace(&bytes, b"k", Some("k=v"));
        trace::from_traceparent(&bytes);
        trace::from_b3(&bytes);
        trace::from_b3_trace_id(&bytes);
        trace::from_request_id(&bytes);
        ring::Note::decode(&bytes);
        prop_assert!(Policy::parse(&bytes).is_err());
    }

    #[test]
    fn no_request_makes_a_decision_panic(
        value in prop::collection::vec(any::<u8>(), 0..80),
        path in prop::collection::vec(any::<u8>(), 0..80),
        authority in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        for role in ["gateway", "inbound", "outbound"] {
            let policy = every_field(role);
            let request = ["x-release-stage", "x-graylane-cohort", "x-graylane-route", "baggage", "cookie", "traceparent", "h"]
                .iter()
                .fold(Request::default().with(":authority", &authority).with(":path", &path), |request, name| request.with(name, &value));
            request.decide(&policy);
        }
    }

    #[test]
    fn independent_rules_may_stand_in_any_order(order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(), value in 0_usize..8) {
        // Each rule asks for another value of one header, so at most one of them can hold.
        let rules: Vec<_> = order.iter().map(|n| json!({
            "name": format!("r{n}"), "lane": if n % 2 == 0 { "canary" } else { "v2" },
            "when": is(json!({"header": "h"}), if n % 3 == 0 { json!({"prefix": format!("value-{n}")}) } else { json!({"exact": format!("value-{n}")}) }),
        })).collect();
        let shuffled = policy(&document("gateway", json!({"rules": rules})));
        let lane = Request::to("orders").with("h", format!("value-{value}")).lane(&shuffled).to_owned();
        let expected = if value >= 6 { "stable" } else if value % 2 == 0 { "canary" } else { "v2" };
        prop_assert_eq!(lane, expected);
    }
}

/// A policy that touches every reader.
fn every_field(role: &str) -> Policy {
    let fields = [
        json!({"query": "k"}),
        json!({"cookie": "k"}),
        json!({"baggage": "k"}),
        json!({"header": "h"}),
        json!("path"),
        json!("host"),
    ];
    let operators = [
        json!({"regex": "a+b"}),
        json!({"range": {"min": 0}}),
        json!({"semver": ">1"}),
        json!({"suffix": "z"}),
        json!({"prefix": "q"}),
    ];
    let pairs = fields.iter().flat_map(|field| operators.iter().map(move |operator| (field, operator)));
    let rules: Vec<_> = pairs
        .enumerate()
        .map(|(at, (field, operator))| json!({"name": format!("r{at}"), "lane": "canary", "when": is(field.clone(), operator.clone())}))
        .collect();
    let mut document = document(role, json!({"rules": rules, "stickiness": {"unit": [{"cookie": "u"}]}}));
    document["groups"][0]["baggage"] = json!(true);
    document["groups"][0]["lanes"]["trace"] = json!({"workloads": ["*"]});
    policy(&document)
}

#[test]
fn trace_ids_are_read_by_their_conventions() {
    let id = "0af7651916cd43dd8448eb211c80319c";
    let whole = trace::from_traceparent(format!("00-{id}-b7ad6b7169203331-01").as_bytes()).expect("valid");
    assert_eq!(trace::from_b3(format!("{id}-b7ad6b7169203331-1").as_bytes()), Some(whole));
    assert_eq!(trace::from_b3_trace_id(id.as_bytes()), Some(whole));
    assert_eq!(
        trace::from_request_id(b"0af76519-16cd-03dd-8448-eb211c80319c"),
        trace::from_b3_trace_id(b"0af7651916cd03dd8448eb211c80319c")
    );
    for sampled in [b"0af76519-16cd-93dd-8448-eb211c80319c", b"0af76519-16cd-43dd-8448-eb211c80319c"] {
        assert_eq!(trace::from_request_id(sampled), trace::from_request_id(b"0af76519-16cd-a3dd-8448-eb211c80319c"));
    }
    let bad = [
        format!("00-{id}-b7ad6b7169203331"),
        format!("ff-{id}-b7ad6b7169203331-01"),
        format!("00-{id}-0000000000000000-01"),
        format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
        format!("00-{}-b7ad6b7169203331-01", id.to_uppercase()),
        format!("00-{id}-b7ad6b7169203331-01-more"),
        String::new(),
    ];
    for value in bad {
        assert_eq!(trace::from_traceparent(value.as_bytes()), None, "{value}");
    }
    assert!(
        trace::from_traceparent(format!("01-{id}-b7ad6b7169203331-01-more").as_bytes()).is_some(),
        "later versions may add parts"
    );
    assert_eq!(trace::from_b3(b"0"), None, "a bare sampling state");
}
