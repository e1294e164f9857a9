//! `graylane schema`: the JSON Schema of what the filter and `graylane` read.

use graylane_policy::raw::RawConfig;

use super::{Exit, print_json};
use crate::release::GrayRelease;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The schema of release files instead of the filter's config
    #[arg(long)]
    release: bool,
    /// The OpenAPI document of the analysis API
    #[arg(long, conflicts_with = "release")]
    api: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.api {
        print_json(&crate::api::openapi::document())?;
        return Ok(Exit::Done);
    }
    let schema = if args.release { schemars::schema_for!(GrayRelease) } else { schemars::schema_for!(RawConfig) };
    print_json(&schema)?;
    Ok(Exit::Done)
}
