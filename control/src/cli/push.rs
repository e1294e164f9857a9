//! `graylane push --local DIR`: what the folder says becomes what its Envoys run.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{Exit, Output, print, print_json};
use crate::ack::{Report, State, Watch};
use crate::local::Folder;
use crate::local::push::{VersionWish, WeightWish, Wish, plan};
use crate::release::units::{Span, Weight};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder with release files, `proxies.yaml` and `state.json`
    #[arg(long, value_name = "DIR")]
    local: PathBuf,
    /// New weight of a lane, such as `canary=5%`; may be given several times
    #[arg(long, value_name = "[RELEASE/]LANE=WEIGHT")]
    weight: Vec<WeightWish>,
    /// Version that must not be used from now on: its requests go to stable
    #[arg(long, value_name = "SERVICE/LANE")]
    not_ready: Vec<VersionWish>,
    /// Version that may be used again
    #[arg(long, value_name = "SERVICE/LANE")]
    ready: Vec<VersionWish>,
    /// Write every file with a new generation, changed or not; brings a crashed filter back
    #[arg(long)]
    force: bool,
    /// How long to wait for the proxies
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    timeout: Duration,
    /// Format of what is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let folder = Folder::open(&args.local)?;
    let wish = Wish {
        weights: args.weight.clone(),
        not_ready: args.not_ready.clone(),
        ready: args.ready.clone(),
        force: args.force,
    };
    let plan = plan(&folder, &wish)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reports = runtime.block_on(async {
        let watch = Watch::begin(plan.expected()).await;
        plan.carry_out(&folder)?;
        eprintln!("{} file(s) written in {}", plan.changes(), folder.dir().display());
        anyhow::Ok(watch.wait(plan.expected(), args.timeout).await)
    })?;
    match args.output {
        Output::Text => print(&table(&reports))?,
        Output::Json => print_json(&reports)?,
    }
    let exit = exit(&reports);
    if exit != Exit::Done {
        eprintln!("a proxy that refused or lost its config gets it again with --force");
    }
    Ok(exit)
}

/// The worst state decides.
fn exit(reports: &[Report]) -> Exit {
    match reports.iter().map(|report| report.state).max() {
        Some(State::Refused) => Exit::Refused,
        Some(State::Waiting | State::Unreachable) => Exit::NotInTime,
        Some(State::Acknowledged) | None => Exit::Done,
    }
}

/// One line per filter of each proxy.
pub(super) fn table(reports: &[Report]) -> String {
    let mut table = super::table(["PROXY", "FILTER", "GENERATION", "WORKERS", "STATE", "TIME"]);
    for report in reports {
        let state = match (report.state, &report.message) {
            (State::Acknowledged, _) => "acknowledged".into(),
            (State::Waiting, _) if report.generation < report.wanted => {
                format!("waiting for generation {}", report.wanted)
            }
            (State::Waiting, _) => "waiting for more workers".into(),
            (State::Unreachable, Some(message)) => format!("unreachable: {message}"),
            (State::Unreachable, None) => "unreachable".into(),
            (State::Refused, message) => format!("refused: {}", message.clone().unwrap_or_default()),
        };
        table.add_row([
            report.proxy.clone(),
            report.filter.clone(),
            report.generation.to_string(),
            format!("{}/{}", report.workers, report.of_workers),
            state,
            format!("{} ms", report.millis),
        ]);
    }
    format!("{}\n", table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

fn timeout(text: &str) -> Result<Duration, String> {
    let millis = Span(text.into()).millis();
    millis.map(Duration::from_millis).map_err(|error| format!("{error}; write it like `10s`"))
}

// === impl WeightWish ===

impl FromStr for WeightWish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, weight) = text.split_once('=').ok_or("write it like `canary=5%`")?;
        let weight = Weight(weight.into());
        weight.parts().map_err(|error| format!("{error}; write it like `canary=5%` or `canary=500`"))?;
        let (release, lane) = match name.rsplit_once('/') {
            Some((release, lane)) => (Some(release.to_owned()), lane),
            None => (None, name),
        };
        Ok(Self { release, lane: lane.to_owned(), weight })
    }
}

// === impl VersionWish ===

impl FromStr for VersionWish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, lane) = text.split_once('/').ok_or("write it like `orders/canary`")?;
        Ok(Self { service: service.to_owned(), lane: lane.to_owned() })
    }
}
