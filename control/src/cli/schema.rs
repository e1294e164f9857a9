//! `graylane schema`: the JSON Schema of what the filter and `graylane` read.

use graylane_policy::raw::RawConfig;

use super::{Exit, print_json};
use crate::release::GrayRelease;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The schema of release files instead of the filter's config
    #[arg(long)]
    release: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let schema = if args.release { schemars::schema_for!(GrayRelease) } else { schemars::schema_for!(RawConfig) };
    print_json(&schema)?;
    Ok(Exit::Done)
}
