//! `graylane status RELEASE`: waits for the end of a release, and says by its exit code which end.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::format::{Format, print_object};
use super::home::{self, Home, NoSuchRelease, Place, block_on};
use super::kube::duration;
use super::{Exit, print};
use crate::view::glance;
use crate::view::kept::Kept;
use crate::view::mark::Mark;
use crate::view::outcome::{Outcome, outcome};
use crate::view::times;

/// A release that stays the same is looked at this often: a watch can break without a word.
const REFRESH: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the release
    #[arg(add = clap_complete::ArgValueCandidates::new(home::candidates))]
    release: String,
    /// Wait until it has ended or needs a person; `--watch=false` only says how it stands
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    watch: bool,
    /// How long to wait; `0s` is for ever
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    timeout: Duration,
    /// Go on waiting where it waits for a person
    #[arg(long)]
    past_pauses: bool,
    /// Format of what is printed at the end
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    block_on(async {
        let home = Home::open(&args.place, false).await?;
        let name = home::name(&args.release);
        let kept = if args.watch { wait(args, &home, name).await? } else { home.get(name).await? };
        match args.output {
            Format::Text | Format::Wide => {
                let words = Mark::of(kept.status.phase).with(&glance::line(&kept));
                print(&format!("{}: {words}\n", kept.name))?;
            }
            format => print_object(&kept, format)?,
        }
        Ok(exit(outcome(&kept)))
    })
}

/// What an outcome means for a program. One that is on its way was not waited for long enough.
fn exit(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Succeeded => Exit::Done,
        Outcome::OnItsWay => Exit::NotInTime,
        Outcome::Failed => Exit::ReleaseFailed,
        Outcome::NeedsAPerson => Exit::NeedsAPerson,
    }
}

/// Waits for an end, and returns the release as it was then, or when the time was up.
async fn wait(args: &Args, home: &Home, name: &str) -> anyhow::Result<Kept> {
    let began = Instant::now();
    let is_over = || !args.timeout.is_zero() && began.elapsed() >= args.timeout;
    let mut changes = home.changes(Some(name));
    let mut progress = Progress::new();
    let mut kept = home.get(name).await?;
    loop {
        let ended = match outcome(&kept) {
            Outcome::OnItsWay => false,
            Outcome::NeedsAPerson => !args.past_pauses,
            Outcome::Succeeded | Outcome::Failed => true,
        };
        if !ended {
            progress.show(&kept);
        }
        if ended || is_over() {
            progress.end();
            if !ended {
                eprintln!("not at its end within {}", times::exact(millis(args.timeout)));
            }
            return Ok(kept);
        }
        let left = if args.timeout.is_zero() { REFRESH } else { args.timeout.saturating_sub(began.elapsed()) };
        changes.next(left.min(REFRESH)).await;
        kept = match home.get(name).await {
            // An API server that is away for a while comes back; a release that is gone does not.
            Err(error) if error.downcast_ref::<NoSuchRelease>().is_none() && !is_over() => {
                progress.say(&format!("cannot be asked, trying again: {error:#}"));
                kept
            }
            other => other?,
        };
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Says on stderr how it goes: one line drawn over and over on a terminal, one for each change elsewhere.
struct Progress {
    is_terminal: bool,
    last: String,
}

// === impl Progress ===

impl Progress {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), last: String::new() }
    }

    fn show(&mut self, kept: &Kept) {
        self.say(&Mark::of(kept.status.phase).with(&glance::line(kept)));
    }

    fn say(&mut self, words: &str) {
        if words == self.last {
            return;
        }
        match self.is_terminal {
            true => eprint!("\r\x1b[?7l{}\x1b[K\x1b[?7h", words.lines().next().unwrap_or_default()),
            false => eprintln!("{words}"),
        }
        self.last = words.to_owned();
    }

    /// What is printed next begins a line of its own, where the progress stood.
    fn end(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}
