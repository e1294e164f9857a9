//! Claim 5: releases judge themselves. A good one grows from 1% to everybody by evidence and is handed over;
//! one whose second service fails is taken back, with the hop named; one with too little traffic is not
//! passed.

use std::time::{Duration, Instant};

use anyhow::Result;
use graylane_analysis::Outcome;

use super::of;
use crate::demo::console::Console;
use crate::demo::stage::Stage;
use crate::demo::traffic::{Background, Tally};
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
    let traffic = Background::start(&stage.entry(true), CLIENTS, PAUSE, asks(0));
    console.say("\n    autumn: a good release, whose weight grows as the evidence bears it");
    let start = Instant::now();
    begin(stage, "autumn", "steps: [{auto: {from: 1%}}]").await?;
    let status = watch(stage, console, |status| status.phase == Phase::Promoting).await?;
    let took = start.elapsed();
    console.say("    Somebody gives stable the new version, and says so by `graylane promote`:");
    stage.ask(Verb::Promote)?;
    stage
        .until("the handover to be ready", |status| {
            status.phase != Phase::Promoting || status.message.contains("promote")
        })
        .await?;
    let done = watch(stage, console, |status| status.phase.is_finished()).await?;
    let tally = traffic.stop().await;
    show(console, &status);
    let passed = status.analysis.values().all(|lane| lane.outcome == Outcome::Pass);
    console.check(passed, "a good release, 1% to 100%", format!("passed after {:.0} s", took.as_secs_f64()), "passed");
    console.check(done.phase == Phase::Succeeded, "its handover", format!("{:?}", done.phase), "Succeeded");
    console.check(tally.failed == 0, format!("failed requests of {}", tally.sent), tally.failed.to_string(), "0");
    Ok(())
}

async fn failing(stage: &mut Stage, console: &mut Console) -> Result<()> {
    let traffic = Background::start(&stage.entry(true), CLIENTS, PAUSE, asks(FAILS_EVERY));
    console.say("\n    winter: its second service, orders, answers 500 to a fifth of the canary's requests");
    begin(stage, "winter", "steps: [{weight: 20%}, {analysis: {duration: 5m}}, {weight: 100%}]").await?;
    let status = watch(stage, console, |status| status.phase == Phase::RolledBack).await?;
    let tally: Tally = traffic.stop().await;
    show(console, &status);
    let failure = status.failure.as_ref();
    let fault = failure.and_then(|failure| failure.fault.as_ref());
    let named = fault.map_or("nobody".into(), |fault| format!("{} {} ({:?})", fault.service, fault.lane, fault.kind));
    let right = fault.is_some_and(|fault| fault.service == "orders.shop" && fault.lane == "canary");
    console.check(right, "a release that fails: who is named", named, "orders.shop canary");
    let traces = fault.map(|fault| fault.traces.as_slice()).unwrap_or_default();
    let failed = traces.iter().filter(|trace| tally.failed_traces.contains(*trace)).count();
    let figure = of(failed, traces.len());
    console.check(failed > 0 && failed == traces.len(), "  its traces, of requests that failed", figure, "all");
    let said = status.history.last().map_or("", |entry| entry.message.as_str());
    console.check(status.weight.is_empty(), "where everybody is then", said, "on stable");
    console.say(&format!("    {} of {} requests failed before that", tally.failed, tally.sent));
    Ok(())
}

async fn lonely(stage: &mut Stage, console: &mut Console) -> Result<()> {
    let traffic = Background::start(&stage.entry(true), 1, Duration::from_millis(250), asks(0));
    console.say("\n    spring: a good release that hardly anybody uses");
    begin(stage, "spring", "steps: [{weight: 20%}, {analysis: {duration: 8s}}, {weight: 100%}]").await?;
    let status = watch(stage, console, |status| status.phase == Phase::Paused || status.phase.is_finished()).await?;
    traffic.stop().await;
    show(console, &status);
    let reason = status.pause.as_ref().map(|pause| pause.reason);
    let figure = format!("{:?}, {}", status.phase, status.message);
    console.check(reason == Some(PauseReason::Unverified), "too little traffic", figure, "paused, unverified");
    stage.ask(Verb::Abort)?;
    watch(stage, console, |status| status.phase == Phase::RolledBack).await?;
    Ok(())
}

/// Users, of whose requests every so many asks the canary of `orders` to fail.
fn asks(fails_every: usize) -> Vec<Ask> {
    let ask = |user: usize| {
        let fails = fails_every > 0 && (user / 7).is_multiple_of(fails_every);
        let path = if fails { "/?fail=orders-canary:500" } else { "/" };
        Ask::get(path).with("x-user-id", format!("user-{user}"))
    };
    // A number of users without a common divisor with the clients, so that each client meets all of them.
    (0..2_003).map(ask).collect()
}

/// Puts a release in the place of the one before.
async fn begin(stage: &mut Stage, name: &str, steps: &str) -> Result<()> {
    let text = format!(
        "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         group: shop\n  lanes: [{{name: canary}}]\n  members:\n  \
         - {{service: frontend, hosts: [127.0.0.1, localhost, shop.example.com]}}\n  - {{service: cart, lanes: []}}\n  \
         - {{service: orders}}\n  - {{service: payment, lanes: []}}\n  stickiness: {{unit: [{{header: x-user-id}}]}}\n  \
         {steps}\n  analysis: {{warmup: 1s, deadline: 2m}}\n  promotion: {{strategy: manual}}\n"
    );
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
            format!("{service} canary {}/{} stable {}/{}", one.failures, one.n, one.stable_failures, one.stable_n)
        })
        .collect();
    format!("{:<11} {weight:>4}  failed/all: {}", format!("{:?}", status.phase), texts.join(", "))
}

fn show(console: &Console, status: &Status) {
    let text = verdict::text(status, status.history.last().map_or(0, |entry| entry.at_ms));
    text.lines().for_each(|line| console.say(&format!("    {line}")));
}
