//! The reader of documents against serde's derive on the same types: whatever the text, both refuse it
//! or both read the same value. So a tool that reads a document in serde's way and the filter agree.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::read;
use crate::ConfigError;
use crate::raw::RawConfig;

/// A document with every member and every variant in it.
fn whole() -> Value {
    let fields = json!([
        {"header": "x-a"}, {"grpcMetadata": "x-b"}, {"query": "q"}, {"cookie": "c"}, "path", "method", "host",
        {"claim": "sub.x"}, "peer", {"baggage": "b"}, {"marker": "release"}
    ]);
    let operators = json!([
        {"exact": "a"}, {"prefix": "b"}, {"suffix": "c"}, {"contains": "d"}, {"in": ["e", "f"]}, "present", "absent",
        {"regex": "g+"}, {"range": {"min": -1.5, "max": 2e3}}, {"range": {"min": 7}}, {"semver": ">=1.4, <2"}
    ]);
    let matches: Vec<Value> = fields
        .as_array()
        .unwrap()
        .iter()
        .zip(operators.as_array().unwrap())
        .map(|(field, operator)| json!({"match": {"field": field, "is": operator}}))
        .collect();
    json!({
        "version": 1, "generation": 18_446_744_073_709_551_615_u64, "role": "inbound", "entryOnly": false,
        "groups": [{
            "name": "shop", "rollout": "shop/summer", "carriedHeader": "x-stage", "baggage": true,
            "clientMarks": "peers",
            "entry": {
                "markers": [{"name": "release", "from": [{"header": "x-release"}, {"query": "release"}]}],
                "rules": [
                    {"name": "r", "lane": "canary", "when": {"all": [{"any": matches}, {"not": {"percent": 500}}]},
                     "fromUnix": 1, "untilUnix": 2},
                    {"name": "s", "lane": "stable", "when": {"percent": 1}}
                ],
                "slots": {"salt": "s", "runs": [{"until": 500, "lane": "canary"}, {"until": 10_000, "lane": "stable"}],
                          "expiresUnix": 3},
                "stickiness": {"unit": fields, "noUnit": "cookie",
                    "cookie": {"name": "u", "maxAgeSeconds": 60, "path": "/x", "secure": true, "sameSite": "strict"}},
                "claims": {"filter": "f", "key": "k"}
            },
            "brake": {"evidence": 20_000, "attempt": "s", "released": 4},
            "drainAfterMs": 30_000,
            "lanes": {
                "names": ["canary"],
                "destinations": [{"service": "o.shop", "hosts": ["o"], "ready": ["canary"], "routeBy": "carried",
                                  "slowOverMs": [250]}],
                "trace": {"workloads": ["*"], "ttlMs": 5000}
            }
        }]
    })
}

/// Both readers on one text. `None` when both refuse it.
fn both(text: &[u8]) -> Result<Option<RawConfig>, String> {
    let derived = serde_json::from_slice::<RawConfig>(text);
    let ours = read(text);
    match (derived, ours) {
        (Ok(derived), Ok(ours)) if derived == ours => Ok(Some(ours)),
        (Err(_), Err(ConfigError::Shape { path, .. })) if !path.is_empty() => Ok(None),
        // serde's derive also reads an object from the list of its members' values. Nobody writes
        // documents so, and a list in the place of an object is more likely a mistake.
        (Ok(_), Err(error)) if error.to_string().contains("expected an object, found a list") => Ok(None),
        (derived, ours) => Err(format!("{}\nserde: {derived:?}\nours: {ours:?}", String::from_utf8_lossy(text))),
    }
}

#[test]
fn a_document_with_everything_reads_the_same() {
    let text = whole().to_string();
    assert!(both(text.as_bytes()).unwrap().is_some());
    let spaced = serde_json::to_string_pretty(&whole()).unwrap().replace('\n', "\r\n\t");
    assert_eq!(both(spaced.as_bytes()).unwrap(), both(text.as_bytes()).unwrap());
    let minimal = json!({"version": 1, "generation": 2, "role": "gateway", "groups": [
        {"name": "a", "rollout": "n/a", "lanes": {"names": []}, "entry": {"stickiness": {"cookie": {}}, "claims": {}}}
    ]});
    assert!(both(minimal.to_string().as_bytes()).unwrap().is_some());
}

#[test]
fn every_member_left_out_or_doubled_or_changed_reads_the_same() {
    let text = whole().to_string();
    let strange = [
        "null",
        "true",
        "0",
        "-1",
        "-0",
        "1.0",
        "1e2",
        "4294967296",
        "20000000000000000000",
        "\"\"",
        "{}",
        "\"canary\"",
        "{\"x\":1}",
        "{\"path\":null}",
        "{\"percent\":1}",
        "[]",
        "[0]",
        "1e999",
        "01",
        "1.",
        "+1",
        ".5",
        "nul",
        "{\"header\":\"a\",\"query\":\"b\"}",
        "\"header\"",
        "{\"present\":1}",
        "{\"cookie\":null}",
    ];
    for path in places(&whole()) {
        for value in strange {
            both(changed(&text, &path, value).as_bytes()).unwrap();
        }
    }
    for (member, twice) in [
        ("\"version\":1", "\"version\":1,\"version\":1"),
        ("\"lane\":\"canary\",", ""),
        ("\"until\":500", "\"until\":500,\"till\":5"),
        ("\"version\"", "\"\\u0076ersion\""),
    ] {
        both(text.replacen(member, twice, 1).as_bytes()).unwrap();
    }
}

#[test]
fn texts_are_decoded_the_same() {
    let document = |text: &str| {
        json!({"version": 1, "generation": 2, "role": "gateway", "groups": [
            {"name": "TEXT", "rollout": "n/a", "lanes": {"names": []}}]})
        .to_string()
        .replace("TEXT", text)
    };
    let good =
        ["", "a b", "\\\"\\\\\\/\\b\\f\\n\\r\\t", "\\u00e9\\u20AC", "é€😀", "\\ud83d\\ude00", "\\u0000", "\u{7f}"];
    for text in good {
        assert!(both(document(text).as_bytes()).unwrap().is_some(), "{text}");
    }
    let bad = ["\\x", "\\u12", "\\u12g4", "\\ud83d", "\\ud83dx", "\\ud83d\\u0041", "\\ude00", "\n", "\u{1}", "\\"];
    for text in bad {
        assert!(both(document(text).as_bytes()).unwrap().is_none(), "{text}");
    }
    let mut bytes = document("@").into_bytes();
    let at = bytes.iter().position(|&byte| byte == b'@').unwrap();
    bytes[at] = 0xff;
    assert!(both(&bytes).unwrap().is_none());
}

#[test]
fn depth_is_limited_the_same() {
    for depth in [1, 10, 59, 60, 61, 62, 63, 64, 100, 5_000] {
        let when = format!("{}{{\"percent\":1}}{}", "{\"not\":".repeat(depth * 2), "}".repeat(depth * 2));
        let text = json!({"version": 1, "generation": 2, "role": "gateway", "groups": [
            {"name": "a", "rollout": "n/a", "lanes": {"names": []},
             "entry": {"rules": [{"name": "r", "lane": "stable", "when": "WHEN"}]}}]});
        both(text.to_string().replace("\"WHEN\"", &when).as_bytes()).unwrap();
    }
}

#[test]
fn an_error_names_the_first_value_that_does_not_fit() {
    let text = whole().to_string();
    let cases = [
        ("\"version\":1", "\"version\":\"one\"", "version"),
        ("\"inbound\"", "\"inbund\"", "role"),
        ("\"until\":500", "\"until\":-5", "groups[0].entry.slots.runs[0].until"),
        ("{\"exact\":\"a\"}", "{\"exact\":5}", "groups[0].entry.rules[0].when.all[0].any[0].match.is.exact"),
        ("\"service\":\"o.shop\",", "", "groups[0].lanes.destinations[0]"),
        ("\"hosts\"", "\"hsots\"", "groups[0].lanes.destinations[0].hsots"),
    ];
    for (good, bad, wanted) in cases {
        let text = text.replacen(good, bad, 1);
        let Err(ConfigError::Shape { path, .. }) = read(text.as_bytes()) else { panic!("accepted: {bad}") };
        assert_eq!(path, wanted, "{bad}");
    }
    let error = read(b"{\n  \"version\": 1,\n  \"groups\": 5}").unwrap_err().to_string();
    assert!(error.contains("groups") && error.contains("line 3 column 13"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_damaged_document_reads_the_same(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4), marks in "[\\[\\]{},:\"0-9a-z\\\\ -]{0,6}") {
        let mut text = whole().to_string();
        for (from, to) in cuts {
            let (from, to) = (from.index(text.len()), to.index(12));
            text.replace_range(from..(from + to).min(text.len()), &marks);
        }
        prop_assert!(both(text.as_bytes()).is_ok(), "{}", both(text.as_bytes()).unwrap_err());
    }

    #[test]
    fn any_bytes_read_the_same(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(both(&bytes).is_ok());
    }
}

/// Pointers to every value of a document.
fn places(value: &Value) -> Vec<String> {
    let below = |key: String, value: &Value| {
        places(value).into_iter().map(move |rest| format!("/{key}{rest}")).collect::<Vec<_>>()
    };
    let mut all = vec![String::new()];
    match value {
        Value::Object(members) => all.extend(members.iter().flat_map(|(key, value)| below(key.clone(), value))),
        Value::Array(items) => {
            all.extend(items.iter().enumerate().flat_map(|(at, value)| below(at.to_string(), value)))
        }
        _ => {}
    }
    all
}

/// The document with other text in the place of one value.
fn changed(text: &str, path: &str, value: &str) -> String {
    let mut document: Value = serde_json::from_str(text).unwrap();
    *document.pointer_mut(path).unwrap() = json!("PLACE");
    document.to_string().replacen("\"PLACE\"", value, 1)
}
