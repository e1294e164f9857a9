//! The command line. Data goes to stdout and words to stderr; exit codes mean something.

mod app;
mod apply;
mod ask;
mod completion;
mod controller;
mod crd;
mod demo;
mod explain;
mod files;
mod format;
mod generate;
mod get;
mod home;
mod install;
mod jsonpath;
mod kube;
mod lint;
mod list;
mod mesh;
mod offer;
mod push;
mod render;
mod run;
mod schema;
mod screen;
mod status;
mod stop;
mod uninstall;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::ack::Report;
use crate::engine::request::Verb;
use crate::local::LocalError;
use crate::release::finding::Findings;

/// How a command ended, as the exit code says it. Usage errors exit with 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, and where it matters acknowledged.
    Done = 0,
    /// An input is wrong or something failed.
    Failed = 1,
    /// Not done in time: written, but not every proxy runs it; asked, but not answered; not at its end.
    NotInTime = 3,
    /// Written, but a proxy refused it and keeps what it had.
    Refused = 4,
    /// The release was taken back, or is refused.
    ReleaseFailed = 5,
    /// The release waits for a person.
    NeedsAPerson = 6,
    /// Ended from outside before it was done.
    Interrupted = 130,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for `push`: every worker of every proxy runs it
  1  an input is wrong or something failed; the text says what and how to mend it
  2  the command line is wrong
  3  not in time: for `push`, not every proxy runs it; for `status`, not at its end; for a
     request such as `promote`, not answered
  4  written, but a proxy refused it and keeps what it had
  5  `status`: the release was taken back, or is refused
  6  `status`: the release waits for a person
  130  interrupted";

#[derive(Debug, Parser)]
#[command(version, about = "Full-chain gray release for Envoy and Istio", after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring releases from files to a cluster
    Apply(Box<apply::Args>),
    /// Show a release across its services
    Get(get::Args),
    /// List releases
    List(list::Args),
    /// Wait for the end of a release, and say by the exit code which end
    Status(status::Args),
    /// End the wait of a step; or say that stable runs the new version
    Promote(ask::PromoteArgs),
    /// Stay at the present weight
    Pause(ask::Args),
    /// End a pause
    Resume(ask::Args),
    /// Return everything to stable
    Abort(ask::Args),
    /// Begin again, after a rollback or a success
    Retry(ask::Args),
    /// Give stable the version it had before the handover; before one, the same as abort
    Undo(ask::Args),
    /// Say everything that is wrong with release files
    Lint(lint::Args),
    /// Print the document that a filter gets for a release
    Render(render::Args),
    /// Bring the releases of a folder to its Envoys, and wait until every worker runs them
    Push(push::Args),
    /// Run the releases of a folder on its Envoys
    Run(run::Args),
    /// Run the controller of a cluster
    Controller(Box<controller::Args>),
    /// Say where a request would go, and why
    Explain(explain::Args),
    /// Wire the proxies of a namespace; the plan is shown first
    Install(install::Args),
    /// Take the wiring of a namespace out again
    Uninstall(uninstall::Args),
    /// Send everything to stable, now, without the controller
    Stop(stop::Args),
    /// Print VirtualServices and DestinationRules with a route for each lane, new or from a file
    Generate(generate::Args),
    /// Print the JSON Schema of the filter's config, or of release files
    Schema(schema::Args),
    /// Print the CustomResourceDefinition of releases, for `kubectl apply -f -`
    Crd(crd::Args),
    /// Show it all on this machine: a gateway and four services on real Envoys
    Demo(demo::Args),
    /// Print what a shell, or kubectl, needs to complete these commands
    Completion(completion::Args),
    /// Print what could come next, as kubectl asks it
    #[command(name = "__complete", hide = true)]
    Complete(completion::CompleteArgs),
    /// Run the toy service of the demo
    #[command(hide = true)]
    App(app::Args),
}

/// Format of an answer that people and programs read.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let name = args.first().map_or("graylane", |first| display_name(Path::new(first)));
    // A shell that asks what could come next gets its answer, and nothing else happens.
    clap_complete::CompleteEnv::with_factory(completion::command).complete();
    let matches = Cli::command().name(name).bin_name(name).get_matches_from(args.clone());
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let result = match cli.command {
        Command::Apply(args) => apply::run(&args),
        Command::Get(args) => get::run(&args),
        Command::List(args) => list::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Promote(args) => ask::promote(&args),
        Command::Pause(args) => ask::run(Verb::Pause, &args),
        Command::Resume(args) => ask::run(Verb::Resume, &args),
        Command::Abort(args) => ask::run(Verb::Abort, &args),
        Command::Retry(args) => ask::run(Verb::Retry, &args),
        Command::Undo(args) => ask::run(Verb::Undo, &args),
        Command::Lint(args) => lint::run(&args),
        Command::Completion(args) => completion::run(&args),
        Command::Complete(args) => completion::complete(&args),
        Command::Controller(args) => controller::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Push(args) => push::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Install(args) => install::run(&args),
        Command::Uninstall(args) => uninstall::run(&args),
        Command::Stop(args) => stop::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Crd(args) => crd::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::App(args) => app::run(&args),
    };
    let exit = result.unwrap_or_else(|error| {
        report(&error);
        Exit::Failed
    });
    ExitCode::from(exit as u8)
}

/// Problems of the input stand one to a line, as compilers print them.
fn report(error: &anyhow::Error) {
    let nested = error.downcast_ref::<LocalError>().and_then(|error| match error {
        LocalError::Input(findings) => Some(findings),
        _ => None,
    });
    match error.downcast_ref::<Findings>().or(nested) {
        Some(findings) => {
            let count = findings.0.len();
            eprintln!("{findings}\nerror: {count} problem{} found", if count == 1 { "" } else { "s" });
        }
        None => eprintln!("error: {error:#}"),
    }
}

/// The name in help texts: users of the kubectl plugin type `kubectl graylane`.
fn display_name(program: &Path) -> &'static str {
    let stem = program.file_stem().unwrap_or_default();
    if stem == "kubectl-graylane" { "kubectl graylane" } else { "graylane" }
}

/// Prints data. A reader that goes away, such as `head`, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}

/// How filters stand with a push: one line for each.
pub(crate) fn report_table(reports: &[Report]) -> String {
    push::table(reports)
}

/// A table in the manner of kubectl: columns, no borders.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> comfy_table::Table {
    crate::view::columns::columns(&header)
}
