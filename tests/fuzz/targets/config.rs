//! Documents of the filter: whatever comes, an answer or an error with a path; and a document that is
//! accepted decides every request.
#![no_main]

use graylane_policy::explain::{Request, explain};
use graylane_policy::{ConfigError, Policy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|document: &[u8]| {
    match Policy::parse(document) {
        Ok(policy) => {
            for request in requests() {
                let explained = explain(&policy, &request);
                assert_eq!(explained.groups.len(), policy.groups().len());
            }
        }
        Err(ConfigError::Shape { path, .. }) => assert!(!path.is_empty(), "a refusal says where"),
        Err(ConfigError::Semantic(problems)) => assert!(!problems.is_empty(), "a refusal says why"),
    }
});

fn requests() -> [Request; 2] {
    let plain = Request { method: "GET".into(), authority: "orders".into(), path: "/".into(), ..Request::default() };
    let headers = [
        ("x-user-group", &b"beta"[..]),
        ("x-user-id", b"user-1"),
        ("x-version", b"2.10.3"),
        ("x-release-stage", b"canary"),
        ("cookie", b"env=beta; graylane-unit=\xff"),
        ("baggage", b"graylane.shop=canary;cohort=slot"),
        ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let marked = Request {
        authority: "ORDERS.shop:8080".into(),
        path: "/pay?env=beta&version=%32".into(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        now_unix_ms: 1_790_000_000_000,
        ..plain.clone()
    };
    [plain, marked]
}
