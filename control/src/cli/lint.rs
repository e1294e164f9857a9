//! `graylane lint -f FILE`: everything that is wrong with releases, without asking anybody.

use super::files::{Files, repeated};
use super::{Exit, Output, print, print_json};
use crate::build::Side;
use crate::release::cluster::check_source;
use crate::release::finding::Finding;
use crate::release::read::Source;
use crate::release::validate::check;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// Judge them as files of a folder, for `graylane run --local` and `push`: no entry is needed
    #[arg(long)]
    folder: bool,
    /// Format of what is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let (sources, mut findings) = args.files.read();
    let count = sources.len();
    findings.extend(problems(sources, args.folder));
    match args.output {
        Output::Text => print(&findings.iter().map(|finding| format!("{finding}\n")).collect::<String>())?,
        Output::Json => print_json(&findings)?,
    }
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    if findings.is_empty() {
        eprintln!("{count} release{}, no problem found", plural(count));
        return Ok(Exit::Done);
    }
    eprintln!("error: {} problem{} found", findings.len(), plural(findings.len()));
    Ok(Exit::Failed)
}

/// What is wrong with each release, as the controller would say it, and with all of them together.
pub(super) fn problems(sources: Vec<Source>, for_folder: bool) -> Vec<Finding> {
    let mut findings = repeated(&sources);
    for source in sources {
        let checked =
            if for_folder { check(vec![source], &Side::ALL).map(|_| ()) } else { check_source(source).map(|_| ()) };
        if let Err(found) = checked {
            findings.extend(found.0);
        }
    }
    findings
}
