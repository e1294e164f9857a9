//! The `console` blocks of a README: commands a person can paste, with the exact answers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// One command and what it must print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Shell text after the `$`.
    pub command: String,
    /// Its standard output.
    pub expected: String,
}

/// Every step of every `console` block, in order.
#[must_use]
pub fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) => add_line(&mut steps, line),
            (false, _) => {}
        }
    }
    steps
}

fn add_line(steps: &mut Vec<Step>, line: &str) {
    if let Some(command) = line.strip_prefix("$ ") {
        steps.push(Step { command: command.to_owned(), expected: String::new() });
        return;
    }
    let Some(step) = steps.last_mut() else { return };
    if step.expected.is_empty() && step.command.ends_with('\\') {
        step.command.push('\n');
        step.command.push_str(line);
    } else {
        step.expected.push_str(line);
        step.expected.push('\n');
    }
}

/// Runs steps in `folder` with bash, with `bins` before the rest of `PATH`.
///
/// # Errors
/// At the first step that fails or prints something else.
pub fn run(steps: &[Step], folder: &Path, bins: &[PathBuf]) -> Result<()> {
    let path = search_path(bins)?;
    for step in steps {
        // Steps that wait for something have no deadline of their own.
        let output = Command::new("timeout")
            .args(["60", "bash", "-o", "pipefail", "-c", &step.command])
            .current_dir(folder)
            .env("PATH", &path)
            .stdin(Stdio::null())
            .output()
            .context("run timeout and bash")?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            printed == step.expected.as_str(),
            "$ {}\nexpected: {:?}\nprinted:  {printed:?}\n{complaint}{}",
            step.command,
            step.expected,
            output.status,
        );
    }
    Ok(())
}

fn search_path(bins: &[PathBuf]) -> Result<OsString> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let all = bins.iter().cloned().chain(std::env::split_paths(&inherited));
    Ok(std::env::join_paths(all)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_commands_with_their_answers() {
        let text = "words\n```console\n$ a \\\n  b\none\ntwo\n$ c\n```\n```yaml\n$ no\n```\n";
        let step = |command: &str, expected: &str| Step { command: command.into(), expected: expected.into() };
        assert_eq!(steps(text), [step("a \\\n  b", "one\ntwo\n"), step("c", "")]);
    }
}
