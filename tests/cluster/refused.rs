//! Every rule about a release: the API server refuses what breaks it, and says it in the words of the
//! command line and of the controller.

use anyhow::{Context, Result, ensure};
use graylane::crd::{CHECKS, manifest};
use graylane::release::cluster::check_object;
use graylane::release::rules::{self, Rule};
use graylane_tests::bed::{self, Bed};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Error};
use serde_json::{Value, json};

/// A release with one thing wrong with it.
struct Case {
    /// Where it is wrong.
    at: &'static str,
    /// What is there; null for nothing.
    is: Value,
    /// The rule that it breaks.
    rule: &'static Rule,
    /// The value in its words.
    value: &'static str,
    /// Where the API server says it is wrong, if it cannot tell as exactly.
    said_at: Option<&'static str>,
    /// Where the controller says it is wrong, if it can tell more exactly.
    found_at: Option<&'static str>,
}

fn case(at: &'static str, is: Value, rule: &'static Rule, value: &'static str) -> Case {
    Case { at, is, rule, value, said_at: None, found_at: None }
}

impl Case {
    /// The same, said of what is around it.
    fn of(self, place: &'static str) -> Self {
        Self { said_at: Some(place), found_at: Some(place), ..self }
    }
}

/// A release that Argo Rollouts shall lead, though it has all that a release that leads has.
fn led(argo: Value, rule: &'static Rule, value: &'static str, at: &'static str) -> Case {
    let mut spec = good()["spec"].clone();
    spec["argo"] = argo;
    spec["onFailure"] = "pause".into();
    Case { said_at: Some(at), found_at: Some(at), ..case("spec", spec, rule, value) }
}

fn cases() -> Vec<Case> {
    let vaguely = |case: Case, said_at| Case { said_at: Some(said_at), ..case };
    let label = |at| case(at, json!("Orders.a"), &rules::DNS_LABEL, "Orders.a");
    vec![
        case("metadata.name", json!("summer.sale"), &rules::DNS_LABEL, "summer.sale"),
        label("spec.lanes[1].name"),
        label("spec.members[0].service"),
        label("spec.entry.gateways[0].namespace"),
        label("spec.entry.inbound[0]"),
        label("spec.entry.outbound[0]"),
        label("spec.carriers[0]"),
        case("spec.lanes", json!([]), &rules::NO_LANE, ""),
        case("spec.lanes[1].name", json!("stable"), &rules::STABLE_LANE, ""),
        vaguely(case("spec.lanes[1].name", json!("canary"), &rules::LANE_TWICE, ""), "spec.lanes"),
        case("spec.members", json!([]), &rules::NO_MEMBER, ""),
        vaguely(case("spec.members[1].service", json!("orders"), &rules::MEMBER_TWICE, ""), "spec.members"),
        vaguely(case("spec.members[1].lanes[0]", json!("blue"), &rules::MEMBER_LANE, ""), "spec.members"),
        vaguely(case("spec.rules[0].lane", json!("blue"), &rules::RULE_LANE, ""), "spec.rules"),
        case("spec.entry", Value::Null, &rules::NO_ENTRY, ""),
        case("spec.entry", json!({"gateways": [], "inbound": []}), &rules::NO_ENTRY, ""),
        case("spec.steps", Value::Null, &rules::NO_STEP, ""),
        case("spec.steps", json!([]), &rules::NO_STEP, ""),
        led(json!({"rollout": "orders"}), &rules::ARGO_STEPS, "", "spec.steps"),
        led(json!({"rollout": "orders"}), &rules::ARGO_PROMOTES, "", "spec.promotion.strategy"),
        led(json!({"rollout": "orders"}), &rules::ARGO_GOES_ON, "", "spec.onFailure"),
        led(json!({"rollout": "Orders.a"}), &rules::DNS_LABEL, "Orders.a", "spec.argo.rollout"),
        case("spec.steps[1]", json!({}), &rules::ONE_THING, ""),
        case("spec.steps[1]", json!({"pause": {}, "weights": {"canary": "5%"}}), &rules::ONE_THING, ""),
        Case {
            found_at: Some("spec.steps[0].weight"),
            ..vaguely(case("spec.steps[0]", json!({"weight": "5%"}), &rules::ONE_WEIGHT, ""), "spec.steps")
        },
        Case {
            found_at: Some("spec.steps[0].auto"),
            ..vaguely(case("spec.steps[0]", json!({"auto": {}}), &rules::ONE_RAMP, ""), "spec.steps")
        },
        case("spec.analysis.successRate", json!("30%"), &rules::OBJECTIVE, "30%"),
        case("spec.analysis.successRate", json!(10_000), &rules::OBJECTIVE, "10000"),
        case("spec.analysis.latency", latencies(5), &rules::MANY_LATENCIES, ""),
        case("spec.analysis.latency[1].overMs", json!(100), &rules::LATENCY_TWICE, "").of("spec.analysis.latency"),
        case("spec.analysis.objectives", json!([asked("orders"), asked("orders")]), &rules::OBJECTIVE_TWICE, ""),
        case("spec.analysis.objectives[0].atMost", json!("0.9"), &rules::NO_NUMBER, "")
            .of("spec.analysis.objectives[0]"),
        case("spec.analysis.prometheus", Value::Null, &rules::NO_PROMETHEUS, ""),
        case("spec.analysis.objectives[0]", json!({"name": "orders", "query": "up"}), &rules::NO_THRESHOLD, ""),
        case("spec.promotion.lane", json!("blue"), &rules::UNKNOWN_LANE, "blue"),
        case("spec.promotion.lane", Value::Null, &rules::NO_PROMOTED_LANE, ""),
        case("spec.promotion.holdback", json!("5.5%"), &rules::HOLDBACK, "5.5%"),
        case("spec.promotion.holdback", json!(501), &rules::HOLDBACK, "501"),
        case("spec.acknowledgement.quorum", json!("most"), &rules::WEIGHT, "most"),
        case("spec.acknowledgement.quorum", json!(-1), &rules::WEIGHT, "-1"),
        case("spec.acknowledgement.quorum", json!("0.125%"), &rules::FINE_WEIGHT, "0.125%"),
        case("spec.capacity.floor", json!("101%"), &rules::MUCH_WEIGHT, "101%"),
        case("spec.capacity.floor", json!(10_001), &rules::MUCH_WEIGHT, "10001"),
        case("spec.promotion.bake", json!("ten minutes"), &rules::SPAN, "ten minutes"),
        case("spec.steps[1].pause.duration", json!("10"), &rules::SPAN, "10"),
        case("spec.rules[0].from", json!("tomorrow"), &rules::TIME, "tomorrow"),
    ]
}

fn asked(name: &str) -> Value {
    json!({"name": name, "query": "up", "atLeast": "0.95"})
}

fn latencies(count: u32) -> Value {
    (1..=count).map(|at| json!({"overMs": at * 100, "share": "95%"})).collect()
}

/// A release with nothing wrong with it, and something of everything.
fn good() -> Value {
    json!({
        "apiVersion": "graylane.io/v1alpha1",
        "kind": "GrayRelease",
        "metadata": {"name": "summer", "namespace": "default"},
        "spec": {
            "lanes": [{"name": "canary"}, {"name": "v2"}],
            "members": [{"service": "orders"}, {"service": "payment", "lanes": ["canary"]}],
            "entry": {"gateways": [{"namespace": "istio-ingress"}], "inbound": ["web"], "outbound": ["job"]},
            "carriers": ["cart"],
            "rules": [{
                "name": "testers",
                "lane": "canary",
                "when": {"match": {"field": {"header": "x-tester"}, "is": "present"}},
                "from": "2027-01-31T08:00:00Z",
                "until": "2027-02-01T08:00:00.5+02:00",
            }],
            "propagation": {"trace": {"workloads": ["cart"], "ttl": "1m 30s"}},
            "steps": [
                {"weights": {"canary": "0.25%", "v2": 500}},
                {"pause": {"duration": "PT5M"}},
                {"gate": {"name": "sales agree"}},
                {"analysis": {"duration": "90s"}},
                {"pause": {}},
            ],
            "analysis": {
                "successRate": "99.5%",
                "latency": latencies(4),
                "objectives": [{"name": "orders", "query": "up", "atLeast": "0.95"}],
                "prometheus": {"address": "http://prometheus.monitoring:9090"},
                "tolerance": {"relative": "50%", "absolute": 30},
                "deadline": "30m",
            },
            "promotion": {"strategy": "copyTemplate", "lane": "canary", "holdback": "5.0 %", "bake": "2 hours"},
            "acknowledgement": {"quorum": "99.990%", "timeout": "1m"},
            "capacity": {"floor": 10_000},
        },
    })
}

#[test]
fn smoke_a_broken_rule_is_said_in_the_same_words_everywhere() {
    bed::tell(&Bed::cluster().without_controllers(), |bed| {
        bed.apply(&manifest()?)?;
        let releases = releases(bed.client());
        // The kind is served once a good one is taken.
        bed.apply(&good().to_string())?;
        for Case { at, is, rule, value, said_at, found_at } in cases() {
            let mut object = good();
            put(&mut object, at, is)?;
            let (message, mend) = rule.said(&[("value", value)]);
            let words = format!("{message}; {mend}");
            let said = bed.block_on(refusal(&releases, &object)).with_context(|| format!("{at}: {words}"))?;
            let place = said_at.unwrap_or(at);
            ensure!(
                said.iter().any(|(field, text)| field == place && text.ends_with(&words)),
                "not said of {place}: {words}\nbut {said:#?}"
            );
            let found = check_object(&object).err().with_context(|| format!("the controller takes {at}"))?;
            let found: Vec<String> = found.0.iter().map(ToString::to_string).collect();
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let expected = format!("grayrelease/default/{name}: {}: {words}", found_at.unwrap_or(at));
            ensure!(found.contains(&expected), "not found by the controller: {expected}\nbut {found:#?}");
        }
        Ok(())
    });
}

#[test]
fn no_rule_of_the_api_server_goes_untold() {
    let moving = [&rules::GROUP_STAYS, &rules::HEADER_STAYS];
    for check in CHECKS {
        let told = cases().iter().any(|case| case.rule == check.rule) || moving.contains(&check.rule);
        assert!(told, "no case breaks this rule: {:?}", check.rule);
    }
}

#[test]
fn a_good_release_breaks_no_rule() {
    if let Err(found) = check_object(&good()) {
        panic!("{found}");
    }
}

#[test]
fn group_and_carried_header_stay_while_a_release_moves() {
    bed::tell(&Bed::cluster().without_controllers(), |bed| {
        bed.apply(&manifest()?)?;
        bed.apply(&good().to_string())?;
        let releases = releases(bed.client());
        let change = |what: Value| bed.block_on(releases.patch("summer", &PatchParams::default(), &Patch::Merge(what)));
        let stand = |phase: &str| {
            let status = json!({"status": {"phase": phase}});
            bed.block_on(releases.patch_status("summer", &PatchParams::default(), &Patch::Merge(status)))
        };
        change(json!({"spec": {"carriedHeader": "x-a", "group": "shop"}}))?;
        stand("Progressing")?;
        for (what, rule) in [
            (json!({"spec": {"carriedHeader": "x-b"}}), &rules::HEADER_STAYS),
            (json!({"spec": {"group": "other"}}), &rules::GROUP_STAYS),
            (json!({"spec": {"group": null}}), &rules::GROUP_STAYS),
        ] {
            let said = change(what.clone()).err().with_context(|| format!("{what} was taken"))?.to_string();
            ensure!(said.contains(rule.message) && said.contains(rule.mend), "{said}");
        }
        change(json!({"spec": {"paused": true}}))?;
        stand("RolledBack")?;
        change(json!({"spec": {"carriedHeader": "x-b"}}))?;
        Ok(())
    });
}

fn releases(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("graylane.io", "v1alpha1", "GrayRelease");
    Api::default_namespaced_with(client, &ApiResource::from_gvk_with_plural(&kind, "grayreleases"))
}

/// Places and words of what the API server has against an object.
async fn refusal(releases: &Api<DynamicObject>, object: &Value) -> Result<Vec<(String, String)>> {
    let mut object = object.clone();
    // Not the one that is there.
    if object["metadata"]["name"] == "summer" {
        object["metadata"]["name"] = "winter".into();
    }
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    match releases.create(&dry_run, &serde_json::from_value(object)?).await {
        Ok(_) => anyhow::bail!("the API server takes it"),
        Err(Error::Api(status)) => {
            let details = status.details.context("no details")?;
            Ok(details.causes.into_iter().map(|cause| (cause.field, cause.message)).collect())
        }
        Err(error) => Err(error.into()),
    }
}

/// Puts a value at a path such as `spec.lanes[1].name`; null takes it away.
fn put(object: &mut Value, path: &str, value: Value) -> Result<()> {
    let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
    let (parent, key) = pointer.rsplit_once('/').context("a path")?;
    let parent = object.pointer_mut(parent).with_context(|| format!("no parent of {path}"))?;
    match (parent, value) {
        (Value::Object(members), Value::Null) => drop(members.remove(key)),
        (Value::Object(members), value) => drop(members.insert(key.to_owned(), value)),
        (Value::Array(items), value) => *items.get_mut(key.parse::<usize>()?).context("no such item")? = value,
        _ => anyhow::bail!("{path} is in no list or map"),
    }
    Ok(())
}
