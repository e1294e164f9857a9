//! A controller that is killed ten times while a release moves.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::figures::judge;
use graylane_tests::poll;
use serde_json::{Value, json};

use crate::stage::{CONVERGED, Instance, SOON, Stage};

/// So many kills, and so many different steps that they hit at least.
const KILLS: u32 = 10;
const DIFFERENT: usize = 5;

/// Many short steps, so that kills hit different moments: more than so many leaders, none of which leads for a second,
/// come to the end of.
fn spring() -> String {
    let weights = ["1%", "5%", "10%", "20%", "30%", "40%", "50%", "60%", "70%", "80%", "90%", "100%"];
    let steps = weights.map(|weight| format!("  - weight: {weight}\n")).join("  - pause: {duration: 1s}\n");
    format!(
        "
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {{name: spring, namespace: shop}}
spec:
  group: checkout
  lanes: [{{name: canary}}]
  members: [{{service: orders}}, {{service: stock}}]
  entry: {{gateways: [{{namespace: edge}}]}}
  steps:
{steps}"
    )
}

#[test]
fn killed_ten_times_a_controller_leaves_a_release_where_it_would_have_come_to() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let undisturbed = {
            let controller = stage.controller("undisturbed")?;
            bed.apply(&spring())?;
            let end = until_handover(&stage)?;
            stage.ask("spring", "1", "abort")?;
            stage.until_phase("spring", "RolledBack")?;
            bed.kubectl(&["delete", "grayrelease", "spring", "-n", "shop", "--timeout=60s"])?;
            controller.part.stop()?;
            end
        };
        bed.apply(&spring())?;
        // Each waits for the lease of the one before it to run out.
        let mut leader = stage.controller("leader-0")?;
        let (mut hit, mut slowest) = (BTreeSet::new(), Duration::ZERO);
        for kill in 0..KILLS {
            let before = stage.release("spring")?.data["status"]["step"].clone();
            until_it_leads(&leader)?;
            // Every other one dies soon after it has taken the lease, whatever it is about to do.
            if kill > 0 && kill % 2 == 0 {
                slowest = slowest.max(until_it_moves(&stage, &before)?);
            }
            // Another moment each time; what is waited for is the moment, not an outcome.
            std::thread::sleep(Duration::from_millis(u64::from(kill) * 97 % 700));
            leader.part.kill()?;
            let status = stage.release("spring")?.data["status"].take();
            ensure!(status["phase"] != "Invalid" && status["waiting"]["reason"] != "ManualHandover", "{status:#}");
            hit.insert(status["step"].as_u64().unwrap_or_default());
            leader = stage.controller(&format!("leader-{}", kill + 1))?;
        }
        let before = stage.release("spring")?.data["status"]["step"].clone();
        slowest = slowest.max(until_it_moves(&stage, &before)?);
        let disturbed = until_handover(&stage)?;
        ensure!(disturbed == undisturbed, "{disturbed:#?}, not {undisturbed:#?}");
        judge(
            "kill -9 of the controller, 10 times in one release: different steps hit; state, history and config as undisturbed",
            format!("{hit:?}; {} entries of history", undisturbed.history.len()),
            "at least 5",
            hit.len() >= DIFFERENT,
        )?;
        judge(
            "the same: from its lease, a new leader has moved the release on, the slowest of 5",
            format!("{:.2} s", slowest.as_secs_f64()),
            "at most 5 s",
            slowest <= CONVERGED,
        )
    });
}

/// What has become of a release.
#[derive(Debug, PartialEq)]
struct End {
    /// Weight, step and attempt.
    state: Value,
    /// Everything that happened.
    history: Vec<String>,
    /// What proxies are given, but for what differs from write to write.
    config: Vec<Value>,
}

/// What there is once only the handover is left.
fn until_handover(stage: &Stage<'_>) -> Result<End> {
    let status = stage.until("spring", "its handover", |status| {
        let proxies = &status["proxies"];
        status["waiting"]["reason"] == "ManualHandover" && proxies["acknowledged"] == proxies["expected"]
    })?;
    let history = status["history"].as_array().context("a history")?;
    let history = history.iter().map(|entry| format!("{}: {}", entry["reason"], entry["message"])).collect();
    let state = json!([status["weight"], status["step"], status["attempt"], status["salt"]]);
    let objects = [("edge", "graylane-entry"), ("shop", "graylane-lanes")];
    let config = objects.into_iter().map(|(namespace, name)| {
        let config = lasting(stage.config(namespace, name)?.data["spec"].take());
        ensure!(config.to_string().contains("shop/spring"), "{name}: {config:#}");
        Ok(config)
    });
    Ok(End { state, history, config: config.collect::<Result<_>>()? })
}

/// A spec with the documents in it as JSON, without their generations and expiries.
fn lasting(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| name != "generation" && name != "expiresUnix");
            Value::Object(kept.map(|(name, value)| (name, lasting(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(lasting).collect()),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(document @ Value::Object(_)) => lasting(document),
            _ => Value::String(text),
        },
        other => other,
    }
}

fn until_it_leads(controller: &Instance) -> Result<()> {
    poll::until("it leads", SOON, || {
        ensure!(controller.number("graylane_controller_leader")? >= 1.0, "not yet");
        Ok(())
    })
}

/// Waits until a step has been taken, for which it is time since long, and says how long after the lease.
fn until_it_moves(stage: &Stage<'_>, before: &Value) -> Result<Duration> {
    stage.until("spring", "moved on", |status| status["step"].as_u64() > before.as_u64())?;
    stage.since_taken()
}
