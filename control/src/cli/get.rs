//! `graylane get RELEASE`: one release across its services.

use std::time::Duration;

use super::format::{Format, Looks, object, print_object};
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
    release: String,
    /// Stay, and show every change
    #[arg(short, long)]
    watch: bool,
    /// Format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    looks: Looks,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    block_on(async {
        let home = Home::open(&args.place, false).await?;
        let name = home::name(&args.release);
        if args.watch { watch(args, &home, name).await } else { show(args, &home, name).await }
    })
}

async fn show(args: &Args, home: &Home, name: &str) -> anyhow::Result<Exit> {
    let kept = home.get(name).await?;
    match args.output.is_text() {
        true => print(&text(args, home, &kept).await)?,
        false => print_object(&kept, args.output)?,
    }
    Ok(Exit::Done)
}

async fn text(args: &Args, home: &Home, kept: &Kept) -> String {
    let style = Style { wide: args.output == Format::Wide, colour: args.looks.colour() };
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
                let text = object(&kept, args.output)?;
                if screen.changes(&text) {
                    print(&text)?;
                }
            }
        }
        changes.next(REFRESH).await;
    }
}
