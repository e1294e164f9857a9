//! `promote`, `pause`, `resume`, `abort`, `retry`, `undo`: what a person asks of a release.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::home::{self, Home, Place, block_on, now};
use super::kube::duration;
use super::{Exit, print};
use crate::engine::request::{Request, Verb};
use crate::engine::status::Entry;
use crate::view::kept::Kept;
use crate::view::{glance, times};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the release
    #[arg(add = clap_complete::ArgValueCandidates::new(home::candidates))]
    release: String,
    /// Do not wait for the answer
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct PromoteArgs {
    /// Pass every further wait, up to the last weight and the handover
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    args: Args,
}

pub(super) fn promote(args: &PromoteArgs) -> anyhow::Result<Exit> {
    run(if args.full { Verb::PromoteFull } else { Verb::Promote }, &args.args)
}

pub(super) fn run(verb: Verb, args: &Args) -> anyhow::Result<Exit> {
    block_on(async {
        let home = Home::open(&args.place, false).await?;
        let kept = home.get(home::name(&args.release)).await?;
        if let Some(reason) = kept.refusal(verb) {
            bail!("`{}` makes no sense for {}: {reason}", verb.name(), kept.name);
        }
        if let Some(unheard) = kept.asked.as_ref().filter(|asked| asked.id != kept.status.handled_request) {
            eprintln!("`{}` was asked before and not handled yet; it is forgotten now", unheard.verb.name());
        }
        let request = Request { id: fresh_id()?, verb, step: Some(kept.status.step) };
        home.ask(&kept, &request).await?;
        if args.no_wait {
            return said(&kept, &format!("{} asked", verb.name()));
        }
        answer(args, &home, &kept, &request).await
    })
}

/// Ids sort by time, for whoever looks for one; the rest of it keeps two apart.
fn fresh_id() -> anyhow::Result<String> {
    let random = getrandom::u64().context("the system gives no random numbers")?;
    Ok(format!("{}-{random:016x}", now()))
}

async fn answer(args: &Args, home: &Home, before: &Kept, request: &Request) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let mut changes = home.changes(Some(&before.name));
    loop {
        let kept = home.get(&before.name).await?;
        if kept.status.handled_request == request.id {
            return match ignored(before, &kept, request.verb) {
                Some(reason) => bail!("{}: {reason}", kept.name),
                None => said(&kept, &format!("{} done: {}", request.verb.name(), glance::line(&kept))),
            };
        }
        let left = args.timeout.saturating_sub(began.elapsed());
        if left.is_zero() {
            let (handler, timeout) = (home.handler(), times::exact(millis(args.timeout)));
            eprintln!("asked, but {handler} has not answered within {timeout}; it answers when it runs");
            return Ok(Exit::NotInTime);
        }
        changes.next(left).await;
    }
}

/// What the engine noted when it would not do what was asked.
fn ignored(before: &Kept, after: &Kept, verb: Verb) -> Option<String> {
    let lead = format!("`{}`", verb.name());
    let is_it = |entry: &&Entry| entry.reason == "Ignored" && entry.message.starts_with(&lead);
    let found =
        after.status.history.iter().rev().take_while(|entry| !before.status.history.contains(entry)).find(is_it);
    found.map(|entry| entry.message.clone())
}

fn said(kept: &Kept, words: &str) -> anyhow::Result<Exit> {
    print(&format!("{}: {words}\n", super::format::full_name(&kept.name)))?;
    Ok(Exit::Done)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
