//! Commands that users type: kubectl and graylane.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Result, ensure};

use super::part::{Part, Recipe};
use super::{Bed, files};
use crate::paths;

/// What a command said.
#[derive(Clone, Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Its data.
    pub stdout: String,
    /// Its words.
    pub stderr: String,
}

// === impl Said ===

impl Said {
    /// What a command printed that ended well.
    ///
    /// # Errors
    /// When it did not.
    pub fn done(self) -> Result<String> {
        ensure!(self.status.success(), "{}: {}{}", self.status, self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

// === impl Bed ===

impl Bed {
    /// Runs the real kubectl, for which nothing is read from standard input.
    ///
    /// # Errors
    /// When it fails; what it said is in the message.
    pub fn kubectl(&self, args: &[&str]) -> Result<Said> {
        let said = self.try_kubectl(args)?;
        ensure!(said.status.success(), "kubectl {}: {said:?}", args.join(" "));
        Ok(said)
    }

    /// The same for a command that is expected to fail.
    ///
    /// # Errors
    /// When kubectl cannot be run.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<Said> {
        run(&files::program("kubectl")?, self.kubeconfig(), args)
    }

    /// The real kubectl with another PATH, by which it finds plugins.
    ///
    /// # Errors
    /// When kubectl cannot be run.
    pub fn kubectl_with_path(&self, path: &str, args: &[&str]) -> Result<Said> {
        told(command(&files::program("kubectl")?, self.kubeconfig(), args).env("PATH", path))
    }

    /// Runs the built `graylane` against the bed, whatever its exit code.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn graylane(&self, args: &[&str]) -> Result<Said> {
        run(&paths::graylane_dir()?.join("graylane"), self.kubeconfig(), args)
    }

    /// Starts the built `graylane` as a process that goes on, such as the controller, with the rights of
    /// `kubeconfig`. Its log is `<name>.log` in the folder of the bed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn graylane_as(&self, name: &str, kubeconfig: &Path, args: &[&str]) -> Result<Part> {
        let program = paths::graylane_dir()?.join("graylane");
        let log = self.folder.path(&format!("{name}.log"));
        let recipe =
            Recipe::new(program, self.folder.root(), log).args(args.iter().copied()).env("KUBECONFIG", kubeconfig);
        Part::start_new(name, recipe, || Ok(()))
    }
}

fn run(program: &Path, kubeconfig: &Path, args: &[&str]) -> Result<Said> {
    told(&mut command(program, kubeconfig, args))
}

fn command(program: &Path, kubeconfig: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
    command
}

fn told(command: &mut Command) -> Result<Said> {
    let output = command.output()?;
    Ok(Said {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
