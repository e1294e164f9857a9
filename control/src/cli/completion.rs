//! `graylane completion SHELL`: what a shell needs to complete the commands.

use clap::{Command, CommandFactory};
use clap_complete::engine::complete as candidates;
use clap_complete::env::{Bash, EnvCompleter, Fish, Powershell, Zsh};

use super::{Cli, Exit, print};

/// The script by which kubectl asks a plugin what could come next.
const KUBECTL: &str = "\
#!/bin/sh
# Save as `kubectl_complete-graylane` on the PATH, beside `kubectl-graylane`, and make it executable.
exec kubectl-graylane __complete \"$@\"
";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell; `kubectl` is the script kubectl_complete-graylane
    #[arg(value_enum)]
    shell: Target,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Target {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Kubectl,
}

#[derive(Debug, clap::Args)]
pub(super) struct CompleteArgs {
    /// The words so far; the last one is being typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<std::ffi::OsString>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let shell: &dyn EnvCompleter = match args.shell {
        Target::Bash => &Bash,
        Target::Zsh => &Zsh,
        Target::Fish => &Fish,
        Target::Powershell => &Powershell,
        Target::Kubectl => {
            print(KUBECTL)?;
            return Ok(Exit::Done);
        }
    };
    let mut script = Vec::new();
    // The script asks this program each time, so that releases are completed too.
    shell.write_registration("COMPLETE", "graylane", "graylane", "graylane", &mut script)?;
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Answers as kubectl wants it (cobra's protocol): one candidate a line, with its meaning behind a tab,
/// then a directive; 4 means that file names are no candidates.
pub(super) fn complete(args: &CompleteArgs) -> anyhow::Result<Exit> {
    let mut words = vec!["graylane".into()];
    words.extend(args.words.iter().cloned());
    if words.len() == 1 {
        words.push("".into());
    }
    let last = words.len() - 1;
    let found = candidates(&mut command(), words, last, std::env::current_dir().ok().as_deref())?;
    let lines = found.iter().filter(|candidate| !candidate.is_hide_set()).map(|candidate| {
        let value = candidate.get_value().to_string_lossy();
        match candidate.get_help() {
            Some(help) => format!("{value}\t{help}\n"),
            None => format!("{value}\n"),
        }
    });
    print(&format!("{}:4\n", lines.collect::<String>()))?;
    Ok(Exit::Done)
}

/// The commands, as they are completed.
pub(super) fn command() -> Command {
    Cli::command().name("graylane").bin_name("graylane")
}
