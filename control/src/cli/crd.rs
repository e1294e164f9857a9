//! `graylane crd`: the CustomResourceDefinition of releases.

use anyhow::Context;
use clap::ValueEnum;

use super::{Exit, print, print_json};
use crate::crd::{definition, manifest, reference};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `reference` is the page that explains its fields
    #[arg(short, long, value_enum, default_value_t = Output::Yaml)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Yaml,
    Json,
    Reference,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    match args.output {
        Output::Yaml => print(&manifest().context("write the definition as YAML")?)?,
        Output::Json => print_json(&definition())?,
        Output::Reference => print(&reference())?,
    }
    Ok(Exit::Done)
}
