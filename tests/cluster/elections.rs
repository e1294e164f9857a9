//! Who leads, and what becomes of what a deposed leader still has on its way.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::figures::judge;
use graylane_tests::poll;
use hyper::{Method, StatusCode};

use crate::stage::{CONVERGED, Instance, SOON, SUMMER, Stage};
use crate::weather::{Passed, Sky, Weather};

#[test]
fn smoke_a_killed_leader_is_followed_by_the_next_one_which_goes_on_where_it_was() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let (a, b) = (stage.controller("a")?, stage.controller("b")?);
        let leader = stage.until_led_by(&[&a, &b])?;
        let other = if leader.name == "a" { &b } else { &a };
        poll::until("who does not lead to fill its caches all the same", SOON, || {
            let (code, page) = other.page("/readyz")?;
            ensure!(code == 200, "{code}: {page}");
            Ok(())
        })?;
        bed.apply(SUMMER)?;
        let before = stage.until_gate("summer")?;
        leader.part.kill()?;
        stage.ask("summer", "1", "abort")?;
        let after = stage.until_phase("summer", "RolledBack")?;
        let time = stage.since_taken()?;
        ensure!(stage.leader()? == other.name, "{} leads", stage.leader()?);
        ensure!(after["attempt"] == before["attempt"] && after["salt"] == before["salt"], "{after:#}");
        judge(
            "a leader is killed: the next one has done what was asked, from the lease",
            format!("{:.2} s", time.as_secs_f64()),
            "at most 5 s",
            time <= CONVERGED,
        )
    });
}

#[test]
fn a_leader_that_is_asked_to_end_gives_the_lease_back() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let (a, b) = (stage.controller("a")?, stage.controller("b")?);
        let leader = stage.until_led_by(&[&a, &b])?;
        let other = if leader.name == "a" { &b } else { &a };
        let start = Instant::now();
        terminate(leader.part.id()?)?;
        let status = poll::until("its end", SOON, || leader.part.ended()?.context("it runs"))?;
        ensure!(status.success(), "{status}: {}", leader.part.log());
        let ended = start.elapsed();
        ensure!(stage.leader()? != leader.name, "the lease was kept");
        stage.until_led_by(&[other])?;
        let followed = start.elapsed();
        // The lease holds for 9 s: whoever had to wait for its end would not be there yet.
        judge(
            "a leader is asked to end: it has ended, the next one leads",
            format!("{:.2} s, {:.2} s", ended.as_secs_f64(), followed.as_secs_f64()),
            "the second below 4 s",
            followed < Duration::from_secs(4),
        )
    });
}

fn terminate(id: u32) -> Result<()> {
    let status = std::process::Command::new("kill").args(["-TERM", &id.to_string()]).status()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[test]
fn the_write_of_a_deposed_leader_is_refused() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let weather = Weather::between(bed, "a", &stage.account()?)?;
        let a = stage.controller_by("a", weather.kubeconfig())?;
        stage.until_led_by(&[&a])?;
        bed.apply(SUMMER)?;
        stage.until_gate("summer")?;
        // The leader's next write is on its way when the leader is frozen.
        weather.turn(Sky::HoldsWrites);
        stage.ask("summer", "1", "promote")?;
        poll::until_true("a held write", SOON, || weather.held() > 0)?;
        a.part.freeze()?;
        let b = stage.controller("b")?;
        stage.until_led_by(&[&b])?;
        stage.until("summer", "moved on", |status| status["handledRequest"] == "1")?;
        let before = stage.release("summer")?;

        weather.turn(Sky::Clear);
        late_writes_are_refused(&weather, "its status")?;
        a.part.thaw()?;
        // It finds out by itself that it leads no more, and changes nothing.
        until_deposed(&a)?;
        let after = stage.release("summer")?;
        ensure!(before.data["status"]["attempt"] == after.data["status"]["attempt"]);
        changes_nothing_more(&weather)?;
        ensure!(stage.leader()? == "b");
        Ok(())
    });
}

#[test]
fn the_config_of_a_deposed_leader_is_refused_though_its_status_was_taken() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let weather = Weather::between(bed, "a", &stage.account()?)?;
        let a = stage.controller_by("a", weather.kubeconfig())?;
        stage.until_led_by(&[&a])?;
        bed.apply(SUMMER)?;
        stage.until_gate("summer")?;
        weather.turn(Sky::HoldsFilters);
        stage.ask("summer", "1", "promote")?;
        poll::until_true("a held write", SOON, || weather.held() > 0)?;
        a.part.freeze()?;
        let status = stage
            .until("summer", "further by its status", |status| status["weights"]["canary"].as_u64() > Some(5_000))?;
        let version = || Ok::<_, anyhow::Error>(stage.config("edge", "graylane-entry")?.metadata.resource_version);
        let (entry, held) = (stage.config("edge", "graylane-entry")?, version()?);
        let b = stage.controller("b")?;
        stage.until_led_by(&[&b])?;
        stage.until("summer", "with all proxies of b", |status| {
            let proxies = &status["proxies"];
            status["waiting"]["reason"] == "ManualHandover" && proxies["acknowledged"] == proxies["expected"]
        })?;
        let own = stage.config("edge", "graylane-entry")?;
        ensure!(own.metadata.resource_version != held && own.data != entry.data, "b wrote nothing: {status:#}");

        weather.turn(Sky::Clear);
        let late = late_writes_are_refused(&weather, "an EnvoyFilter")?;
        let is_entry = |one: &Passed| one.method == Method::PATCH && one.path.ends_with("/envoyfilters/graylane-entry");
        ensure!(late.iter().any(is_entry) && late.iter().all(|one| one.path.contains("/envoyfilters")), "{late:?}");
        a.part.thaw()?;
        until_deposed(&a)?;
        changes_nothing_more(&weather)?;
        let after = stage.config("edge", "graylane-entry")?;
        ensure!(
            after.metadata.resource_version == own.metadata.resource_version && after.data == own.data,
            "{after:?}"
        );
        Ok(())
    });
}

/// Waits for what was held, and gives it back.
fn late_writes_are_refused(weather: &Weather, of: &str) -> Result<Vec<Passed>> {
    poll::until_true("the write to arrive", SOON, || weather.passed().iter().any(|one| one.was_held))?;
    let late: Vec<_> = weather.passed().into_iter().filter(|one| one.was_held).collect();
    let refused = late.iter().filter(|one| one.status == StatusCode::CONFLICT).count();
    let what: Vec<_> = late.iter().map(|one| format!("{} of {}", one.method, last_parts(&one.path))).collect();
    judge(
        &format!("writes of a deposed leader that arrive late, {of}: refused with 409"),
        format!("{refused} of {} ({})", late.len(), what.join(", ")),
        "all",
        refused == late.len(),
    )
    .with_context(|| format!("{late:?}"))?;
    Ok(late)
}

/// Of a path what tells the object.
fn last_parts(path: &str) -> &str {
    path.rsplit_once("/namespaces/").map_or(path, |(_, object)| object)
}

/// From the first write that was held.
fn changes_nothing_more(weather: &Weather) -> Result<()> {
    let late: Vec<_> = weather.passed().into_iter().skip_while(|one| !one.was_held).filter(is_change).collect();
    ensure!(late.iter().all(|one| one.status == StatusCode::CONFLICT), "{late:?}");
    Ok(())
}

fn until_deposed(instance: &Instance) -> Result<()> {
    poll::until(&format!("{} to know", instance.name), SOON, || {
        ensure!(instance.number("graylane_controller_leader")? < 1.0, "it still thinks that it leads");
        Ok(())
    })
}

#[test]
fn a_leader_that_was_deposed_takes_the_writes_of_the_next_one_for_what_they_are() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let a = stage.controller("a")?;
        stage.until_led_by(&[&a])?;
        bed.apply(SUMMER)?;
        stage.until_gate("summer")?;
        let tells = |instance: &Instance| instance.number("graylane_release_phase{");
        ensure!(tells(&a)? == 1.0, "{:?}", a.page("/metrics")?);
        a.part.freeze()?;
        let b = stage.controller("b")?;
        stage.until_led_by(&[&b])?;
        // Written while a sleeps, and after it has woken up.
        stage.ask("summer", "1", "promote")?;
        stage.until_phase("summer", "Promoting")?;
        a.part.thaw()?;
        until_deposed(&a)?;
        stage.ask("summer", "2", "abort")?;
        stage.until_phase("summer", "RolledBack")?;
        for instance in [&a, &b] {
            let told = instance.number("graylane_controller_drift_total")?;
            ensure!(told == 0.0, "{} told drift {told} times: {}", instance.name, instance.part.log());
        }
        // Or each phase that a release had under one leader would stay beside those it has under the next.
        let page = a.page("/metrics")?.1;
        let stale: Vec<_> = page.lines().filter(|line| line.starts_with("graylane_release_")).collect();
        ensure!(stale.is_empty(), "{stale:?}");
        ensure!(tells(&b)? == 1.0, "{:?}", b.page("/metrics")?);
        Ok(())
    });
}

fn is_change(one: &Passed) -> bool {
    // The label of its own pod says who leads, and is taken off by whoever does no more.
    let own = ["/leases", "/events", "/pods/"];
    one.method != Method::GET && !own.iter().any(|part| one.path.contains(part))
}
