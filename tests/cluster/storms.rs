//! An API server that is away, answers with errors, or does not answer.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::figures::{judge, say};

use crate::stage::{SUMMER, Stage, timed};
use crate::weather::{Sky, Weather};

/// A release comes through a storm: what is decided in it happens after it, and nothing twice.
fn comes_through(sky: &Sky, lasts: Duration) {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let weather = Weather::between(bed, "a", &stage.account()?)?;
        let controller = stage.controller_by("a", weather.kubeconfig())?;
        stage.until_led_by(&[&controller])?;
        bed.apply(SUMMER)?;
        let before = stage.until_gate("summer")?;
        let config = stage.config("edge", "graylane-entry")?;

        weather.turn(sky.clone());
        stage.ask("summer", "1", "promote")?;
        // Not waiting for something: this is how long the weather lasts.
        sleep(lasts);
        let held = stage.config("edge", "graylane-entry")?;
        ensure!(
            held.metadata.resource_version == config.metadata.resource_version,
            "something was written in the storm"
        );
        ensure!(controller.page("/healthz")?.0 == 200, "bad weather is no reason to be started again");

        weather.turn(Sky::Clear);
        let (after, time) = timed(|| stage.until("summer", "moved on", |status| status["handledRequest"] == "1"))?;
        let name = format!("API server: {sky:?} for {} s: a release goes on after it", lasts.as_secs());
        say(&name, format!("{:.2} s later", time.as_secs_f64()))?;
        ensure!(after["attempt"] == before["attempt"] && after["salt"] == before["salt"], "{after:#}");
        stage.until("summer", "waiting for stable", |status| status["waiting"]["reason"] == "ManualHandover")?;
        // What failed was tried again; all watches and the election together make some ten tries a second.
        let (tried, most) = (weather.tried(), 20 * lasts.as_secs());
        let name = format!("API server: {sky:?} for {} s: tries meanwhile", lasts.as_secs());
        judge(&name, tried.to_string(), &format!("1 to {most}"), (1..=most).contains(&(tried as u64)))?;
        controller.was_never_forbidden()
    });
}

#[test]
fn smoke_an_api_server_that_answers_500() {
    comes_through(&Sky::Status(500), Duration::from_secs(6));
}

#[test]
fn an_api_server_that_answers_429() {
    comes_through(&Sky::Status(429), Duration::from_secs(15));
}

#[test]
fn an_api_server_that_hangs() {
    comes_through(&Sky::Hangs, Duration::from_secs(15));
}

#[test]
fn an_api_server_that_is_away_for_half_a_minute() {
    comes_through(&Sky::Away, Duration::from_secs(30));
}

#[test]
fn an_api_server_that_is_not_there_yet() {
    bed::tell(&Bed::cluster(), |bed| -> Result<()> {
        let stage = Stage::set(bed)?;
        let weather = Weather::between(bed, "a", &stage.account()?)?;
        weather.turn(Sky::Away);
        let controller = stage.controller_by("a", weather.kubeconfig())?;
        graylane_tests::poll::until("an answer", crate::stage::SOON, || {
            let (code, text) = controller.page("/readyz")?;
            ensure!(code == 503 && text.contains("GrayRelease: not heard yet"), "{code}: {text}");
            Ok(())
        })?;
        weather.turn(Sky::Clear);
        stage.until_led_by(&[&controller])?;
        bed.apply(SUMMER)?;
        stage.until_gate("summer")?;
        Ok(())
    });
}
