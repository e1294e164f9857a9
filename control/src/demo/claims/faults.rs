//! Claim 4: what fails sends requests to stable and nowhere else. A version that goes away, a config
//! that makes no sense, and clients that claim a lane.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{CANARY, STABLE, of, storm, took};
use crate::build::Side;
use crate::build::ecds::inert_response;
use crate::demo::bootstrap::ecds_file;
use crate::demo::console::Console;
use crate::demo::stage::Stage;
use crate::demo::traffic::{Background, ask_all};
use crate::http::Ask;

const REQUESTS: usize = 20;
/// How long traffic goes on before and after each fault, so that there is some to be harmed.
const A_WHILE: Duration = Duration::from_millis(1_500);

/// Checks the claim.
///
/// # Errors
/// When a config does not arrive or a request is not answered at all.
pub async fn check(stage: &mut Stage, console: &mut Console) -> Result<()> {
    console.claim("4", "What fails sends requests to stable");
    storm::check(stage, console).await?;
    forging(stage, console, true).await?;
    forging(stage, console, false).await?;
    bad_config(stage, console).await?;
    filter_removed(stage, console).await?;
    version_away(stage, console).await?;
    version_back(stage, console).await
}

fn tester() -> Ask {
    Ask::get("/").with("x-user-group", "beta")
}

/// A client that claims to be in the canary, by everything that could say so.
async fn forging(stage: &Stage, console: &mut Console, with_filter: bool) -> Result<()> {
    let ask = Ask::get("/")
        .with("x-release-stage", "canary")
        .with("x-graylane-route", "canary")
        .with("x-graylane-cohort", "shop=rule")
        .with("x-graylane-untrusted-x-release-stage", "canary")
        .with("baggage", "graylane.shop=canary;cohort=rule");
    let (answers, _) = ask_all(&stage.entry(with_filter), 2, vec![ask; REQUESTS]).await?;
    let right = took(&answers, &STABLE);
    let gateway = if with_filter { "with" } else { "without" };
    let what = format!("forged headers, gateway {gateway} filter");
    console.check(right == REQUESTS, what, format!("stable {}", of(right, REQUESTS)), "stable on every hop");
    Ok(())
}

/// Somebody writes nonsense into the file that the gateway watches.
async fn bad_config(stage: &Stage, console: &mut Console) -> Result<()> {
    console.progress("writing a config that makes no sense");
    let file = stage.dir.join(ecds_file(Side::Gateway, stage.topology.gateway.name));
    let mut response: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let config = response.pointer_mut("/resources/0/typed_config/config/configuration/value");
    *config.context("the ECDS file holds no document")? = json!("{\"version\":1,\"generation\":");
    let fails = "graylane.gateway.config_fail";
    let before = stage.stats("gateway", "config_fail").await?.sum_ending(fails);
    stage.hands_off().await?;
    let background = Background::start(&stage.entry(true), 2, Duration::from_millis(2), vec![tester()]);
    replace(&file, &response)?;
    let refused = until(Duration::from_secs(10), async || {
        Ok(stage.stats("gateway", "config_fail").await?.sum_ending(fails) > before)
    });
    let refused = refused.await?;
    let (answers, _) = ask_all(&stage.entry(true), 2, vec![tester(); REQUESTS]).await?;
    tokio::time::sleep(A_WHILE).await;
    let tally = background.stop().await;
    let words = if refused { "refused by Envoy" } else { "taken" };
    console.check(refused, "a config that makes no sense", words, "refused");
    let right = took(&answers, &CANARY);
    ordinary_requests(stage, console).await?;
    let holds = right == REQUESTS && tally.failed == 0;
    let figure = format!("canary {}, {} of {} failed", of(right, REQUESTS), tally.failed, tally.sent);
    console.check(holds, "  the last good config serves on", figure, "all testers, none failed");
    let millis = stage.hands_on().await?;
    let figure = format!("on every worker in {millis} ms");
    console.check(true, "  graylane puts it right when let", figure, "acknowledged");
    Ok(())
}

/// Requests that no rule concerns are answered as by the gateway without the filter.
async fn ordinary_requests(stage: &Stage, console: &mut Console) -> Result<()> {
    let (ours, _) = ask_all(&stage.entry(true), 2, vec![Ask::get("/"); REQUESTS]).await?;
    let (plain, _) = ask_all(&stage.entry(false), 2, vec![Ask::get("/"); REQUESTS]).await?;
    let alike = ours.iter().zip(&plain).filter(|(ours, plain)| ours == plain && ours.path() == STABLE).count();
    let figure = of(alike, REQUESTS);
    console.check(alike == REQUESTS, "  answers as by the gateway without filter", figure, of(REQUESTS, REQUESTS));
    Ok(())
}

/// The filter is taken out while clients send requests: everybody is served by stable.
async fn filter_removed(stage: &Stage, console: &mut Console) -> Result<()> {
    console.progress("taking the filter out of the gateway");
    let file = stage.dir.join(ecds_file(Side::Gateway, stage.topology.gateway.name));
    stage.hands_off().await?;
    let background = Background::start(&stage.entry(true), 2, Duration::from_millis(2), vec![tester()]);
    replace(&file, &inert_response(Side::Gateway, 0))?;
    let gone = until(Duration::from_secs(10), async || {
        let (answers, _) = ask_all(&stage.entry(true), 1, vec![tester(); 4]).await?;
        Ok(took(&answers, &STABLE) == 4)
    });
    let gone = gone.await?;
    let forged = tester().with("x-release-stage", "canary").with("x-graylane-route", "canary");
    let (answers, _) = ask_all(&stage.entry(true), 2, vec![forged; REQUESTS]).await?;
    let right = took(&answers, &STABLE);
    tokio::time::sleep(A_WHILE).await;
    let tally = background.stop().await;
    let figure = format!("stable {}, {} of {} failed", of(right, REQUESTS), tally.failed, tally.sent);
    let holds = gone && right == REQUESTS && tally.failed == 0 && tally.reopened == 0;
    console.check(holds, "forged headers, filter taken out", figure, "stable, none failed");
    stage.hands_on().await?;
    Ok(())
}

/// A lane version says that it is not ready, everybody knows, then it is stopped while testers use it.
async fn version_away(stage: &mut Stage, console: &mut Console) -> Result<()> {
    console.progress("orders-canary is not ready, then stopped");
    let background = Background::start(&stage.entry(true), 3, Duration::from_millis(2), vec![tester()]);
    tokio::time::sleep(A_WHILE).await;
    let millis = say_not_ready(stage).await?;
    let before = fallbacks(stage).await?;
    let figure = format!("on every worker in {millis} ms");
    console.check(true, "orders-canary says that it is not ready", figure, "acknowledged");
    drain(stage).await?;
    stage.stop("orders-canary").await?;
    let (answers, _) = ask_all(&stage.entry(true), 2, vec![tester(); REQUESTS]).await?;
    tokio::time::sleep(A_WHILE).await;
    let tally = background.stop().await;
    let path = ["frontend-canary", "cart-stable", "orders-stable", "payment-stable"];
    let right = took(&answers, &path);
    console.check(
        right == REQUESTS,
        "  then stopped: testers on orders-stable",
        of(right, REQUESTS),
        of(REQUESTS, REQUESTS),
    );
    let counted = fallbacks(stage).await? - before;
    console.check(
        counted >= REQUESTS as u64,
        "  fallbacks counted by callers",
        counted.to_string(),
        format!("at least {REQUESTS}"),
    );
    let figure =
        format!("{}{}", of(usize::try_from(tally.failed)?, usize::try_from(tally.sent)?), words(tally.first_failure));
    console.check(tally.failed == 0, "  failed requests all the while", figure, "0");
    Ok(())
}

/// Lets orders-canary say to its probe that it is not ready; ends when every worker of every proxy knows, with the
/// milliseconds it took.
async fn say_not_ready(stage: &Stage) -> Result<u128> {
    let start = Instant::now();
    let generation = stage.generation();
    stage.set_ready("orders-canary", false)?;
    stage.written_after(Side::Outbound, generation).await?;
    stage.all_confirm("that orders-canary is not ready").await?;
    Ok(start.elapsed().as_millis())
}

/// The version comes back, and answers its probe.
async fn version_back(stage: &mut Stage, console: &mut Console) -> Result<()> {
    console.progress("orders-canary comes back");
    let generation = stage.generation();
    stage.revive("orders-canary").await?;
    stage.written_after(Side::Outbound, generation).await?;
    stage.all_confirm("that orders-canary is ready").await?;
    let (answers, _) = ask_all(&stage.entry(true), 2, vec![tester(); REQUESTS]).await?;
    let right = took(&answers, &CANARY);
    console.check(
        right == REQUESTS,
        "  ready again: testers on orders-canary",
        of(right, REQUESTS),
        of(REQUESTS, REQUESTS),
    );
    Ok(())
}

/// Lets requests that were on their way to orders-canary before the push come back.
async fn drain(stage: &Stage) -> Result<()> {
    until(Duration::from_secs(10), async || {
        Ok(stage.stats("orders-canary", "inbound.downstream_rq_active").await?.sum("downstream_rq_active", &[]) == 0)
    })
    .await?;
    Ok(())
}

/// Requests for orders that wanted a lane and were served by stable; cart is the one that calls it.
async fn fallbacks(stage: &Stage) -> Result<u64> {
    let labels = [("lane", "canary"), ("reason", "fallback")];
    Ok(stage.stats("cart-stable", "graylane_lane_total").await?.sum("graylane_lane_total", &labels))
}

fn words(failure: Option<String>) -> String {
    failure.map(|failure| format!(": {}", failure.chars().take(120).collect::<String>())).unwrap_or_default()
}

/// Moves a file over another, as every writer of ECDS files must.
fn replace(file: &std::path::Path, response: &Value) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, response.to_string())?;
    Ok(std::fs::rename(&new, file)?)
}

/// Whether something becomes true in time.
async fn until(patience: Duration, mut is_true: impl AsyncFnMut() -> Result<bool>) -> Result<bool> {
    let start = Instant::now();
    loop {
        if is_true().await? {
            return Ok(true);
        }
        if start.elapsed() > patience {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
