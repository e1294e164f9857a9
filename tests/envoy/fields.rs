//! Every field and every operator, in a real Envoy, on each side that has them.

use anyhow::{Result, ensure};
use graylane_policy::raw::{RawCondition, RawConfig, RawEntry, RawField, RawOperator, RawRange, RawRule, Role};
use graylane_tests::client::{self, Answer, Ask, Connection, Protocol};
use graylane_tests::document::{matching, rule};
use graylane_tests::envoy::Envoy;
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, jwt, on_every_envoy, tls};

on_every_envoy!(
    every_field_and_operator_decides_on_every_side,
    conditions_combine_on_every_side,
    claims_count_once_envoy_has_verified_them,
    a_peer_is_known_by_its_certificate,
);

fn every_field_and_operator_decides_on_every_side(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_bootstrap("trust", without_baggage)?;
    let envoy = scenario.start()?;
    for (generation, role) in (2..).zip([Role::Gateway, Role::Inbound, Role::Outbound]) {
        let cases = cases();
        push(&scenario, &envoy, role, generation, cases.iter().map(Case::rule).collect())?;
        at_once(async {
            let mut connection = Connection::open(scenario.port(10000), Protocol::Http1).await?;
            for case in &cases {
                for (value, expected) in [(case.hit, true), (case.miss, false)] {
                    let text = words(&connection.send(&case.ask(value)).await?);
                    let marked = text.contains("x-release-stage: canary");
                    ensure!(marked == expected, "{role:?} {:?} {:?} with {value:?}: {text}", case.field, case.operator);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn conditions_combine_on_every_side(stage: &Stage) -> Result<()> {
    let header = |name: &str, is| matching(RawField::Header(name.into()), is);
    let one = |name| header(name, RawOperator::Exact("1".into()));
    let when = RawCondition::All(vec![
        header("x-all", RawOperator::Present),
        RawCondition::Any(vec![one("x-any"), one("x-or")]),
        RawCondition::Not(Box::new(one("x-not"))),
        header("x-absent", RawOperator::Absent),
    ]);
    let scenario = stage.copy_bootstrap("trust", without_baggage)?;
    let envoy = scenario.start()?;
    for (generation, role) in (2..).zip([Role::Gateway, Role::Inbound, Role::Outbound]) {
        push(&scenario, &envoy, role, generation, vec![rule("combined", when.clone())])?;
        for (headers, expected) in [
            ("x-all=0 x-any=1", true),
            ("x-all= x-or=1 x-not=0", true),
            ("x-any=1", false),
            ("x-all=1", false),
            ("x-all=1 x-any=0", false),
            ("x-all=1 x-any=1 x-not=1", false),
            ("x-all=1 x-any=1 x-absent=", false),
        ] {
            let pairs = headers.split(' ').filter_map(|pair| pair.split_once('='));
            let ask = pairs.fold(Ask::get("127.0.0.1", "/"), |ask, (name, value)| ask.header(name, value));
            ensure!(is_marked(&scenario, &ask)? == expected, "{role:?}: {headers}");
        }
    }
    Ok(())
}

fn claims_count_once_envoy_has_verified_them(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_bootstrap("trust", jwt::verifying)?;
    let envoy = scenario.start()?;
    for (generation, role) in (2..).zip([Role::Gateway, Role::Inbound]) {
        let is = |claim: &str, value: &str| matching(RawField::Claim(claim.into()), RawOperator::Exact(value.into()));
        let both = RawCondition::All(vec![is("tenant", "acme"), is("org.tier", "gold")]);
        push(&scenario, &envoy, role, generation, vec![rule("acme", both)])?;
        let ask = Ask::get("127.0.0.1", "/");
        let with = |token: &str| ask.clone().header("authorization", format!("Bearer {token}"));
        ensure!(is_marked(&scenario, &with(jwt::ACME))?, "{role:?}: the claims of a verified token count");
        ensure!(!is_marked(&scenario, &with(jwt::OTHER))?, "{role:?}: other values do not match");
        ensure!(!is_marked(&scenario, &ask)?, "{role:?}: no token, no claims");
        ensure!(!is_marked(&scenario, &with(&format!("{}x", jwt::ACME)))?, "{role:?}: a forged token is refused");
    }
    Ok(())
}

fn a_peer_is_known_by_its_certificate(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_bootstrap("trust", tls::listening)?;
    tls::make_certificates(&scenario.folder)?;
    let envoy = scenario.start()?;
    for (generation, role) in (2..).zip([Role::Gateway, Role::Inbound]) {
        let web = RawOperator::Prefix("spiffe://cluster.local/ns/shop/".into());
        push(&scenario, &envoy, role, generation, vec![rule("web", matching(RawField::Peer, web))])?;
        let lane_of = |peer| tls::answer_to(scenario.port(10000), &scenario.folder, peer, &[]);
        ensure!(lane_of(Some("web"))?.contains("x-release-stage: canary"), "{role:?}: a peer of the shop");
        ensure!(lane_of(Some("mail"))?.contains("x-release-stage: -"), "{role:?}: a peer of another namespace");
        ensure!(lane_of(None)?.contains("x-release-stage: -"), "{role:?}: a client without a certificate");
    }
    Ok(())
}

/// One field under one operator, with a value for which it holds and one for which it does not.
struct Case {
    field: RawField,
    operator: RawOperator,
    hit: &'static str,
    miss: &'static str,
}

/// Every operator on every field; keyed fields have a name of their own, so that only one rule holds.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, operator, hit, miss) in operators() {
        let keyed: [fn(String) -> RawField; 5] =
            [RawField::Header, RawField::GrpcMetadata, RawField::Query, RawField::Cookie, RawField::Baggage];
        for (kind, field) in keyed.into_iter().enumerate() {
            let field = field(format!("{name}{kind}"));
            cases.push(Case { field, operator: operator.clone(), hit, miss });
        }
    }
    let exact = |text: &str| RawOperator::Exact(text.into());
    cases.push(Case { field: RawField::Path, operator: exact("/only/here"), hit: "/only/here", miss: "/only" });
    cases.push(Case { field: RawField::Method, operator: exact("PATCH"), hit: "PATCH", miss: "GET" });
    cases.push(Case {
        field: RawField::Host,
        operator: exact("only.example"),
        hit: "ONLY.example:81",
        miss: "127.0.0.1",
    });
    cases
}

fn operators() -> Vec<(&'static str, RawOperator, &'static str, &'static str)> {
    let range: RawRange = serde_json::from_str(r#"{"min": 10, "max": 20}"#).expect("a range");
    vec![
        ("exact", RawOperator::Exact("beta".into()), "beta", "Beta"),
        ("prefix", RawOperator::Prefix("be".into()), "beta", "abe"),
        ("suffix", RawOperator::Suffix("ta".into()), "beta", "tab"),
        ("contains", RawOperator::Contains("et".into()), "beta", "bea"),
        ("in", RawOperator::In(vec!["a".into(), "beta".into()]), "beta", "b"),
        ("regex", RawOperator::Regex("b[a-z]+a".into()), "beta", "beta1"),
        ("range", RawOperator::Range(range), "15.5", "9"),
        ("semver", RawOperator::Semver(">=1.4, <2".into()), "1.10.0", "2.0.0"),
    ]
}

// === impl Case ===

impl Case {
    fn rule(&self) -> RawRule {
        rule(&format!("{:?} {:?}", self.field, self.operator), matching(self.field.clone(), self.operator.clone()))
    }

    fn ask(&self, value: &str) -> Ask {
        let plain = Ask::get("127.0.0.1", "/");
        match &self.field {
            RawField::Header(name) => plain.header(name, value),
            RawField::GrpcMetadata(name) => plain.header("content-type", "application/grpc").header(name, value),
            RawField::Query(key) => Ask::get("127.0.0.1", &format!("/?other=1&{key}={value}")),
            RawField::Cookie(name) => plain.header("cookie", format!("other=1; {name}={value}")),
            RawField::Baggage(key) => plain.header("baggage", format!("other=1,{key}={value};p=1")),
            RawField::Path => Ask::get("127.0.0.1", &format!("{value}?q=1")),
            RawField::Method => plain.method(value),
            RawField::Host => Ask::get(value, "/"),
            other => unreachable!("{other:?} has a test of its own"),
        }
    }
}

/// Gives the filter a document of this role with these rules, and waits until its workers run it.
fn push(scenario: &Scenario, envoy: &Envoy, role: Role, generation: u64, rules: Vec<RawRule>) -> Result<()> {
    ecds::change(&scenario.folder.join("ecds/gateway.json"), |document: &mut RawConfig| {
        document.role = role;
        document.generation = generation;
        for group in &mut document.groups {
            group.client_marks = None;
            group.entry = Some(RawEntry { rules: rules.clone(), ..RawEntry::default() });
        }
    })?;
    let label = match role {
        Role::Gateway => "gateway",
        Role::Inbound => "inbound",
        Role::Outbound => "outbound",
    };
    envoy.wait_for_generation(label, generation, 2)
}

fn is_marked(scenario: &Scenario, ask: &Ask) -> Result<bool> {
    Ok(words(&client::once(scenario.port(10000), ask)?).contains("x-release-stage: canary"))
}

/// What an answer says: its body, or the message that Envoy makes of it for gRPC clients.
fn words(answer: &Answer) -> String {
    let message = answer.headers.get("grpc-message").and_then(|message| message.to_str().ok());
    message.map_or_else(|| answer.text(), str::to_owned)
}

/// The sides of a sidecar read baggage where apps write it; only gateways move it away.
fn without_baggage(text: &str) -> String {
    text.lines().filter(|line| !line.contains("baggage")).map(|line| format!("{line}\n")).collect()
}
