//! A server of the bed: started, watched, stopped, frozen and started again.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::poll;

/// Servers start within seconds, on a machine that is compiling something else within a minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long a process may take to end when asked.
const GRACE: Duration = Duration::from_secs(10);

/// A program with its arguments; it can be started again.
pub struct Part {
    name: String,
    recipe: Recipe,
    ready: Box<Probe>,
    child: Mutex<Option<Child>>,
}

type Probe = dyn Fn() -> Result<()> + Send + Sync;

/// How a program is started.
#[derive(Clone, Debug, Default)]
pub(super) struct Recipe {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(String, OsString)>,
    /// Where it runs.
    pub(super) folder: PathBuf,
    /// What it says goes to the end of this file.
    pub(super) log: PathBuf,
}

/// What a process costs, without those it has started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Processor time since its start, in user and kernel mode.
    pub cpu: Duration,
    /// Memory that it keeps in RAM.
    pub resident_kb: u64,
}

// === impl Usage ===

impl Usage {
    fn of(id: u32) -> Result<Self> {
        // The name of the program stands in brackets and may hold anything.
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        let fields: Vec<&str> = stat.rsplit_once(')').context("no name in stat")?.1.split_whitespace().collect();
        let number = |field: usize| anyhow::Ok(fields.get(field).context("a short stat")?.parse::<u64>()?);
        let ticks = number(11)? + number(12)?;
        let resident_kb = number(21)? * rustix::param::page_size() as u64 / 1024;
        let cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
        Ok(Self { cpu, resident_kb })
    }
}

// === impl Recipe ===

impl Recipe {
    pub(super) fn new(program: impl Into<PathBuf>, folder: &Path, log: PathBuf) -> Self {
        Self { program: program.into(), folder: folder.to_owned(), log, ..Self::default() }
    }

    pub(super) fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(super) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn spawn(&self) -> Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))
    }
}

// === impl Part ===

impl Part {
    /// Starts it and waits until `ready` agrees.
    pub(super) fn start_new(
        name: &str,
        recipe: Recipe,
        ready: impl Fn() -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let part = Self::new(name, recipe, ready);
        part.start()?;
        Ok(part)
    }

    /// One that does not run yet.
    pub(super) fn new(name: &str, recipe: Recipe, ready: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        Self { name: name.to_owned(), recipe, ready: Box::new(ready), child: Mutex::default() }
    }

    /// Starts it after it has ended by itself, or was killed.
    pub(super) fn start_again(&self) -> Result<()> {
        if self.ended()?.is_some() {
            self.reap()?;
        }
        self.start_without_waiting()
    }

    /// True while its process runs, frozen or not.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.child().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Asks it to end, and does not wait.
    pub(super) fn ask_to_end(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Starts it, if it does not run, and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started, ends, or is not ready in time.
    pub fn start(&self) -> Result<()> {
        self.start_without_waiting()?;
        self.wait_until_ready()
    }

    /// Starts it, if it does not run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_without_waiting(&self) -> Result<()> {
        let mut child = self.child();
        if child.is_none() {
            *child = Some(self.recipe.spawn().with_context(|| self.name.clone())?);
        }
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it does not run, or is not ready in time.
    pub fn wait_until_ready(&self) -> Result<()> {
        poll::until(&format!("{} to be ready", self.name), PATIENCE, || {
            if let Some(status) = self.ended()? {
                // Waiting longer helps nobody; but a poll has no other way to say so than to go on.
                bail!("{} ended: {status}", self.name);
            }
            (self.ready)()
        })
    }

    /// Asks it to end, as `kill` does, and kills it when it takes longer than 10 s.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let asked = poll::until_true("its end", GRACE, || matches!(self.ended(), Ok(Some(_))));
        asked.or_else(|_| self.signal_all(Signal::KILL))?;
        self.reap()
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        self.signal_all(Signal::KILL)?;
        self.reap()
    }

    /// Freezes it, as `kill -STOP` does: its connections stay open and nobody answers.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// Lets it go on after [`Part::freeze`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal_all(Signal::CONT)
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn id(&self) -> Result<u32> {
        self.child().as_ref().map(Child::id).with_context(|| format!("{} does not run", self.name))
    }

    /// How it ended, if it was started and has ended by itself.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        self.child().as_mut().map_or(Ok(None), |child| Ok(child.try_wait()?))
    }

    /// What it costs, as the kernel counts it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.id()?)
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.recipe.log).unwrap_or_default()).into_owned()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.id()?)?;
        kill_process(Pid::from_raw(id).context("no process id")?, signal).with_context(|| self.name.clone())
    }

    /// To it and to what it has started, such as the Envoy of an agent.
    fn signal_all(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.id()?)?;
        kill_process_group(Pid::from_raw(id).context("no process id")?, signal).with_context(|| self.name.clone())
    }

    fn reap(&self) -> Result<()> {
        if let Some(mut child) = self.child().take() {
            child.wait()?;
        }
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Killing a process that has ended only gives an error to ignore.
        let _ = self.kill();
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.name).field("id", &self.id().ok()).finish_non_exhaustive()
    }
}
