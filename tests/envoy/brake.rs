//! The local brake: a canary that fails everything loses its users within two seconds, and nobody else does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use graylane_policy::raw::{RawBrake, RawConfig, RawField};
use graylane_tests::client::{Answer, Ask, Connection, Protocol};
use graylane_tests::document::{SALT, entries, is_in_canary, slots};
use graylane_tests::envoy::{Envoy, wait_for_text};
use graylane_tests::figures::judge_cost;
use graylane_tests::poll::PATIENCE;
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy, paths};
use tokio::task::JoinHandle;

use crate::behind_apps::{behind_apps, serve};
use crate::cart::{Cart, OUTBOUND, who};
use crate::entries::sidecar_with_entry;

on_every_envoy!(
    a_canary_that_fails_everything_loses_its_users_within_seconds,
    a_caller_that_is_no_entry_tells_and_keeps_its_calls_in_the_lane,
    alike_versions_with_one_error_in_twenty_keep_their_users,
    an_entry_on_a_sidecar_brakes_as_well,
);

const WORKERS: u32 = 2;
const CLIENTS: u64 = 4;
/// What is promised, and told as a figure; and what no busy test machine may take longer than.
const PROMISED: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(4);
/// A release's 0.0005 divided by ten proxies.
const EVIDENCE: u64 = 20_000;

/// When users got answers of the canary.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    requests: u32,
    of_canary: u32,
    first: Option<Instant>,
    last: Option<Instant>,
}

fn a_canary_that_fails_everything_loses_its_users_within_seconds(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_bootstrap("header", |text| {
        let sound = r#"{status: 200, body: {inline_string: "orders canary\n"}}"#;
        text.replace(sound, &sound.replace("200", "500"))
    })?;
    change(&scenario, |document| braked(document, 1_000, 0))?;
    let envoy = scenario.how("envoy.yaml", 9901, WORKERS)?.ready()?;
    envoy.wait_for_generation("gateway", 2, WORKERS + 1)?;

    let seen = users(&scenario, Duration::from_secs(5))?;
    let (first, last) = (seen.first.context("no user met the canary")?, seen.last.context("none")?);
    let taken = last - first;
    judge_cost(
        &format!("{:?} Envoy, brake: from a user's first failure in a dead lane to the last", stage.release),
        format!("{} ms; {} of {} requests at weight 10%", taken.as_millis(), seen.of_canary, seen.requests),
        "below 2000 ms",
        taken < PROMISED,
    )?;
    ensure!(taken < DEADLINE, "users met the canary for {taken:?}");
    tells(&envoy, 1.0)?;
    wait_for_text("the log", || envoy.log_text(), "lane canary of shop/summer does clear harm")?;
    ensure!(envoy.stats()?.sum("graylane_lane_total", &[("reason", "brake")]) >= 1.0, "no pick was stopped");
    ensure!(tester(&scenario)?.text() == "orders canary", "testers keep access");

    // The next step of the attempt changes nothing of it.
    change(&scenario, |document| braked(document, 2_000, 0))?;
    envoy.wait_for_generation("gateway", 3, WORKERS + 1)?;
    let seen = users(&scenario, Duration::from_secs(1))?;
    ensure!(seen.of_canary == 0, "{} users met the canary after the next step", seen.of_canary);
    tells(&envoy, 1.0)?;

    change(&scenario, |document| braked(document, 2_000, 1))?;
    envoy.wait_for_generation("gateway", 4, WORKERS + 1)?;
    tells(&envoy, 0.0)?;
    let seen = users(&scenario, Duration::from_secs(4))?;
    ensure!(seen.of_canary > 0, "the brake was let go, and nobody met the canary");
    tells(&envoy, 1.0)
}

fn a_caller_that_is_no_entry_tells_and_keeps_its_calls_in_the_lane(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        cart.change("outbound", |document| document.groups.iter_mut().for_each(|group| brake(&mut group.brake, 0)))?;
        let mut connection = cart.connect(OUTBOUND, Protocol::Http1).await?;
        let deadline = Instant::now() + PATIENCE;
        let labels = [("rollout", "shop/summer"), ("lane", "canary"), ("role", "outbound")];
        while cart.envoy.stats()?.sum("graylane_brake", &labels) < 1.0 {
            ensure!(Instant::now() < deadline, "half of the calls fail, and nothing is told");
            for at in 0..20_u32 {
                let trace = format!("00-4bf92f3577b34da6{at:016x}-00f067aa0ba902b7-01");
                let ask = Ask::get("orders", "/").header("traceparent", trace);
                let answer = match at % 2 {
                    0 => connection.send(&in_canary(ask).header("x-toy-status", "503")).await?,
                    _ => connection.send(&ask).await?,
                };
                ensure!(who(&answer)?.starts_with("orders"), "{}", answer.text());
            }
        }
        let answer = connection.send(&in_canary(Ask::get("orders", "/"))).await?;
        ensure!(who(&answer)? == "orders canary", "{}", answer.text());
        Ok(())
    })
}

fn in_canary(ask: Ask) -> Ask {
    ask.header("x-release-stage", "canary").header("x-graylane-cohort", "shop=slot")
}

fn alike_versions_with_one_error_in_twenty_keep_their_users(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("header", &paths::filter()?, behind_apps)?;
    change(&scenario, |document| braked(document, 5_000, 0))?;
    let envoy = scenario.how("envoy.yaml", 9901, WORKERS)?.ready()?;
    envoy.wait_for_generation("gateway", 2, WORKERS + 1)?;
    at_once(async {
        let _apps = serve(&scenario).await?;
        let seen = traffic(&scenario, Duration::from_secs(8), |user| {
            let ask = ask(user);
            if user.is_multiple_of(20) { ask.header("x-toy-status", "500") } else { ask }
        })
        .await?;
        println!("brake on Envoy {:?}: {} requests, 5% fail on both sides", stage.release, seen.requests);
        let labels = [("cohort", "slot"), ("status_code", "500"), ("lane", "canary")];
        let failed = envoy.stats()?.sum("graylane_requests_total", &labels);
        ensure!(failed >= 10.0 && seen.of_canary > 200, "too little happened: {failed} failures, {seen:?}");
        ensure!(seen.last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)), "users were taken away");
        tells(&envoy, 0.0)
    })
}

fn an_entry_on_a_sidecar_brakes_as_well(stage: &Stage) -> Result<()> {
    let scenario = sidecar_with_entry(stage, "outbound")?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        cart.change("entry", |document| braked(document, 5_000, 0))?;
        let mut connection = cart.connect(OUTBOUND, Protocol::Http1).await?;
        let deadline = Instant::now() + PATIENCE;
        let labels = [("rollout", "shop/summer"), ("lane", "canary"), ("role", "entry")];
        let mut user = 0_u32;
        while cart.envoy.stats()?.sum("graylane_brake", &labels) < 1.0 {
            ensure!(Instant::now() < deadline, "the lane fails, and nothing is told");
            for _ in 0..20 {
                user += 1;
                let status = if is_in_canary(&user.to_string(), 5_000) { "503" } else { "200" };
                let ask = Ask::get("orders", "/").header("x-user-id", user.to_string());
                connection.send(&ask.header("x-toy-status", status)).await?;
            }
        }
        for user in (0..40).filter(|user: &u32| is_in_canary(&user.to_string(), 5_000)) {
            let answer = connection.send(&Ask::get("orders", "/").header("x-user-id", user.to_string())).await?;
            ensure!(who(&answer)? == "orders stable", "user {user}: {}", answer.text());
        }
        Ok(())
    })
}

/// A brake, and this many slots of 10,000 in the canary.
pub fn braked(document: &mut RawConfig, canary: u32, released: u64) {
    for entry in entries(document) {
        entry.slots = Some(slots(canary));
        entry.stickiness.unit = vec![RawField::Header("x-user-id".into())];
    }
    for group in &mut document.groups {
        brake(&mut group.brake, released);
    }
}

fn brake(brake: &mut Option<RawBrake>, released: u64) {
    *brake = Some(RawBrake { evidence: EVIDENCE, attempt: SALT.into(), released });
}

fn change(scenario: &Scenario, edit: impl FnOnce(&mut RawConfig)) -> Result<()> {
    ecds::change(&scenario.folder.join("ecds/gateway.json"), edit)
}

fn tells(envoy: &Envoy, wanted: f64) -> Result<()> {
    let labels = [("rollout", "shop/summer"), ("lane", "canary"), ("role", "gateway")];
    envoy.wait_for_sum("graylane_brake", &labels, wanted)
}

fn tester(scenario: &Scenario) -> Result<Answer> {
    graylane_tests::client::once(scenario.port(10000), &ask(0).header("x-user-group", "beta"))
}

fn ask(user: u64) -> Ask {
    Ask::get("127.0.0.1", "/").header("x-user-id", user.to_string())
}

fn users(scenario: &Scenario, time: Duration) -> Result<Seen> {
    at_once(traffic(scenario, time, ask))
}

/// Some hundred requests a second on several connections, so that every worker has some.
async fn traffic(
    scenario: &Scenario,
    time: Duration,
    ask: impl Fn(u64) -> Ask + Copy + Send + Sync + 'static,
) -> Result<Seen> {
    let mut clients: Vec<JoinHandle<Result<Seen>>> = Vec::new();
    for at in 0..CLIENTS {
        let connection = Connection::open(scenario.port(10000), Protocol::Http1).await?;
        clients.push(tokio::spawn(client(connection, at, time, ask)));
    }
    let mut all = Seen::default();
    for client in clients {
        all = all.with(&client.await??);
    }
    Ok(all)
}

async fn client(mut connection: Connection, at: u64, time: Duration, ask: impl Fn(u64) -> Ask + Send) -> Result<Seen> {
    let began = Instant::now();
    let mut seen = Seen::default();
    let mut every = tokio::time::interval(Duration::from_millis(20));
    while began.elapsed() < time {
        every.tick().await;
        let answer = connection.send(&ask(u64::from(seen.requests) * CLIENTS + at)).await?;
        seen.requests += 1;
        if answer.text().contains("orders canary") {
            let now = Instant::now();
            seen.of_canary += 1;
            seen.first.get_or_insert(now);
            seen.last = Some(now);
        }
    }
    Ok(seen)
}

// === impl Seen ===

impl Seen {
    fn with(self, other: &Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            of_canary: self.of_canary + other.of_canary,
            first: self.first.into_iter().chain(other.first).min(),
            last: self.last.max(other.last),
        }
    }
}
