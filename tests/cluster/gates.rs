//! What a raise waits for besides its proxies: endpoints, capacity, and the workloads that only carry a lane.

use anyhow::{Result, ensure};
use graylane_tests::bed::{self, Bed};
use serde_json::Value;

use crate::stage::Stage;

/// A release that asks before each weight, with testers, and the default capacity: a lane needs its whole share.
const SUMMER: &str = "
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: summer, namespace: shop}
spec:
  group: checkout
  lanes: [{name: canary}]
  members: [{service: orders}, {service: stock}]
  carriers: [web]
  entry: {gateways: [{namespace: edge}]}
  rules: [{name: testers, lane: canary, when: {match: {field: {header: x-tester}, is: present}}}]
  steps: [{gate: {name: first}}, {weight: 5%}, {gate: {name: second}}, {weight: 50%}, {gate: {name: third}}, {weight: 100%}]
";

/// It passes the lane on and is no member.
const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, graylane.io/enabled: 'true'}}
    spec: {containers: [{name: app, image: web:1}]}
";

#[test]
fn a_raise_waits_for_endpoints_then_for_capacity_and_then_for_a_carrier_while_testers_keep_their_rule() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let controller = stage.controller("a")?;
        bed.apply(WEB)?;
        bed.kubectl(&["rollout", "status", "deployment", "web", "-n", "shop", "--timeout=60s"])?;
        bed.apply(SUMMER)?;
        until_gate(&stage, "first")?;
        without_endpoints(&stage)?;
        without_capacity(&stage)?;
        without_carrier(&stage)?;
        controller.was_never_forbidden()
    });
}

fn without_endpoints(stage: &Stage<'_>) -> Result<()> {
    scale(stage, "orders-canary", 0)?;
    stage.until("summer", "one version is away", |status| status["notReady"].to_string().contains("orders"))?;
    stage.ask("summer", "1", "promote")?;
    let lack =
        "spec.members[0]: orders.shop/canary has no ready endpoint; see that pods with the labels of subset canary";
    let status = until_waiting(stage, "Endpoints", lack)?;
    ensure!(weight(&status) == 0, "{status:#}");
    let entry = stage.config("edge", "graylane-entry")?.data.to_string();
    ensure!(entry.contains("testers") && entry.contains("x-tester"), "the testers' rule is gone: {entry}");
    scale(stage, "orders-canary", 2)?;
    until_gate(stage, "second").map(drop)
}

fn without_capacity(stage: &Stage<'_>) -> Result<()> {
    // Half of four is two; one is there.
    scale(stage, "orders-stable", 4)?;
    scale(stage, "orders-canary", 1)?;
    stage.ask("summer", "2", "promote")?;
    let status = until_waiting(stage, "Capacity", "has 1 of 2 ready replicas that 50% needs")?;
    ensure!(weight(&status) == 500, "{status:#}");
    let entry = stage.config("edge", "graylane-entry")?.data.to_string();
    ensure!(entry.contains("testers"), "the testers' rule is gone: {entry}");
    scale(stage, "orders-canary", 2)?;
    let status = until_gate(stage, "third")?;
    ensure!(weight(&status) == 5_000, "{status:#}");
    scale(stage, "orders-canary", 4)
}

/// Proxies of carriers have to know the lanes as those of members do.
fn without_carrier(stage: &Stage<'_>) -> Result<()> {
    let status = stage.until("summer", "all proxies", |status| {
        status["proxies"]["expected"] == 12 && status["proxies"]["acknowledged"] == 12
    })?;
    ensure!(status["pause"]["reason"] == "Gate", "{status:#}");
    stage.town.cut_off("web");
    stage.until("summer", "a carrier is missed", |status| status["proxies"]["missing"].to_string().contains("web"))?;
    stage.ask("summer", "3", "promote")?;
    let status = until_waiting(stage, "Acknowledgement", "shop/web")?;
    ensure!(weight(&status) == 5_000, "{status:#}");
    stage.town.mend();
    let status = stage.until("summer", "its handover", |status| status["waiting"]["reason"] == "ManualHandover")?;
    ensure!(weight(&status) > 5_000, "{status:#}");
    Ok(())
}

fn until_gate(stage: &Stage<'_>, name: &str) -> Result<Value> {
    stage.until("summer", name, |status| {
        status["pause"]["reason"] == "Gate" && status["pause"]["message"].to_string().contains(name)
    })
}

fn until_waiting(stage: &Stage<'_>, reason: &str, message: &str) -> Result<Value> {
    stage.until("summer", reason, |status| {
        status["waiting"]["reason"] == reason && status["waiting"]["message"].to_string().contains(message)
    })
}

fn weight(status: &Value) -> u64 {
    status["weights"]["canary"].as_u64().unwrap_or_default()
}

fn scale(stage: &Stage<'_>, deployment: &str, replicas: u32) -> Result<()> {
    let bed = stage.bed;
    bed.kubectl(&["-n", "shop", "scale", "deployment", deployment, &format!("--replicas={replicas}")])?;
    bed.kubectl(&["-n", "shop", "rollout", "status", "deployment", deployment, "--timeout=60s"])?;
    Ok(())
}
