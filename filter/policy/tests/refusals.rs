//! Bad documents: every problem is told, each with its place and the mend.

mod support;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use graylane_policy::{ConfigError, Policy};
use serde_json::{Value, json};
use support::{document, is, plain, rule};

fn refusal(document: &Value) -> ConfigError {
    Policy::parse(document.to_string().as_bytes()).err().unwrap_or_else(|| panic!("accepted: {document}"))
}

fn paths(document: &Value) -> Vec<String> {
    refusal(document).problems().iter().map(|problem| problem.path.clone()).collect()
}

#[test]
fn a_shape_error_names_the_first_place() {
    let mut typo = plain("gateway");
    typo["groups"][0]["lanes"]["destinations"][0]["hsots"] = json!([]);
    let text = refusal(&typo).to_string();
    assert!(text.contains("groups[0].lanes.destinations[0]") && text.contains("hsots"), "{text}");
    let ConfigError::Shape { path, .. } = refusal(&json!({"version": "1"})) else { panic!("a shape error") };
    assert_eq!(path, "version");
    assert!(Policy::parse(b"").is_err() && Policy::parse(b"{").is_err() && Policy::parse(&[0xff]).is_err());
}

#[test]
fn all_semantic_problems_are_told_together() {
    let mut bad = document(
        "outbound",
        json!({
            "rules": [
                {"name": "a", "lane": "nope", "when": is(json!({"claim": "tier"}), json!("present"))},
                {"name": "a", "lane": "canary", "when": is(json!({"header": "no good"}), json!({"regex": "("}))},
            ],
            "slots": {"salt": "", "runs": [{"until": 5, "lane": "canary"}]}
        }),
    );
    bad["groups"][0]["name"] = json!("Shop");
    bad["groups"][0]["lanes"]["destinations"][0]["ready"] = json!(["later"]);
    let base = "groups[0].entry";
    assert_eq!(
        paths(&bad),
        [
            "groups[0].name".to_owned(),
            format!("{base}.rules[0].lane"),
            format!("{base}.rules[0].when.match.field"),
            format!("{base}.rules[1].name"),
            format!("{base}.rules[1].when.match.field"),
            format!("{base}.rules[1].when.match.is.regex"),
            format!("{base}.slots.salt"),
            format!("{base}.slots.runs"),
            "groups[0].lanes.destinations[0].ready[0]".into(),
        ]
    );
}

#[test]
fn each_problem_says_what_is_wrong_and_how_to_mend_it() {
    let text =
        refusal(&document("gateway", json!({"rules": [{"name": "a", "lane": "nope", "when": {"percent": 20_000}}]})))
            .to_string();
    assert!(text.contains("the group has no lane `nope`") && text.contains("use one of stable, canary, v2"), "{text}");
    assert!(text.contains("20000 of 10000 units") && text.contains("500 is 5%"), "{text}");
}

/// One change to a good document, and where the problem is told.
fn refused_at(path: &str, change: impl Fn(&mut Value)) {
    let mut document = document("gateway", rule(is(json!({"header": "h"}), json!("present"))));
    change(&mut document);
    assert_eq!(paths(&document), [path], "{document}");
}

#[test]
fn the_document_itself_is_checked() {
    refused_at("version", |d| d["version"] = json!(2));
    refused_at("entryOnly", |d| d["entryOnly"] = json!(true));
    refused_at("groups[0].rollout", |d| d["groups"][0]["rollout"] = json!("a b"));
    refused_at("groups[0].carriedHeader", |d| d["groups"][0]["carriedHeader"] = json!("x-graylane-route"));
    refused_at("groups[0].carriedHeader", |d| d["groups"][0]["carriedHeader"] = json!(":path"));
    for taken in [
        "Content-Length",
        "connection",
        "authorization",
        "x-forwarded-for",
        "x-envoy-max-retries",
        "grpc-timeout",
        "b3",
    ] {
        refused_at("groups[0].carriedHeader", |d| d["groups"][0]["carriedHeader"] = json!(taken));
    }
    refused_at("groups[0].lanes.names[2]", |d| d["groups"][0]["lanes"]["names"] = json!(["canary", "v2", "stable"]));
    refused_at("groups[0].lanes.names[2]", |d| d["groups"][0]["lanes"]["names"] = json!(["canary", "v2", "v2"]));
    refused_at("groups[0].lanes.trace.workloads", |d| d["groups"][0]["lanes"]["trace"] = json!({"workloads": []}));
    refused_at("groups[0].lanes.destinations[0].hosts", |d| {
        d["groups"][0]["lanes"]["destinations"][0]["hosts"] = json!([])
    });
    refused_at("groups[0].lanes.destinations[0].hosts[0]", |d| {
        d["groups"][0]["lanes"]["destinations"][0]["hosts"] = json!(["a b"])
    });
    refused_at("groups[0].lanes.destinations[0].slowOverMs", |d| {
        d["groups"][0]["lanes"]["destinations"][0]["slowOverMs"] = json!([0])
    });
}

#[test]
fn the_entry_is_checked() {
    let entry = |d: &mut Value, name: &str, value: Value| d["groups"][0]["entry"][name] = value;
    let when = |d: &mut Value, value: Value| d["groups"][0]["entry"]["rules"][0]["when"] = value;
    let at = "groups[0].entry.rules[0].when";
    refused_at(&format!("{at}.all"), |d| when(d, json!({"all": []})));
    refused_at(&format!("{at}.percent"), |d| {
        entry(d, "stickiness", json!({"unit": [{"header": "u"}]}));
        when(d, json!({"percent": 0}));
    });
    refused_at(&format!("{at}.percent"), |d| when(d, json!({"percent": 100})));
    refused_at(&format!("{at}.match.field"), |d| when(d, is(json!({"marker": "none"}), json!("present"))));
    refused_at(&format!("{at}.match.is.in"), |d| when(d, is(json!({"header": "h"}), json!({"in": []}))));
    refused_at(&format!("{at}.match.is.prefix"), |d| when(d, is(json!({"header": "h"}), json!({"prefix": ""}))));
    refused_at(&format!("{at}.match.is.range"), |d| when(d, is(json!({"header": "h"}), json!({"range": {}}))));
    refused_at(&format!("{at}.match.is.range"), |d| {
        when(d, is(json!({"header": "h"}), json!({"range": {"min": 2, "max": 1}})))
    });
    refused_at(&format!("{at}.match.is.semver"), |d| when(d, is(json!({"header": "h"}), json!({"semver": "new"}))));
    refused_at(&format!("{at}.match.is.regex"), |d| {
        when(d, is(json!({"header": "h"}), json!({"regex": "a".repeat(257)})))
    });
    refused_at(&format!("{at}.match.is.regex"), |d| {
        // It would be whole only together with the group that makes it match the whole value.
        when(d, is(json!({"header": "h"}), json!({"regex": "a)|(?:b"})))
    });
    refused_at(&format!("{at}.match.field"), |d| when(d, is(json!({"header": "Host"}), json!("present"))));
    refused_at("groups[0].entry.rules[0].untilUnix", |d| {
        d["groups"][0]["entry"]["rules"][0]["fromUnix"] = json!(5);
        d["groups"][0]["entry"]["rules"][0]["untilUnix"] = json!(5);
    });
    refused_at("groups[0].entry.slots.runs[0].lane", |d| {
        entry(d, "slots", json!({"salt": "s", "runs": [{"until": 10_000, "lane": "x"}]}))
    });
    refused_at("groups[0].entry.stickiness.cookie.sameSite", |d| {
        entry(d, "stickiness", json!({"noUnit": "cookie", "cookie": {"sameSite": "none"}}));
    });
    refused_at("groups[0].entry.markers[0].from[0]", |d| {
        entry(d, "markers", json!([{"name": "m", "from": [{"marker": "x"}]}]))
    });
}

#[test]
fn a_host_and_a_header_mean_one_thing_on_a_proxy() {
    let mut two = plain("gateway");
    let mut other = two["groups"][0].clone();
    other["name"] = json!("pay");
    other["lanes"]["destinations"][0]["service"] = json!("pay.pay");
    other["lanes"]["destinations"][0]["hosts"] = json!(["ORDERS"]);
    two["groups"].as_array_mut().unwrap().push(other);
    assert_eq!(paths(&two), ["groups[1].carriedHeader", "groups[1].lanes.destinations[0].hosts[0]"]);
}

#[test]
fn nesting_is_bounded() {
    let mut when = is(json!("path"), json!("present"));
    for _ in 0..20 {
        when = json!({"not": when});
    }
    let error = refusal(&document("gateway", rule(when)));
    assert!(error.to_string().contains("nest deeper"), "{error}");
}

#[test]
fn an_expression_that_would_grow_without_bound_is_refused() {
    let error =
        refusal(&document("gateway", rule(is(json!({"header": "h"}), json!({"regex": "(((a{99}){99}){99}){99}"})))));
    assert_eq!(error.problems().len(), 1, "{error}");
}

#[test]
fn a_brake_that_makes_no_sense_is_refused_with_its_mend() {
    let mut bad = plain("inbound");
    bad["groups"][0]["brake"] = json!({"evidence": 19, "attempt": ""});
    let base = "groups[0].brake";
    assert_eq!(paths(&bad), [format!("{base}.evidence"), format!("{base}.attempt"), base.to_owned()]);
    let mut good = plain("outbound");
    good["groups"][0]["brake"] = json!({"evidence": 20, "attempt": "shop/summer#1", "released": 3});
    assert!(Policy::parse(good.to_string().as_bytes()).is_ok());
}
