//! Somebody else writes or deletes what the controller wrote.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::figures::{judge, say};
use graylane_tests::poll;
use kube::api::DynamicObject;

use crate::stage::{Instance, SOON, SUMMER, Stage};

#[test]
fn smoke_a_deleted_config_comes_back_at_once_with_a_new_generation() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let controller = at_gate(bed, &stage)?;
        let before = generation(&stage.config("edge", "graylane-entry")?)?;
        bed.kubectl(&["delete", "envoyfilter", "graylane-entry", "--namespace=edge"])?;
        let start = Instant::now();
        let after = poll::until("the object", SOON, || stage.config("edge", "graylane-entry"))?;
        say("a deleted EnvoyFilter is back after", format!("{:.2} s", start.elapsed().as_secs_f64()))?;
        ensure!(generation(&after)? > before, "{after:?}");
        ensure!(after.data.to_string().contains("shop/summer"));
        ensure!(controller.number(DRIFT)? >= 1.0);
        until_told(bed, "edge")?;
        controller.was_never_forbidden()
    });
}

#[test]
fn smoke_a_new_leader_brings_back_what_is_deleted_though_it_has_written_nothing() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let first = at_gate(bed, &stage)?;
        first.part.kill()?;
        let second = stage.controller("b")?;
        stage.until_led_by(&[&second])?;
        poll::until("its first look", SOON, || {
            ensure!(second.number("graylane_controller_pass_seconds_count")? >= 2.0);
            Ok(())
        })?;
        let written = second.number("graylane_controller_writes_total{kind=\"EnvoyFilter\"}")?;
        ensure!(written == 0.0, "it has written {written} objects, which the story is not about");
        for (namespace, name) in [("shop", "graylane-lanes"), ("edge", "graylane-entry")] {
            bed.kubectl(&["delete", "envoyfilter", name, "--namespace", namespace])?;
            let start = Instant::now();
            poll::until("the object", SOON, || stage.config(namespace, name))?;
            println!("{name} was back after {:?}", start.elapsed());
            ensure!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
            until_told(bed, namespace)?;
        }
        ensure!(second.number(DRIFT)? == 2.0, "{}", second.number(DRIFT)?);
        Ok(())
    });
}

#[test]
fn what_was_changed_while_nobody_led_is_put_right_and_told() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let first = at_gate(bed, &stage)?;
        first.part.kill()?;
        let patch = r#"{"spec": {"priority": 7}}"#;
        bed.kubectl(&["patch", "envoyfilter", "graylane-lanes", "--namespace=shop", "--type=merge", "-p", patch])?;
        let second = stage.controller("b")?;
        poll::until("our own words", SOON, || {
            let object = stage.config("shop", "graylane-lanes")?;
            ensure!(object.data["spec"]["priority"] == 20, "{object:?}");
            Ok(())
        })?;
        until_told(bed, "shop")?;
        ensure!(second.number(DRIFT)? == 1.0, "{}", second.number(DRIFT)?);
        Ok(())
    });
}

#[test]
fn who_stops_frees_or_uninstalls_a_namespace_is_not_told_to_have_meddled() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let controller = stage.controller("a")?;
        bed.apply(SUMMER)?;
        let before = stage.until_gate("summer")?;
        bed.graylane(&["stop", "--namespace=edge"])?.done()?;
        stage.until("summer", "stopped", |status| status["waiting"]["reason"] == "Stopped")?;
        bed.graylane(&["stop", "--undo", "--namespace=edge"])?.done()?;
        poll::until("the lanes to be written again", SOON, || {
            let object = stage.config("edge", "graylane-entry")?;
            ensure!(object.data.to_string().contains("shop/summer"), "{object:?}");
            Ok(())
        })?;
        ensure!(stage.release("summer")?.data["status"]["salt"] == before["salt"]);
        stage.ask("summer", "1", "abort")?;
        stage.until_phase("summer", "RolledBack")?;
        for namespace in ["edge", "shop"] {
            poll::until("an uninstall", SOON, || {
                bed.graylane(&["uninstall", "--namespace", namespace, "--yes", "--timeout=5s"])?.done()
            })?;
        }
        // Whatever was heard of that has been heard before this.
        bed.apply(&SUMMER.replace("name: summer", "name: winter"))?;
        stage.until_gate("winter")?;
        let told = controller.number(DRIFT)?;
        ensure!(told == 0.0, "{told} times: {}", controller.part.log());
        Ok(())
    });
}

#[test]
fn a_second_writer_that_keeps_fighting_is_answered_at_a_bounded_rate() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let controller = at_gate(bed, &stage)?;
        let writes = || controller.number("graylane_controller_writes_total{kind=\"EnvoyFilter\"}");
        let before = writes()?;
        let start = Instant::now();
        const FIGHT: u32 = 20;
        for round in 0..FIGHT {
            let patch = format!(r#"{{"spec": {{"priority": {}, "mine": true}}}}"#, 100 + round);
            bed.kubectl(&["patch", "envoyfilter", "graylane-entry", "--namespace=edge", "--type=merge", "-p", &patch])?;
            // The pace of the other one.
            sleep(Duration::from_secs(1));
        }
        let (ours, seconds) = (writes()? - before, start.elapsed().as_secs_f64());
        // One at once, one for each 5 s; each may be two requests, since fields of others are taken out by a second.
        let most = 2.0 + seconds / 5.0;
        judge(
            "a second writer of an EnvoyFilter at 1 Hz: writes that answer it",
            format!("{ours} in {seconds:.0} s"),
            &format!("2 to {most:.0}"),
            (2.0..=most).contains(&ours),
        )?;
        poll::until("our own words", SOON, || {
            let object = stage.config("edge", "graylane-entry")?;
            ensure!(object.data["spec"]["priority"] == 20 && object.data["spec"].get("mine").is_none(), "{object:?}");
            Ok(())
        })?;
        ensure!(controller.number(DRIFT)? >= 2.0);
        stage.ask("summer", "1", "abort")?;
        stage.until_phase("summer", "RolledBack")?;
        Ok(())
    });
}

#[test]
fn a_namespace_that_was_stopped_by_hand_is_left_alone_until_it_is_freed() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let _controller = at_gate(bed, &stage)?;
        let annotate =
            |text: &str| bed.kubectl(&["annotate", "envoyfilter", "graylane-entry", "--namespace=edge", text]);
        annotate("graylane.io/stopped=me")?;
        stage.until("summer", "stopped", |status| {
            status["waiting"]["reason"] == "Stopped" || status["message"].to_string().contains("stopped")
        })?;
        let stopped = stage.config("edge", "graylane-entry")?;
        stage.ask("summer", "1", "promote")?;
        stage.until("summer", "seen", |status| status["observedGeneration"] == 1)?;
        ensure!(stage.config("edge", "graylane-entry")?.metadata.resource_version == stopped.metadata.resource_version);
        annotate("graylane.io/stopped-")?;
        stage.until("summer", "going on", |status| {
            status["handledRequest"] == "1" && status["waiting"]["reason"] != "Stopped"
        })?;
        Ok(())
    });
}

/// How often somebody else's change was told.
const DRIFT: &str = "graylane_controller_drift_total";

/// A controller that has brought the release to its gate.
fn at_gate(bed: &Bed, stage: &Stage<'_>) -> Result<Instance> {
    let controller = stage.controller("a")?;
    bed.apply(SUMMER)?;
    stage.until_gate("summer")?;
    Ok(controller)
}

fn until_told(bed: &Bed, namespace: &str) -> Result<()> {
    let args = ["get", "events.events.k8s.io", "--namespace", namespace, "-o", "jsonpath={.items[*].reason}"];
    poll::until("an event", SOON, || {
        ensure!(bed.kubectl(&args)?.stdout.contains("Drift"));
        Ok(())
    })
}

fn generation(object: &DynamicObject) -> Result<u64> {
    let annotations = object.metadata.annotations.as_ref().context("no annotations")?;
    Ok(annotations.get("graylane.io/generation").context("no generation")?.parse()?)
}
