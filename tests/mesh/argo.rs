//! Releases whose pods the real Argo Rollouts makes, on a real mesh. The controller of graylane has the
//! rights of its installation and no others.

mod town;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::figures::{judge_cost, say};
use graylane_tests::{client, poll};
use serde_json::Value;

use self::town::{Town, weights_of};
use crate::asking::{anybody, takes};
use crate::control::{PATIENCE, release, until, until_phase};
use crate::traffic::Traffic;

/// A release of the one service whose pods a Rollout makes; how it moves is added.
const ORDERS: &str = "
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: summer, namespace: shop}
spec:
  lanes: [{name: canary}]
  members: [{service: orders, hosts: [shop.example.com]}]
  entry: {gateways: [{namespace: istio-ingress}]}
  stickiness: {unit: [{header: x-user-id}]}
  promotion: {strategy: argo}
";

/// Argo Rollouts leads by the steps of its Rollout, and asks for verdicts.
fn led() -> String {
    format!("{ORDERS}  argo: {{rollout: orders}}\n  analysis: {{successRate: 95%, warmup: 1s}}\n")
}

/// The release leads and judges; Argo Rollouts makes the pods and promotes.
fn leads() -> String {
    let analysis = "  analysis: {successRate: 95%, warmup: 1s}\n";
    format!("{ORDERS}  steps: [{{weight: 50%}}, {{pause: {{}}}}, {{weight: 100%}}]\n{analysis}")
}

#[test]
fn smoke_argo_asks_for_verdicts_a_good_version_becomes_stable_and_a_bad_one_is_aborted() {
    bed::tell(&Bed::mesh(), |bed| {
        let town = Town::build(bed, &led(), "orders-1")?;
        let routes = town.generation("virtualservice", "orders")?;
        served_by(bed, "orders-1")?;
        let traffic = Traffic::with_every_fifth(bed, "/?fail=orders-3:500")?;
        town.give("orders-2")?;
        until(bed, "the weight of Argo's first step", |status| status["weight"] == "canary=20%")?;
        nobody_has_the_decoy(bed)?;
        let done = until_phase(bed, "Succeeded")?;
        let course = weights_of(&done);
        ensure!(course.starts_with(&["canary=20%".into(), "canary=50%".into()]), "{course:?}");
        takes(bed, &anybody(), ["orders-2", "stock-stable"])?;
        each_gate_passed(&town, 2)?;
        let failures = traffic.failures().lock().map(|failures| failures.len()).unwrap_or_default();
        ensure!(failures == 0, "{failures} requests failed on the good way");

        town.give("orders-3")?;
        until_it_is_aborted(bed, &town, "Argo leads")?;
        takes(bed, &anybody(), ["orders-2", "stock-stable"])?;
        traffic.stop(bed)?;
        ensure!(town.generation("virtualservice", "orders")? == routes, "somebody wrote to the real routes");
        town.was_never_forbidden()
    })
}

/// Each AnalysisRun of a step ended well, by a verdict of graylane.
fn each_gate_passed(town: &Town<'_>, wanted: usize) -> Result<()> {
    let runs = town.analysis_runs()?;
    let said = |run: &Value| {
        let measurement = run["status"]["metricResults"][0]["measurements"].as_array()?.last()?;
        serde_json::from_str::<Value>(measurement["value"].as_str()?).ok()
    };
    let is_gate = |run: &&Value| run["spec"]["metrics"][0]["name"] == "graylane-gate";
    for run in &runs {
        ensure!(run["status"]["phase"] == "Successful", "{}", run["status"]);
        println!("{}: {}", run["metadata"]["name"], run["status"]["metricResults"][0]["measurements"]);
    }
    let passed = runs.iter().filter(is_gate).filter(|run| said(run).is_some_and(|said| said["verdict"] == "pass"));
    let passed = passed.count();
    ensure!(passed == wanted, "{passed} gates passed by a verdict: {runs:#?}");
    Ok(())
}

/// The verdict comes from the proxies' counts; graylane takes the users back and aborts the Rollout.
fn until_it_is_aborted(bed: &Bed, town: &Town<'_>, who_leads: &str) -> Result<()> {
    let aborted_ms = poll::until("a degraded Rollout", PATIENCE, || {
        let status = town.rollout()?["status"].take();
        ensure!(status["abort"] == true && status["phase"] == "Degraded", "{status}");
        Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())
    })?;
    let back = until_phase(bed, "RolledBack")?;
    let failure = &back["failure"];
    ensure!(failure["fault"]["service"] == "orders.shop" && failure["fault"]["lane"] == "canary", "{back:#}");
    let ms = |at: &str| failure.pointer(at).and_then(Value::as_u64).map(u128::from).with_context(|| at.to_owned());
    let decided = ms("/decidedMs")?;
    let took = decided.saturating_sub(ms("/fault/firstBadMs")?);
    let (last, abort) = (ms("/lastLaneMs")?.saturating_sub(decided), aborted_ms.saturating_sub(decided));
    let who = "system:serviceaccount:graylane-system:graylane";
    let writes = bed.writes()?;
    let aborts = writes.iter().filter(|write| write.user == who && write.resource == "rollouts/status");
    ensure!(aborts.clone().any(|write| write.verb == "patch" && write.code == 200), "{:?}", aborts.collect::<Vec<_>>());
    let seconds = |ms: u128| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
    judge_cost(
        &format!(
            "{who_leads}, 20% failures: first bad request to verdict, verdict to the lane's last second, to a degraded Rollout"
        ),
        format!("{}, {}, {}", seconds(took), seconds(last), seconds(abort)),
        "at most 15 s, 5 s, 5 s",
        took <= 15_000 && last <= 5_000 && abort <= 5_000,
    )
}

#[test]
fn an_abort_of_the_release_is_one_of_the_rollout_that_leads_it_and_the_other_way_round() {
    bed::tell(&Bed::mesh(), |bed| {
        let town = Town::build(bed, &led(), "orders-1")?;
        town.give("orders-2")?;
        until(bed, "the lane", |status| status["weight"] == "canary=20%")?;
        let begun = std::time::Instant::now();
        bed.graylane(&["abort", "summer", "-n", "shop", "--no-wait"])?.done()?;
        poll::until("the abort of the Rollout", PATIENCE, || {
            let status = town.rollout()?["status"].take();
            ensure!(status["abort"] == true && status["phase"] == "Degraded", "{status}");
            Ok(())
        })?;
        let took = format!("{:.2} s", begun.elapsed().as_secs_f64());
        say("argo: `graylane abort` until the Rollout is aborted", took)?;
        until_phase(bed, "RolledBack")?;
        takes(bed, &anybody(), ["orders-1", "stock-stable"])?;
        // What is tried again begins again, with nobody doing anything here.
        town.kubectl_patch_status(r#"{"status": {"abort": false}}"#)?;
        let again = until(bed, "the second attempt", |status| status["weight"] == "canary=20%")?;
        ensure!(again["attempt"] == 2, "{again}");
        an_abort_by_argo_takes_the_lane_away(bed, &town)?;
        town.was_never_forbidden()
    })
}

/// What `kubectl argo rollouts abort` writes; nothing is asked of graylane.
fn an_abort_by_argo_takes_the_lane_away(bed: &Bed, town: &Town<'_>) -> Result<()> {
    let begun = std::time::Instant::now();
    town.kubectl_patch_status(r#"{"status": {"abort": true}}"#)?;
    let back = until_phase(bed, "RolledBack")?;
    let took = begun.elapsed().as_secs_f64();
    let history = back["history"].as_array().into_iter().flatten();
    let of_this_attempt: Vec<_> = history.rev().take_while(|entry| entry["reason"] != "Weight").collect();
    let said = of_this_attempt.iter().find(|entry| entry["reason"] == "RolloutAborted");
    let said = said.with_context(|| format!("it does not say why: {of_this_attempt:?}"))?;
    ensure!(
        back["weight"].as_str().unwrap_or_default().is_empty()
            && back["weights"].as_object().is_none_or(|all| all.is_empty()),
        "{back:#}"
    );
    served_by(bed, "orders-1")?;
    let status = town.rollout()?["status"].take();
    ensure!(status["abort"] == true && status["phase"] == "Degraded", "{status}");
    println!("{}", said["message"]);
    let name = "argo: an abort of the Rollout until the lane is gone";
    judge_cost(name, format!("{took:.2} s"), "at most 5 s", took <= 5.0)
}

#[test]
fn where_the_release_leads_argo_waits_and_promotes_at_its_end_and_a_bad_version_is_aborted() {
    bed::tell(&Bed::mesh(), |bed| {
        let town = Town::build(bed, &leads(), "orders-1")?;
        served_by(bed, "orders-1")?;
        let traffic = Traffic::with_every_fifth(bed, "/?fail=orders-3:500")?;
        town.give("orders-2")?;
        until(bed, "a wait at half", |status| status["phase"] == "Paused" && status["weight"] == "canary=50%")?;
        let canary = town.rollout()?["status"]["canary"]["weights"]["canary"]["weight"].clone();
        ensure!(canary == 0, "Argo gives the canary {canary} by itself");
        bed.graylane(&["promote", "summer", "-n", "shop", "--no-wait"])?.done()?;
        until_phase(bed, "Succeeded")?;
        let rollout = town.rollout()?;
        let status = &rollout["status"];
        ensure!(status["stableRS"] == status["currentPodHash"] && status["phase"] == "Healthy", "{status}");
        takes(bed, &anybody(), ["orders-2", "stock-stable"])?;
        let failures = traffic.failures().lock().map(|failures| failures.len()).unwrap_or_default();
        ensure!(failures == 0, "{failures} requests failed on the good way");

        town.give("orders-3")?;
        bed.graylane(&["retry", "summer", "-n", "shop", "--no-wait"])?.done()?;
        until_it_is_aborted(bed, &town, "release leads")?;
        takes(bed, &anybody(), ["orders-2", "stock-stable"])?;
        let (served, failed) = traffic.stop(bed)?;
        println!("{failed} of {served} requests failed");
        ensure!(failed > 0 && served > 200, "{failed} of {served} requests failed");
        town.was_never_forbidden()
    })
}

#[test]
fn a_rollout_that_would_move_users_by_itself_is_refused_with_the_mend() {
    bed::tell(&Bed::mesh(), |bed| {
        let town = Town::build(bed, &led(), "orders-1")?;
        for (patch, words, mend) in [
            (
                r#"{"spec": {"strategy": {"canary": {"trafficRouting": {"istio":
                    {"virtualService": {"name": "orders", "routes": ["stable"]}}}}}}}"#,
                "Rollout orders would write its weights into VirtualService orders, which routes users",
                "let it write them into the decoy that `graylane render argo` prints",
            ),
            (
                r#"{"spec": {"strategy": {"canary": {"canaryMetadata": {"labels": {"graylane.io/lane": "canary"}}}}}}"#,
                "Rollout orders labels its pods `graylane.io/lane`",
                "take the label away",
            ),
        ] {
            town.kubectl_patch(patch)?;
            let refused = until_phase(bed, "Invalid")?;
            let said = refused["message"].as_str().unwrap_or_default();
            ensure!(said.contains(words) && said.contains(mend), "{said}");
            town.strategy()?;
            town.kubectl_patch(r#"{"spec": {"strategy": {"canary": {"canaryMetadata": null}}}}"#)?;
            until_phase(bed, "Pending")?;
        }
        // Both want the weights: the API server says it, in the words of the command line.
        let both = led().replace("  argo:", "  steps: [{weight: 5%}]\n  argo:");
        let refused = bed.apply(&both).err().context("both were taken")?;
        let words = "both would move the weight; leave out spec.steps";
        ensure!(format!("{refused:#}").contains(words), "{refused:#}");
        ensure!(release(bed, "summer")?["status"]["phase"] == "Pending", "it was changed");
        Ok(())
    })
}

/// All users get this version, whichever of its pods answers: a proxy that has just started may not know the
/// endpoints of the next service yet.
fn served_by(bed: &Bed, version: &str) -> Result<()> {
    poll::until(&format!("twenty answers of {version}"), PATIENCE, || {
        (0..20).try_for_each(|_| takes(bed, &anybody(), [version, "stock-stable"]))
    })
}

/// The decoy has a host and a gateway that do not exist, so istiod gives it to no proxy.
fn nobody_has_the_decoy(bed: &Bed) -> Result<()> {
    for (namespace, name) in [("istio-ingress", "gateway"), ("shop", "stock"), ("shop", "orders")] {
        for pod in bed.pods(namespace, name)? {
            let config = client::get(pod.admin().at, "/config_dump")?;
            ensure!(config.contains("x-graylane-route"), "{} has no routes", pod.name());
            ensure!(!config.contains("argo.graylane.invalid"), "{} has the decoy", pod.name());
        }
    }
    Ok(())
}
