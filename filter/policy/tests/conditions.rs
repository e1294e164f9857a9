//! Every field and every operator, through a whole policy.

mod support;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use serde_json::{Value, json};
use support::{Request, document, is, policy, rule};

/// Whether a gateway rule with this condition holds for a request.
fn holds(when: &Value, request: &Request) -> bool {
    let mut entry = rule(when.clone());
    entry["stickiness"] = json!({"unit": [{"header": "x-user-id"}]});
    request.lane(&policy(&document("gateway", entry))) == "canary"
}

fn get() -> Request {
    Request::to("shop.example.com")
}

#[test]
fn each_field_is_read_where_it_stands() {
    let request = get()
        .path("/checkout/cart?env=gray&v=1%2B2#frag")
        .with("x-user-group", "beta")
        .with("cookie", "a=1; plan=gold")
        .with("baggage", "k=a%20b;p=1,other=2");
    let cases = [
        (json!({"header": "X-User-Group"}), "beta"),
        (json!({"query": "env"}), "gray"),
        (json!({"query": "v"}), "1+2"),
        (json!({"cookie": "plan"}), "gold"),
        (json!("path"), "/checkout/cart"),
        (json!("method"), "GET"),
        (json!("host"), "shop.example.com"),
        (json!({"baggage": "k"}), "a b"),
    ];
    for (field, value) in cases {
        assert!(holds(&is(field.clone(), json!({"exact": value})), &request), "{field} is {value}");
        assert!(!holds(&is(field.clone(), json!({"exact": format!("{value}x")})), &request), "{field} is not {value}x");
    }
}

#[test]
fn each_operator_tells_its_values_from_others() {
    let cases = [
        (json!({"exact": "v1"}), vec!["v1"], vec!["V1", "v", "v11", ""]),
        (json!({"prefix": "be"}), vec!["be", "beta"], vec!["abe", "b", ""]),
        (json!({"suffix": "ta"}), vec!["ta", "beta"], vec!["tab", "a", ""]),
        (json!({"contains": "et"}), vec!["beta", "et"], vec!["bea", ""]),
        (json!({"in": ["a", "b"]}), vec!["a", "b"], vec!["ab", "c", ""]),
        (json!("present"), vec!["", "x"], vec![]),
        (json!({"regex": "be(ta|st)[0-9]*"}), vec!["beta", "best42"], vec!["xbeta", "betax", ""]),
        (
            json!({"range": {"min": 10, "max": 20}}),
            vec!["10", "20", "15.5", "1e1"],
            vec!["9", "20.1", "x", "", "NaN", " 15", "inf"],
        ),
        (json!({"range": {"min": 5}}), vec!["5", "99999"], vec!["-5", "4.9"]),
        (
            json!({"semver": ">=1.4, <2"}),
            vec!["1.4.0", "v1.9.9", "1.4", "1.10"],
            vec!["1.3.9", "2.0.0", "1.5.0-rc.1", "x", "2"],
        ),
    ];
    for (operator, good, bad) in cases {
        let when = is(json!({"header": "h"}), operator.clone());
        for value in good {
            assert!(holds(&when, &get().with("h", value)), "{operator} holds for {value:?}");
        }
        for value in bad {
            assert!(!holds(&when, &get().with("h", value)), "{operator} does not hold for {value:?}");
        }
        assert!(!holds(&when, &get()), "{operator} does not hold for an absent header");
    }
    assert!(holds(&is(json!({"header": "h"}), json!("absent")), &get()));
    assert!(!holds(&is(json!({"header": "h"}), json!("absent")), &get().with("h", "")));
}

#[test]
fn bytes_that_are_no_text_are_compared_as_bytes() {
    let request = get().with("h", [0xff, b'a', 0xfe]);
    assert!(holds(&is(json!({"header": "h"}), json!({"contains": "a"})), &request));
    assert!(holds(&is(json!({"header": "h"}), json!({"regex": ".a."})), &request), "Latin-1, as in Envoy");
    assert!(!holds(&is(json!({"header": "h"}), json!({"exact": "\u{ff}a\u{fe}"})), &request));
}

#[test]
fn all_any_and_not_combine() {
    let a = is(json!({"header": "a"}), json!("present"));
    let b = is(json!({"header": "b"}), json!("present"));
    let both = get().with("a", "").with("b", "");
    let one = get().with("a", "");
    assert!(holds(&json!({"all": [a, b]}), &both) && !holds(&json!({"all": [a, b]}), &one));
    assert!(holds(&json!({"any": [a, b]}), &one) && !holds(&json!({"any": [a, b]}), &get()));
    assert!(holds(&json!({"not": b}), &one) && !holds(&json!({"not": b}), &both));
}

#[test]
fn percent_picks_its_share_of_units_and_always_the_same() {
    let when = json!({"percent": 2500});
    let picked = |user: usize| holds(&when, &get().with("x-user-id", format!("user-{user}")));
    let first: Vec<bool> = (0..400).map(picked).collect();
    assert_eq!(first, (0..400).map(picked).collect::<Vec<_>>());
    let share = first.iter().filter(|&&picked| picked).count();
    assert!((60..=140).contains(&share), "about a quarter of 400: {share}");
    assert!(!holds(&when, &get()), "nobody is no unit");
}

#[test]
fn claims_and_peers_count_where_envoy_verified_them() {
    let claim = policy(&document("gateway", rule(is(json!({"claim": "org.tenant"}), json!({"exact": "acme"})))));
    let path = &claim.claims()[0];
    assert_eq!(path.join("/"), "metadata/filter_metadata/envoy.filters.http.jwt_authn/payload/org/tenant");
    let request = Request { claims: vec![Some(b"acme".to_vec())], ..get() };
    assert_eq!(request.lane(&claim), "canary");
    assert_eq!(get().with("org.tenant", "acme").lane(&claim), "stable");

    let spiffe = "spiffe://cluster.local/ns/shop/sa/web";
    let peer =
        policy(&document("inbound", rule(is(json!("peer"), json!({"prefix": "spiffe://cluster.local/ns/shop/"})))));
    assert!(peer.needs_peer());
    assert_eq!(Request { peer: Some(spiffe.into()), ..get() }.lane(&peer), "canary");
    assert_eq!(get().lane(&peer), "stable");
}

#[test]
fn grpc_metadata_is_a_header_of_grpc_calls_only() {
    let when = is(json!({"grpcMetadata": "tenant"}), json!({"exact": "acme"}));
    let request = get().with("tenant", "acme");
    assert!(!holds(&when, &request));
    assert!(holds(&when, &request.with("content-type", "application/grpc+proto")));
}

#[test]
fn a_lower_source_never_overrides_a_higher_one() {
    let marker = json!([{"name": "tier", "from": [{"query": "tier"}, {"header": "x-tier"}, {"claim": "tier"}]}]);
    let mut entry = rule(is(json!({"marker": "tier"}), json!({"exact": "gold"})));
    entry["markers"] = marker;
    let policy = policy(&document("gateway", entry));
    let with = |claim: Option<&str>, header: Option<&str>, query: &str| {
        let request = get().path(format!("/?tier={query}"));
        let request = header.map_or(request.clone(), |value| request.with("x-tier", value));
        Request { claims: vec![claim.map(|value| value.as_bytes().to_vec())], ..request }.lane(&policy).to_owned()
    };
    assert_eq!(with(None, None, "gold"), "canary");
    assert_eq!(with(None, Some("silver"), "gold"), "stable", "the header outranks the query");
    assert_eq!(with(Some("gold"), Some("silver"), "silver"), "canary", "the claim outranks both");
    assert_eq!(with(Some("silver"), Some("gold"), "gold"), "stable");
}

#[test]
fn the_handbooks_markers_are_there_without_being_named() {
    let version = policy(&document("gateway", rule(is(json!({"marker": "version"}), json!({"exact": "2"})))));
    assert_eq!(get().path("/?version=2").lane(&version), "canary");
    assert_eq!(get().path("/?version=2").with("x-version", "1").lane(&version), "stable");
    let group = policy(&document("gateway", rule(is(json!({"marker": "group"}), json!({"exact": "beta"})))));
    assert_eq!(get().with("x-user-group", "beta").lane(&group), "canary");
    let tenant = policy(&document("outbound", rule(is(json!({"marker": "tenant"}), json!({"exact": "acme"})))));
    assert!(tenant.claims().is_empty(), "outbound has no claims, and the built-in marker makes do");
}

#[test]
fn a_rule_holds_within_its_time() {
    let mut entry = rule(is(json!("path"), json!("present")));
    entry["rules"][0]["fromUnix"] = json!(100);
    entry["rules"][0]["untilUnix"] = json!(200);
    let policy = policy(&document("gateway", entry));
    let at = |ms: u64| Request { now_unix_ms: ms, ..get() }.lane(&policy).to_owned();
    assert_eq!([at(99_999), at(100_000), at(199_999), at(200_000)], ["stable", "canary", "canary", "stable"]);
}

#[test]
fn the_first_rule_that_holds_wins_whatever_index_finds_it() {
    let rule = |name: &str, lane: &str, field: Value, operator: Value| json!({"name": name, "lane": lane, "when": is(field, operator)});
    let entry = json!({"rules": [
        rule("suffix", "v2", json!({"header": "h"}), json!({"suffix": "-x"})),
        rule("exact", "canary", json!({"header": "h"}), json!({"exact": "b-x"})),
        rule("prefix", "canary", json!({"header": "h"}), json!({"prefix": "b"})),
        rule("longer", "v2", json!({"header": "h"}), json!({"prefix": "b-"})),
    ]});
    let policy = policy(&document("gateway", entry));
    let chosen = |value: &str| {
        let request = get().with("h", value);
        let choice = request.decide(&policy).choices[0];
        choice.rule.and_then(|rule| policy.groups()[0].rule_name(rule)).map(str::to_owned)
    };
    assert_eq!(chosen("b-x").as_deref(), Some("suffix"));
    assert_eq!(chosen("b-y").as_deref(), Some("prefix"));
    assert_eq!(chosen("c"), None);
}
