//! `graylane list`: releases, one line each.

use std::collections::BTreeSet;
use std::time::Duration;

use clap_complete::ArgValueCandidates;

use super::format::{Looks, Output};
use super::home::{Home, Place, block_on, now};
use super::screen::Screen;
use super::{Exit, print};
use crate::view::kept::Kept;
use crate::view::list::{Columns, table};
use crate::view::text::coloured;
use crate::view::{glance, times};

/// Ages are looked at this often even when nothing changes.
const REFRESH: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Those of every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only those with these labels, as in `team=shop,stage!=old`
    #[arg(short = 'l', long, value_name = "LABELS")]
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
        let home = Home::open(&args.place, args.all_namespaces).await?;
        if args.watch {
            return watch(args, &home).await;
        }
        let all = home.list(args.selector.as_deref()).await?;
        if all.is_empty() && args.output.is_text() {
            eprintln!("no release found");
            return Ok(Exit::Done);
        }
        print(&text(args, &all)?)?;
        Ok(Exit::Done)
    })
}

fn text(args: &Args, all: &[Kept]) -> anyhow::Result<String> {
    if !args.output.is_text() {
        return args.output.objects(all);
    }
    // Releases of several namespaces cannot be told apart without them.
    let namespaces: BTreeSet<&str> = all.iter().map(|kept| kept.namespace.as_str()).collect();
    let columns = Columns { namespace: args.all_namespaces || namespaces.len() > 1, wide: args.output.is_wide() };
    let text = table(all, now(), columns);
    Ok(if args.looks.colour() { coloured(&text) } else { text })
}

/// Until it is interrupted.
async fn watch(args: &Args, home: &Home) -> anyhow::Result<Exit> {
    let mut changes = home.changes(None);
    let mut screen = Screen::new();
    let mut shown = BTreeSet::new();
    loop {
        let all = home.list(args.selector.as_deref()).await?;
        match (args.output.is_text(), screen.is_terminal()) {
            (true, true) => screen.draw(&text(args, &all)?)?,
            (true, false) => {
                let line = |kept: &Kept| format!("{}/{}: {}", kept.namespace, kept.name, glance::line(kept));
                let lines: BTreeSet<String> = all.iter().map(line).collect();
                for line in lines.difference(&shown) {
                    print(&format!("{} {line}\n", times::at(now())))?;
                }
                shown = lines;
            }
            (false, _) => {
                let text = text(args, &all)?;
                if screen.changes(&text) {
                    print(&text)?;
                }
            }
        }
        changes.next(REFRESH).await;
    }
}
