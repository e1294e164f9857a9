//! Claim 5: releases judge themselves. A good one grows from 1% to everybody by evidence and is handed over, after
//! which stable is the new version; one whose second service fails is taken back, with the hop named; one with too
//! little traffic is not passed. The versions of the services that change have the names of their releases.

use std::time::{Duration, Instant};

use anyhow::Result;
use graylane_analysis::{FaultKind, Outcome};

use super::{of, took};
use crate::app::Seen;
use crate::demo::console::Console;
use crate::demo::stage::Stage;
use crate::demo::traffic::{Background, Tally, ask_all};
use crate::engine::request::Verb;
use crate::engine::status::{PauseReason, Phase, Status};
use crate::http::Ask;
use crate::release::units::percent;
use crate::view::verdict;

/// Clients with a pause between their requests: some 200 requests a second on two cores.
const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(12);
/// Every fifth request finds the canary of `orders` failing.
const FAILS_EVERY: usize = 5;
/// The services that have a version of their own in the lane.
const CHANGED: [&str; 2] = ["frontend", "orders"];
/// The way of everybody once the first release has become stable.
const AUTUMN: [&str; 4] = ["frontend-autumn", "cart-stable", "orders-autumn", "payment-stable"];
/// Users that are asked for who serves them.
const USERS: usize = 400;
/// How long a verdict may take here, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(120);

/// Checks the claim.
///
/// # Errors
/// When a release neither goes on nor back.
pub async fn check(stage: &mut Stage, console: &mut Console) -> Result<()> {
    console.claim("5", "Releases judge themselves on evidence");
    good(stage, console).await?;
    failing(stage, console).await?;
    lonely(stage, console).await
}

async fn good(stage: &mut Stage, console: &mut Console) -> Result<()> {
    let traffic = Background::start(&stage.entry(true), CLIENTS, PAUSE, asks(None));
    console.say("\n    autumn: a good release, whose weight grows as the evidence bears it");
    let start = Instant::now();
    begin(stage, "autumn", "steps: [{auto: {from: 1%}}]").await?;
    let status = watch(stage, console, |status| status.phase == Phase::Promoting).await?;
    let took = start.elapsed();
    show(stage, console, &status)?;
    let passed = status.analysis.values().all(|lane| lane.outcome == Outcome::Pass);
    console.check(passed, "a good release, 1% to 100%", format!("passed after {:.0} s", took.as_secs_f64()), "passed");
    let waits = |status: &Status| status.phase != Phase::Promoting || status.message.contains("promote");
    stage.until("the handover to be ready", waits).await?;
    console.say("    Somebody gives the new version to stable, and says so by `graylane promote`:");
    stage.roll_out("stable", &CHANGED, "autumn")?;
    stage.ask(Verb::Promote)?;
    let done = watch(stage, console, |status| status.phase.is_finished()).await?;
    console.check(done.phase == Phase::Succeeded, "its handover", format!("{:?}", done.phase), "Succeeded");
    everybody_has_autumn(stage, console, "  who gets the new version, outside of any lane").await?;
    let tally = traffic.stop().await;
    let (failed, sent) = (tally.failed, tally.sent);
    console.check(failed == 0, format!("  failed requests of {sent}, until then"), failed.to_string(), "0");
    Ok(())
}

async fn failing(stage: &mut Stage, console: &mut Console) -> Result<()> {
    let traffic = Background::start(&stage.entry(true), CLIENTS, PAUSE, asks(Some("orders-winter")));
    console.say("\n    winter: its second service, orders, answers 500 to a fifth of the canary's requests");
    begin(stage, "winter", "steps: [{weight: 20%}, {analysis: {duration: 5m}}, {weight: 100%}]").await?;
    let status = watch(stage, console, |status| status.phase == Phase::RolledBack).await?;
    let tally: Tally = traffic.stop().await;
    show(stage, console, &status)?;
    let failure = status.failure.as_ref();
    let fault = failure.and_then(|failure| failure.fault.as_ref());
    let named = fault.map_or("nobody".into(), |fault| format!("{} {} ({:?})", fault.service, fault.lane, fault.kind));
    let wanted = ("orders.shop", "canary", FaultKind::Own);
    let right = fault.is_some_and(|fault| (fault.service.as_str(), fault.lane.as_str(), fault.kind) == wanted);
    console.check(right, "a release that fails: who is named, and for what", named, "orders.shop canary (Own)");
    let traces = fault.map(|fault| fault.traces.as_slice()).unwrap_or_default();
    let failed = traces.iter().filter(|trace| tally.failed_traces.contains(*trace)).count();
    let figure = of(failed, traces.len());
    console.check(failed > 0 && failed == traces.len(), "  its traces, of requests that failed", figure, "all");
    let said = status.history.last().map_or("", |entry| entry.message.as_str());
    console.check(status.weight.is_empty(), "how it was taken back", said, "to a weight of nothing");
    everybody_has_autumn(stage, console, "  who is on stable then").await?;
    console.say(&format!("    {} of {} requests failed before that", tally.failed, tally.sent));
    Ok(())
}

async fn lonely(stage: &mut Stage, console: &mut Console) -> Result<()> {
    let traffic = Background::start(&stage.entry(true), 1, Duration::from_millis(250), asks(None));
    console.say("\n    spring: a good release that hardly anybody uses");
    begin(stage, "spring", "steps: [{weight: 20%}, {analysis: {duration: 8s}}, {weight: 100%}]").await?;
    let status = watch(stage, console, |status| status.phase == Phase::Paused || status.phase.is_finished()).await?;
    traffic.stop().await;
    show(stage, console, &status)?;
    let reason = status.pause.as_ref().map(|pause| pause.reason);
    let figure = format!("{:?}, {}", status.phase, status.message);
    console.check(reason == Some(PauseReason::Unverified), "too little traffic", figure, "paused, unverified");
    stage.ask(Verb::Abort)?;
    watch(stage, console, |status| status.phase == Phase::RolledBack).await?;
    Ok(())
}

/// Every user gets the versions of the release that was handed over, and no lane reaches an app.
async fn everybody_has_autumn(stage: &Stage, console: &mut Console, what: &str) -> Result<()> {
    let ask = |user: usize| Ask::get("/").with("x-user-id", format!("user-{user}"));
    let (answers, tally) = ask_all(&stage.entry(true), CLIENTS, (0..USERS).map(ask).collect()).await?;
    let on_stable = |seen: &Seen| seen.hops().iter().all(|hop| hop.lane.is_none());
    let right = took(&answers.into_iter().filter(on_stable).collect::<Vec<_>>(), &AUTUMN);
    let figure = format!("{} users{}", of(right, USERS), tally.first_failure.unwrap_or_default());
    console.check(right == USERS, what, figure, AUTUMN.join(" > "));
    Ok(())
}

/// Users, a fifth of whose requests ask a version to fail.
fn asks(failing: Option<&str>) -> Vec<Ask> {
    let path = failing.map_or("/".into(), |version| format!("/?fail={version}:500"));
    let ask = |user: usize| {
        let fails = (user / 7).is_multiple_of(FAILS_EVERY);
        Ask::get(if fails { path.as_str() } else { "/" }).with("x-user-id", format!("user-{user}"))
    };
    // A number of users without a common divisor with the clients, so that each client meets all of them.
    (0..2_003).map(ask).collect()
}

/// Puts a release in the place of the one before, with new versions of its own in the lane.
async fn begin(stage: &mut Stage, name: &str, steps: &str) -> Result<()> {
    let text = format!(
        "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         group: shop\n  lanes: [{{name: canary}}]\n  members:\n  \
         - {{service: frontend, hosts: [127.0.0.1, localhost, shop.example.com]}}\n  - {{service: cart, lanes: []}}\n  \
         - {{service: orders}}\n  - {{service: payment, lanes: []}}\n  stickiness: {{unit: [{{header: x-user-id}}]}}\n  \
         {steps}\n  analysis: {{warmup: 1s, deadline: 2m}}\n  promotion: {{strategy: manual, bake: 5s}}\n"
    );
    stage.roll_out("canary", &CHANGED, name)?;
    stage.change_release(&format!("shop/{name}"), &text).await
}

/// Follows a release until something holds, and says whenever its weight or its evidence moves.
async fn watch(stage: &Stage, console: &Console, holds: impl Fn(&Status) -> bool) -> Result<Status> {
    let start = Instant::now();
    let mut said = String::new();
    loop {
        let status = stage.status()?;
        let line = line(&status);
        if line != said {
            console.say(&format!("    {:>5.1} s  {line}", start.elapsed().as_secs_f64()));
            said = line;
        }
        if holds(&status) {
            return Ok(status);
        }
        anyhow::ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?}; the release says: {}", status.message);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn line(status: &Status) -> String {
    let weight = percent(status.weights.get("canary").copied().unwrap_or(0));
    let findings = status.analysis.get("canary").map(|lane| lane.findings.as_slice()).unwrap_or_default();
    let texts: Vec<String> = findings
        .iter()
        .map(|one| {
            let service = one.service.split('.').next().unwrap_or_default();
            let (canary, stable) = (rate(one.failures, one.n), rate(one.stable_failures, one.stable_n));
            format!("{service} canary {canary} stable {stable}")
        })
        .collect();
    format!("{:<11} {weight:>4}  failed: {}", format!("{:?}", status.phase), texts.join(", "))
}

/// `10/50=20.0%`.
fn rate(failures: u64, n: u64) -> String {
    let share = if n > 0 { format!("={:.1}%", 100.0 * failures as f64 / n as f64) } else { String::new() };
    format!("{failures}/{n}{share}")
}

/// The verdict in words and the tree, as `graylane get` shows them.
fn show(stage: &Stage, console: &Console, status: &Status) -> Result<()> {
    let verdict = verdict::text(status, status.history.last().map_or(0, |entry| entry.at_ms));
    for line in verdict.lines().chain([""]).chain(stage.tree()?.lines()) {
        console.say(&format!("    {line}"));
    }
    Ok(())
}
