//! What goes wrong around a release, and where its users are meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::client::Ask;
use graylane_tests::figures::{judge, say};
use graylane_tests::poll;

use crate::asking::{STABLE, path};
use crate::control::{Control, PATIENCE, SUMMER, release, until, until_paused_at, until_phase};
use crate::releases::everybody_is_on;
use crate::traffic::{HOST, Traffic, Visit, Visits};

/// An answer that takes longer harms a user.
const SOON: Duration = Duration::from_secs(1);
/// So many visitors come after a lane is known to be dead.
const MORE: u64 = 40;

#[test]
fn a_proxy_that_is_cut_off_holds_the_raise_and_not_the_way_back() {
    bed::tell(&Bed::mesh(), |bed| {
        let control = Control::of_shop(bed)?;
        bed.kubectl(&["scale", "deployment", "gateway", "-n", "istio-ingress", "--replicas=2"])?;
        bed.wait_for_deployments("istio-ingress")?;
        bed.apply(SUMMER)?;
        until_paused_at(bed, "canary=5%")?;
        let gateways = bed.pods("istio-ingress", "gateway")?;
        let cut = &gateways[1];
        cut.place.cut()?;
        until(bed, "the cut is noticed", |status| status["proxies"]["missing"].to_string().contains(&cut.name()))?;
        control.ask("promote")?;
        let held = until(bed, "the raise waits", |status| status["waiting"]["reason"] == "Acknowledgement")?;
        ensure!(held["weight"] == "canary=5%", "{held}");
        ensure!(held["message"].to_string().contains(&cut.name()), "the proxy is not named: {}", held["message"]);
        let asked = Instant::now();
        control.ask("abort")?;
        everybody_is_on(bed, STABLE)?;
        tell("a proxy is cut off: abort to stable at the others", asked.elapsed(), "at most 5 s", 5.0)?;
        cut.place.mend()?;
        until_phase(bed, "RolledBack")?;
        Ok(())
    })
}

#[test]
fn a_lane_whose_pods_all_die_falls_back_to_stable() {
    bed::tell(&Bed::mesh(), |bed| {
        let control = Control::of_shop(bed)?;
        control.moves_to_half()?;
        let (traffic, visits) = (Traffic::begin(bed)?, Visits::begin(bed)?);
        let died = Instant::now();
        bed.kubectl(&["scale", "deployment", "orders-canary", "stock-canary", "-n", "shop", "--replicas=0"])?;
        let force = ["delete", "pods", "-n", "shop", "-l", "version=canary", "--grace-period=0", "--force"];
        bed.kubectl(&force)?;
        until(bed, "the lanes are not ready", |status| {
            status["notReady"].as_array().is_some_and(|versions| versions.len() == 2)
        })?;
        visits.await_more(MORE)?;
        let (served, failed) = traffic.stop(bed)?;
        tell_what_became_of(&visits.stop(bed)?, died, (served, failed))?;
        let still = release(bed, "summer")?["status"].take();
        ensure!(still["weight"] == "canary=50%", "weights stay, requests fall back: {still}");
        bed.kubectl(&["scale", "deployment", "orders-canary", "stock-canary", "-n", "shop", "--replicas=1"])?;
        until(bed, "the lanes are back", |status| status["notReady"].is_null())?;
        Ok(())
    })
}

#[test]
fn smoke_a_stop_needs_no_controller_and_is_honoured_by_one() {
    bed::tell(&Bed::mesh(), |bed| {
        let control = Control::of_shop(bed)?;
        control.moves_to_half()?;
        drop(control);
        let traffic = Traffic::begin(bed)?;
        let asked = Instant::now();
        bed.graylane(&["stop", "-A"])?.done()?;
        everybody_is_on(bed, STABLE)?;
        tell("stop without a controller: everybody on stable", asked.elapsed(), "at most 5 s", 5.0)?;
        let control = Control::start(bed, "second")?;
        until(bed, "the stop is honoured", |status| status["waiting"]["reason"] == "Stopped")?;
        everybody_is_on(bed, STABLE)?;
        bed.graylane(&["stop", "-A", "--undo"])?.done()?;
        until_paused_at(bed, "canary=50%")?;
        poll::until("canaries again", PATIENCE, || {
            let users = (0..20).map(|user| path(bed, &Ask::get(HOST, "/").header("x-user-id", user.to_string())));
            let canary = users.collect::<Result<Vec<_>>>()?.iter().filter(|path| path[0] == "orders-canary").count();
            ensure!(canary > 2, "{canary} of 20");
            Ok(())
        })?;
        drop(control);
        let (served, failed) = traffic.stop(bed)?;
        ensure!(failed == 0, "{failed} of {served} requests failed");
        Ok(())
    })
}

#[test]
fn smoke_a_deleted_release_and_an_uninstalled_mesh_leave_nothing_behind() {
    bed::tell(&Bed::mesh(), |bed| {
        let control = Control::of_shop(bed)?;
        bed.apply(SUMMER)?;
        until_paused_at(bed, "canary=5%")?;
        let traffic = Traffic::begin(bed)?;
        bed.kubectl(&["delete", "grayrelease", "summer", "-n", "shop", "--timeout=60s"])?;
        let tester = Ask::get(HOST, "/").header("x-tester", "1");
        ensure!(path(bed, &tester)? == STABLE, "a tester is still in the withdrawn lane");
        let inert = bed.kubectl(&["get", "envoyfilter", "graylane-entry", "-n", "istio-ingress", "-o", "yaml"])?.stdout;
        ensure!(inert.contains("rbac.v3.RBAC") && !inert.contains("wasm.v3.Wasm"), "{inert}");
        let (served, failed) = traffic.stop(bed)?;
        ensure!(failed == 0, "{failed} of {served} requests failed");
        // A proxy that begins anew must not find the lane again.
        bed.kubectl(&["delete", "pod", "-n", "istio-ingress", "-l", "app=gateway"])?;
        bed.wait_for_deployments("istio-ingress")?;
        poll::until("the new gateway answers", PATIENCE, || path(bed, &tester))?;
        ensure!(path(bed, &tester)? == STABLE, "the new gateway knows the withdrawn lane");
        drop(control);
        for namespace in ["istio-ingress", "shop"] {
            bed.graylane(&["uninstall", "--yes", "-n", namespace])?.done()?;
            let left = bed.kubectl(&["get", "envoyfilter", "-n", namespace, "-o", "name"])?.stdout;
            ensure!(left.is_empty(), "left in {namespace}: {left}");
        }
        poll::until("everybody is served without graylane", PATIENCE, || {
            let path = path(bed, &tester)?;
            ensure!(path == STABLE, "{path:?}");
            Ok(())
        })
    })
}

/// How those fared who came while a lane died. A pod that is gone answers nothing, not even that it is gone: a
/// request that is on its way there waits until somebody gives up on it. Those who come later must not notice.
fn tell_what_became_of(visits: &[Visit], died: Instant, (served, failed): (u64, u64)) -> Result<()> {
    let later = || visits.iter().filter(|visit| visit.begun >= died);
    let is_soon = |visit: &&Visit| visit.took < SOON;
    let harmed = later().filter(|visit| !is_soon(visit) || visit.answer.is_err()).count();
    let on_stable = |visit: &&Visit| visit.answer.as_ref().is_ok_and(|path| *path == STABLE);
    let last = later().rfind(|visit| !is_soon(visit) || !on_stable(visit));
    let last = last.map_or(Duration::ZERO, |visit| visit.begun.duration_since(died));
    let longest = later().map(|visit| visit.took).max().unwrap_or_default();
    let value = format!("{harmed} of {}, {failed} of {}", later().count(), served + failed);
    let name = "every pod of a lane killed at 50%: failed or late of new connections, failed of kept-alive ones";
    say(name, value)?;
    say("every pod of a lane killed: longest wait", format!("{:.2} s", longest.as_secs_f64()))?;
    tell("every pod of a lane killed: from then on everybody who comes is on stable", last, "at most 2 s", 2.0)
}

/// Notes how long something took, and holds it to a bound in seconds.
fn tell(name: &str, took: Duration, wanted: &str, seconds: f64) -> Result<()> {
    judge(name, format!("{:.2} s", took.as_secs_f64()), wanted, took.as_secs_f64() <= seconds)
}
