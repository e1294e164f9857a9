//! `graylane run --local DIR`: the engine on a folder and plain Envoys.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;

use super::Exit;
use super::offer::{self, Offer};
use crate::api::record::Record;
use crate::local::run::Run;
use crate::log;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder with release files and `proxies.yaml`; `status/` and `requests/` are made in it
    #[arg(long, value_name = "DIR")]
    local: PathBuf,
    #[command(flatten)]
    offer: Offer,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let stderr = std::io::stderr();
    let is_terminal = stderr.is_terminal();
    let (writer, _log) = log::unblocking(stderr);
    tracing_subscriber::fmt().with_target(false).with_ansi(is_terminal).with_writer(writer).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (record, offered) = (Record::default(), args.offer.auth(|| None)?);
        let mut run = Run::offering(&args.local, (record.clone(), args.offer.notices()?))?;
        // On a thread of its own kind, so that a pass of the engine holds up no answer.
        let served = tokio::spawn(offer::serve(offered, record, std::future::pending()));
        tracing::info!("runs the releases of {}", args.local.display());
        tokio::select! {
            () = run.go() => {}
            served = served => served?.context("cannot serve the API")?,
            name = super::demo::interrupted() => tracing::info!("ended by {}; proxies keep what they have", name?),
        }
        Ok(Exit::Done)
    })
}
