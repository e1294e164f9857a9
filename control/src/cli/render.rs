//! `graylane render`: a release file in, a filter document out.

mod argo;

use std::path::PathBuf;

use clap::ValueEnum;
use graylane_policy::Policy;
use graylane_policy::raw::{RawConfig, Role};

use super::{Exit, print_json};
use crate::build::ecds::discovery_response;
use crate::build::{Running, Side, document};
use crate::release::read::read_file;
use crate::release::validate::check;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Release file with one or more releases; `-` is standard input
    #[arg(short, long, value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    #[command(flatten)]
    side: SideArgs,
    /// Generation of the document
    #[arg(long, default_value_t = 1)]
    generation: u64,
    /// `json` is the document, `ecds` the file that an Envoy watches
    #[arg(short, long, value_enum, default_value_t = Output::Json)]
    output: Output,
    /// Filter module that the `ecds` file names
    #[arg(long, value_name = "FILE", default_value = "/etc/graylane/graylane_filter.wasm")]
    module: PathBuf,
}

/// What else can be rendered.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Write what Argo Rollouts needs beside a release that it promotes: DestinationRule, decoy
    /// VirtualService, AnalysisTemplates, and the strategy of the Rollout
    Argo(argo::Args),
}

/// The side of the proxy, as options of several commands.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct SideArgs {
    /// Side of the proxy that the document is for
    #[arg(long, value_enum, default_value_t = RoleArg::Gateway)]
    role: RoleArg,
    /// On a sidecar: the document of the additional filter that chooses lanes. A gateway always does
    #[arg(long)]
    entry: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    Gateway,
    Inbound,
    Outbound,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Json,
    Ecds,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let file = match (&args.other, &args.file) {
        (Some(Other::Argo(args)), _) => return argo::run(args),
        (None, Some(file)) => file,
        (None, None) => anyhow::bail!("name a release file by --file"),
    };
    let side = args.side.side();
    let document = checked_document(file, side, args.generation)?;
    match args.output {
        Output::Json => print_json(&document)?,
        Output::Ecds => print_json(&discovery_response(side, &args.module, &document))?,
    }
    Ok(Exit::Done)
}

/// The document of a release file, accepted by the code that the filter runs.
pub(super) fn checked_document(file: &std::path::Path, side: Side, generation: u64) -> anyhow::Result<RawConfig> {
    let checked = check(read_file(file)?, &[side])?;
    let running: Vec<Running> = checked.into_iter().map(|one| Running::at_its_weights(one.release)).collect();
    let document = document(generation, side, &running);
    Policy::check(&document)?;
    Ok(document)
}

// === impl SideArgs ===

impl SideArgs {
    pub(super) fn side(self) -> Side {
        let role = match self.role {
            RoleArg::Gateway => Role::Gateway,
            RoleArg::Inbound => Role::Inbound,
            RoleArg::Outbound => Role::Outbound,
        };
        Side::of(role, self.entry)
    }
}
