//! `graylane get RELEASE`: one release across its services.

use std::time::Duration;

use clap_complete::ArgValueCandidates;

use super::format::{Looks, Output};
use super::home::{self, Home, Place, block_on, now};
use super::screen::Screen;
use super::{Exit, print};
use crate::view::kept::Kept;
use crate::view::text::{Style, page};
use crate::view::{glance, times};

/// Pods and ages are looked at this often even when the release stays the same.
const REFRESH: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the release
    #[arg(required_unless_present = "selector", add = ArgValueCandidates::new(home::candidates))]
    release: Option<String>,
    /// Those with these labels instead of one by name, as in `team=shop,stage!=old`
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with_all = ["release", "watch"])]
    selector: Option<String>,
    /// Stay, and show every change
    #[arg(short, long)]
    watch: bool,
    /// Format: text, wide, json, yaml, name, or `jsonpath=TEMPLATE`
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_parser = Output::read,
        add = ArgValueCandidates::new(Output::candidates))]
    output: Output,
    #[command(flatten)]
    looks: Looks,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    block_on(async {
        let home = Home::open(&args.place, false).await?;
        match (&args.release, &args.selector) {
            (Some(release), _) if args.watch => watch(args, &home, home::name(release)).await,
            (Some(release), _) => show(args, &home, home::name(release)).await,
            (None, selector) => show_selected(args, &home, selector.as_deref()).await,
        }
    })
}

async fn show(args: &Args, home: &Home, name: &str) -> anyhow::Result<Exit> {
    let kept = home.get(name).await?;
    match args.output.is_text() {
        true => print(&text(args, home, &kept).await)?,
        false => print(&args.output.object(&kept)?)?,
    }
    Ok(Exit::Done)
}

/// One page after the other; other formats print a list.
async fn show_selected(args: &Args, home: &Home, selector: Option<&str>) -> anyhow::Result<Exit> {
    let all = home.list(selector).await?;
    if !args.output.is_text() {
        print(&args.output.objects(&all)?)?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        eprintln!("no release found");
    }
    for (index, kept) in all.iter().enumerate() {
        let between = if index == 0 { "" } else { "\n" };
        print(&format!("{between}{}", text(args, home, kept).await))?;
    }
    Ok(Exit::Done)
}

async fn text(args: &Args, home: &Home, kept: &Kept) -> String {
    let style = Style { wide: args.output.is_wide(), colour: args.looks.colour() };
    page(kept, &home.ground(kept).await, now(), style)
}

/// Until it is interrupted, or the release is gone.
async fn watch(args: &Args, home: &Home, name: &str) -> anyhow::Result<Exit> {
    let mut changes = home.changes(Some(name));
    let mut screen = Screen::new();
    loop {
        let kept = home.get(name).await?;
        match (args.output.is_text(), screen.is_terminal()) {
            (true, true) => screen.draw(&text(args, home, &kept).await)?,
            (true, false) => {
                if screen.changes(&glance::line(&kept)) {
                    print(&format!("{} {}: {}\n", times::at(now()), kept.name, glance::line(&kept)))?;
                }
            }
            (false, _) => {
                let text = args.output.object(&kept)?;
                if screen.changes(&text) {
                    print(&text)?;
                }
            }
        }
        changes.next(REFRESH).await;
    }
}
