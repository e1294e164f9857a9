//! A filter that crashed stays out of service until its config changes: `graylane run --local` notices.

use anyhow::{Result, ensure};
use graylane_tests::client::{self, Ask};
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{on_every_envoy, paths};

use crate::local_folder::{Local, SHARES};

on_every_envoy!(a_filter_that_crashed_is_brought_back);

fn a_filter_that_crashed_is_brought_back(stage: &Stage) -> Result<()> {
    let local = Local::with(stage, SHARES, &paths::filter_that_traps()?)?;
    let _envoy = local.envoy()?;
    let _run = local.run()?;
    local.until_weight("canary=30%")?;
    let before = at_once(local.lanes())?;
    let generation = local.generation()?;
    let crash = Ask::get("127.0.0.1", "/").header("x-tester", "yes").header("x-graylane-trap", "1");
    let answer = client::once(local.scenario.port(10000), &crash)?;
    ensure!(answer.status == 503, "the crash must cost its own request, not {}", answer.status);

    local.until_said("a filter has crashed")?;
    poll::until("a new generation on every worker", PATIENCE, || {
        ensure!(local.generation()? > generation, "generation {generation}");
        ensure!(at_once(local.lanes())? == before, "not everybody is back in the canary");
        Ok(())
    })
}
