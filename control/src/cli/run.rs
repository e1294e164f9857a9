//! `graylane run --local DIR`: the engine on a folder and plain Envoys.

use std::io::IsTerminal;
use std::path::PathBuf;

use super::Exit;
use crate::local::run::Run;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder with release files and `proxies.yaml`; `status/` and `requests/` are made in it
    #[arg(long, value_name = "DIR")]
    local: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let stderr = std::io::stderr;
    tracing_subscriber::fmt().with_target(false).with_ansi(stderr().is_terminal()).with_writer(stderr).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut run = Run::open(&args.local)?;
        tracing::info!("runs the releases of {}", args.local.display());
        tokio::select! {
            () = run.go() => {}
            name = super::demo::interrupted() => tracing::info!("ended by {}; proxies keep what they have", name?),
        }
        Ok(Exit::Done)
    })
}
