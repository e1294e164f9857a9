//! `graylane demo`: what `make demo` runs.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use crate::demo::{self, Options};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Envoy program
    #[arg(long, env = "ENVOY", value_name = "FILE", default_value = "envoy")]
    envoy: PathBuf,
    /// Filter module
    #[arg(long, alias = "module", value_name = "FILE", default_value = "target/filter/graylane_filter.wasm")]
    filter: PathBuf,
    /// Leave everything running afterwards, until interrupted, and print what to try by hand
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let options = Options { envoy: args.envoy.clone(), filter: args.filter.clone(), keep: args.keep };
    let runtime = tokio::runtime::Runtime::new()?;
    // Whichever way this ends, the Envoys are ended by the values that stand for them.
    runtime.block_on(async {
        let demo = tokio::select! {
            demo = demo::run(&options) => demo?,
            name = interrupted() => {
                eprintln!("\nended by {}", name?);
                return Ok(Exit::Interrupted);
            }
        };
        if args.keep {
            demo.show_what_to_try()?;
            interrupted().await?;
        }
        Ok(if demo.all_hold { Exit::Done } else { Exit::Failed })
    })
}

pub(super) async fn interrupted() -> std::io::Result<&'static str> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "interrupt",
        _ = terminate.recv() => "termination",
        _ = hangup.recv() => "hangup",
    })
}
