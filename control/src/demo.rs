//! `graylane demo`: a gateway and a chain of four services on real Envoys, real traffic, and
//! claims that are checked on it.

mod binomial;
mod bootstrap;
mod claims;
mod console;
mod envoy;
mod release;
pub mod stage;
pub mod topology;
pub mod traffic;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use self::console::Console;
use self::stage::Stage;

/// How the demo runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Envoy program.
    pub envoy: PathBuf,
    /// The filter module.
    pub filter: PathBuf,
    /// Whether it will be kept running; only changes what is said at the end.
    pub keep: bool,
}

/// A demo that has shown everything and still runs. It ends when dropped.
#[derive(Debug)]
pub struct Demo {
    /// Whether every claim holds.
    pub all_hold: bool,
    stage: Stage,
    console: Console,
    _dir: TempDir,
}

/// Runs the demo.
///
/// # Errors
/// When something that the demo needs is missing or breaks.
pub async fn run(options: &Options) -> Result<Demo> {
    let start = Instant::now();
    let mut console = Console::new();
    let filter = found(&options.filter, "build it with `make filter`, or name it with --filter")?;
    let envoy = found(&options.envoy, "install it with scripts/envoy.sh, or name it with --envoy")?;
    let dir = tempfile::Builder::new().prefix("graylane-demo-").tempdir()?;
    console.say("graylane demo: a gateway, four services, six versions, each behind its own Envoy");
    console.progress("starting 8 Envoys");
    let mut stage = Stage::start(dir.path(), &envoy, &filter).await?;
    console.say(&format!(
        "  everything runs after {:.1} s, in {}",
        start.elapsed().as_secs_f64(),
        dir.path().display()
    ));
    claims::routing::check(&stage, &mut console).await?;
    claims::weights::check(&stage, &mut console).await?;
    claims::chain::check(&stage, &mut console).await?;
    claims::faults::check(&mut stage, &mut console).await?;
    claims::judging::check(&mut stage, &mut console).await?;
    let all_hold = console.summary();
    let verdict = if all_hold { "every claim holds" } else { "NOT every claim holds" };
    console.say(&format!("\n{verdict}, after {:.0} s", start.elapsed().as_secs_f64()));
    if options.keep {
        stage.change_release("shop/summer", stage::SUMMER).await?;
    } else {
        console.say("keep it running and try it by hand: make demo KEEP=1");
    }
    Ok(Demo { all_hold, stage, console, _dir: dir })
}

fn found(file: &Path, mend: &str) -> Result<PathBuf> {
    let real = file.canonicalize().with_context(|| format!("{} is not there; {mend}", file.display()))?;
    ensure!(real.is_file(), "{} is no file; {mend}", file.display());
    Ok(real)
}

// === impl Demo ===

impl Demo {
    /// Says what can be tried by hand.
    ///
    /// # Errors
    /// When this program does not know where it is.
    pub fn show_what_to_try(&self) -> Result<()> {
        let entry = self.stage.entry(true);
        let dir = self.stage.dir.display();
        let program = std::env::current_exe()?;
        let program = program.display();
        self.console.say(&format!(
            "
Still running; end it with Ctrl-C. Try by hand:
  curl -s http://{entry}/                              # stable
  curl -s -H 'x-user-group: beta' http://{entry}/      # canary, where there is one
  curl -s 'http://{entry}/?env=gray&forward=none'      # the same, with apps that forward nothing
  {program} get summer --local {dir}
  {program} promote summer --local {dir}              # the next weight
  {program} abort summer --local {dir}                # everybody back to stable
  for user in 1 2 3 4 5 6; do curl -s -H \"x-user-id: $user\" 'http://{entry}/?hops=0'; done
  {program} explain -f {dir}/release.yaml -H 'x-user-group: beta' http://{entry}/
  curl -s http://127.0.0.1:{}/stats/prometheus | grep ^graylane
The same gateway without the filter: http://{}
Logs: {dir}/logs",
            self.stage.topology.gateway.admin,
            self.stage.entry(false),
        ));
        Ok(())
    }
}
