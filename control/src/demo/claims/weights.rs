//! Claim 2: weights move while traffic flows. Shares are right, users stay where they are while a lane
//! grows, no connection is closed, and a new weight is in force within moments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use graylane_policy::hash::slot_of;
use graylane_policy::slots::{SlotTable, evolve};

use crate::build::Side;
use crate::demo::binomial::bound;
use crate::demo::console::Console;
use crate::demo::stage::Stage;
use crate::demo::traffic::{Background, Tally, ask_all, client, seen};
use crate::engine::request::Verb;
use crate::engine::status::Phase;
use crate::http::Ask;
use crate::release::units::percent;

/// The weights in percent, in the order of the release's steps; the last is what `abort` does.
const STEPS: [u32; 6] = [0, 5, 25, 50, 100, 0];
/// The weight at which the release is shown.
const SHOWN_AT: u32 = 50;
/// Users that are asked at each weight.
const USERS: usize = 3_000;
/// Connections that ask for them.
const CONNECTIONS: usize = 4;

/// What was seen at one weight.
struct Step {
    /// By user: whether the canary answered.
    in_canary: Vec<bool>,
    /// Users for whom the slot table says something else.
    wrong: usize,
    tally: Tally,
}

/// Checks the claim.
///
/// # Errors
/// When the release does not go on or a request is not answered at all.
pub async fn check(stage: &Stage, console: &mut Console) -> Result<()> {
    console.claim("2", "A release goes 0, 5, 25, 50, 100, 0 by its steps while users send requests");
    let background = Background::start(&stage.entry(true), 2, Duration::from_millis(5), users(50));
    let mut tally = Tally::default();
    let mut wrong = 0;
    let mut flipped = 0;
    let mut first_request = Vec::new();
    let mut all_workers = Vec::new();
    let mut tree = String::new();
    let mut before: Option<(u32, Vec<bool>)> = None;
    for percents in STEPS {
        if let Some((first, all)) = go_to(stage, console, percents).await? {
            first_request.push(first);
            all_workers.push(all);
        }
        console.progress(&format!("{USERS} users at {percents}%"));
        let step = ask_users(stage).await?;
        report_share(console, percents, &step.in_canary);
        if let Some((last, lanes)) = before.take()
            && last < percents
        {
            flipped += lanes.iter().zip(&step.in_canary).filter(|(was, is)| **was && !**is).count();
        }
        if percents == SHOWN_AT {
            tree = stage.tree()?;
        }
        wrong += step.wrong;
        tally = tally.with(step.tally);
        before = Some((percents, step.in_canary));
    }
    let tally = tally.with(background.stop().await);
    report_times(console, &first_request, &all_workers);
    let zero = |console: &mut Console, what: &str, count: u64| {
        console.check(count == 0, what, count.to_string(), "0");
    };
    zero(console, "users that left the canary while it grew", flipped as u64);
    zero(console, "users elsewhere than `graylane explain` says", wrong as u64);
    zero(console, "connections closed by the changes", tally.reopened);
    zero(console, &format!("failed requests of {}", tally.sent), tally.failed);
    console.say(&format!("\n    The release at {SHOWN_AT}%, as `graylane get` shows it:"));
    tree.lines().for_each(|line| console.say(&format!("    {line}")));
    begin_again(stage).await
}

/// A second attempt, which waits before its first weight, for the claims that follow.
async fn begin_again(stage: &Stage) -> Result<()> {
    let generation = stage.generation();
    stage.ask(Verb::Retry)?;
    stage.until("a second attempt", |status| status.attempt == 2 && status.phase == Phase::Paused).await?;
    stage.written_after(Side::Outbound, generation).await?;
    stage.all_confirm("the config of the second attempt").await
}

/// Goes to the next weight, or back to stable, by a request; returns the time from the write of the
/// gateway's file to the first request on the new weight, and to every worker of every proxy having it,
/// in milliseconds. The first weight is there already.
async fn go_to(stage: &Stage, console: &Console, percents: u32) -> Result<Option<(u64, u64)>> {
    let status = stage.status()?;
    let (old, salt) = (status.table(), status.salt);
    let verb = match percents {
        0 if status.weight.is_empty() => return Ok(None),
        0 => Verb::Abort,
        _ => Verb::Promote,
    };
    console.progress(&format!("{} to {percents}%", verb.name()));
    let new = evolve(&old, &BTreeMap::from([("canary".to_owned(), percents * 100)]))?;
    let (user, lane) = first_to_move(&old, &new, &salt).context("nobody would move")?;
    let entry = stage.entry(true);
    let probe = probe(stage, &entry, user, lane);
    stage.ask(verb)?;
    let weight = percent(percents * 100);
    let what = format!("a weight of {weight}");
    let arrived = stage.until(&what, |status| match percents {
        0 => status.phase == Phase::RolledBack,
        _ => status.phase == Phase::Paused && status.weight == format!("canary={weight}"),
    });
    let (probed, arrived) = tokio::join!(probe, arrived);
    let (first, written) = probed?;
    // The last thing that has happened is that every worker reported it.
    let arrived = arrived?.history.last().map_or(0, |entry| entry.at_ms);
    Ok(Some((first.saturating_sub(written), arrived.saturating_sub(written))))
}

/// A user that the new table puts in another lane, and the lane.
fn first_to_move(old: &SlotTable, new: &SlotTable, salt: &str) -> Option<(String, String)> {
    (0..100_000).map(|number| format!("probe-{number}")).find_map(|user| {
        let slot = slot_of(user.as_bytes(), salt);
        let lane = new.lane_of(slot);
        (lane != old.lane_of(slot)).then(|| (user, lane.to_owned()))
    })
}

/// Asks again and again for one user; ends with the time of the first answer from the user's new lane,
/// and that of the write of the gateway's file, both in milliseconds since the Unix epoch.
async fn probe(stage: &Stage, entry: &str, user: String, lane: String) -> Result<(u64, u64)> {
    let ask = Ask::get("/?hops=0").with("x-user-id", user);
    let mut client = client(entry);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) {
        if seen(&client.ask(&ask).await?)?.at.ends_with(&lane) {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
            return Ok((u64::try_from(now.as_millis())?, stage.gateway_written_ms()?));
        }
    }
    anyhow::bail!("no request was answered on the new weight within 15 s")
}

fn users(count: usize) -> Vec<Ask> {
    (0..count).map(|user| Ask::get("/?hops=0").with("x-user-id", format!("user-{user}"))).collect()
}

/// Asks once for each user.
async fn ask_users(stage: &Stage) -> Result<Step> {
    let (table, salt) = stage.slots()?;
    let (answers, tally) = ask_all(&stage.entry(true), CONNECTIONS, users(USERS)).await.context("asking the users")?;
    let in_canary: Vec<bool> = answers.iter().map(|seen| seen.at == "frontend-canary").collect();
    let expected = |user: usize| table.lane_of(slot_of(format!("user-{user}").as_bytes(), &salt)) == "canary";
    let wrong = in_canary.iter().enumerate().filter(|(user, is)| expected(*user) != **is).count();
    Ok(Step { in_canary, wrong, tally })
}

fn report_share(console: &mut Console, percents: u32, in_canary: &[bool]) {
    let (hits, draws) = (in_canary.iter().filter(|is| **is).count() as u64, in_canary.len() as u64);
    let (low, high) = bound(hits, draws);
    let weight = f64::from(percents) / 100.0;
    // Nothing and everything are exact, whatever a draw may allow.
    let holds = match percents {
        0 => hits == 0,
        100 => hits == draws,
        _ => low <= weight && weight <= high,
    };
    let share = 100.0 * hits as f64 / draws as f64;
    let figure = format!("{share:.1}% of users, 99.9% bound {:.1}..{:.1}%", 100.0 * low, 100.0 * high);
    console.check(
        holds,
        format!("share at weight {}", percent(percents * 100)),
        figure,
        if matches!(percents, 0 | 100) { "exactly that" } else { "inside the bound" },
    );
}

fn report_times(console: &mut Console, first_request: &[u64], all_workers: &[u64]) {
    let (median, worst) = median_and_worst(first_request);
    let figure = format!("{median} ms median, {worst} ms worst of {}", first_request.len());
    console.check(worst < 2_000, "from write to the first request on it", figure, "under 2000 ms");
    let (median, worst) = median_and_worst(all_workers);
    let figure = format!("{median} ms median, {worst} ms worst");
    console.check(worst < 5_000, "from write to every worker of every proxy", figure, "under 5000 ms");
}

fn median_and_worst(values: &[u64]) -> (u64, u64) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    (sorted.get(sorted.len() / 2).copied().unwrap_or(0), sorted.last().copied().unwrap_or(0))
}
