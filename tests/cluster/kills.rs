//! A controller that is killed ten times while a release moves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::figures::{Figure, note};
use graylane_tests::poll;
use serde_json::Value;

use crate::stage::{SOON, Stage};

/// Many short steps, so that kills hit different moments.
const SPRING: &str = "
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: spring, namespace: shop}
spec:
  group: checkout
  lanes: [{name: canary}]
  members: [{service: orders}, {service: stock}]
  entry: {gateways: [{namespace: edge}]}
  steps:
  - weight: 5%
  - pause: {duration: 1s}
  - weight: 25%
  - pause: {duration: 1s}
  - weight: 50%
  - pause: {duration: 1s}
  - weight: 75%
  - pause: {duration: 1s}
  - weight: 100%
";

#[test]
fn killed_ten_times_a_controller_leaves_a_release_where_it_would_have_come_to() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let undisturbed = {
            let _controller = stage.controller("undisturbed")?;
            bed.apply(SPRING)?;
            let end = until_handover(&stage, "spring")?;
            stage.ask("spring", "1", "abort")?;
            stage.until_phase("spring", "RolledBack")?;
            bed.kubectl(&["delete", "grayrelease", "spring", "-n", "shop", "--timeout=60s"])?;
            end
        };
        bed.apply(&SPRING.replace("name: spring", "name: summer"))?;
        for kill in 0..10_u64 {
            free_the_lease(bed)?;
            let controller = stage.controller(&format!("killed-{kill}"))?;
            poll::until("it leads", SOON, || {
                ensure!(controller.number("graylane_controller_leader")? >= 1.0, "not yet");
                Ok(())
            })?;
            // Another moment each time; what is waited for is the moment, not an outcome.
            std::thread::sleep(Duration::from_millis(37 + kill * 97 % 700));
            controller.part.kill()?;
        }
        free_the_lease(bed)?;
        let _last = stage.controller("last")?;
        let disturbed = until_handover(&stage, "summer")?;
        ensure!(disturbed == undisturbed, "{disturbed:#?}, not {undisturbed:#?}");
        let value = format!("{} entries of history, weights and step as undisturbed", undisturbed.1.len());
        note(&Figure { name: "kill -9 of the controller, 10 times in one release", value, wanted: None, holds: true })
    });
}

/// Weight, step and everything that happened, once only the handover is left.
fn until_handover(stage: &Stage<'_>, name: &str) -> Result<(Value, Vec<String>)> {
    let status = stage.until(name, "its handover", |status| status["waiting"]["reason"] == "ManualHandover")?;
    let history = status["history"].as_array().context("a history")?;
    let entries = history.iter().map(|entry| format!("{}: {}", entry["reason"], entry["message"]));
    Ok((serde_json::json!([status["weight"], status["step"], status["attempt"]]), entries.collect()))
}

/// A killed leader keeps its lease for 9 s; here that time is not what is looked at.
fn free_the_lease(bed: &Bed) -> Result<()> {
    bed.kubectl(&["delete", "lease", "graylane", "-n", "graylane-system", "--ignore-not-found"])?;
    Ok(())
}
