//! `graylane push` returns when every worker runs what was pushed, and says so when none can.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use graylane_policy::raw::RawConfig;
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy, paths};

on_every_envoy!(push_returns_when_every_worker_runs_it, push_without_a_proxy_says_so);

const WORKERS: u32 = 4;

/// The very first push counts too: the files of the scenario already hold a generation, and nothing
/// but them knows it.
fn push_returns_when_every_worker_runs_it(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("reload", &paths::filter()?, |file, text| match file {
        "release/proxies.yaml" => text.replace("concurrency: 1", &format!("concurrency: {WORKERS}")),
        _ => text,
    })?;
    let _envoy = scenario.how("envoy.yaml", 9901, WORKERS)?.ready()?;
    let mut running = generation(&scenario)?;
    for (weight, expected) in [("100%", "orders canary"), ("0", "orders stable")].repeat(5) {
        let output = push(&scenario.folder, weight)?;
        ensure!(output.status.success(), "{output:?}");
        let pushed = generation(&scenario)?;
        ensure!(pushed > running, "generation {pushed} was pushed over {running}, so nobody can tell them apart");
        running = pushed;
        at_once(everybody_gets(&scenario, expected))?;
    }
    Ok(())
}

fn push_without_a_proxy_says_so(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("reload")?;
    let output = push(&scenario.folder, "100%")?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    Ok(())
}

fn push(folder: &Path, weight: &str) -> Result<Output> {
    let graylane = paths::graylane_dir()?.join("graylane");
    let mut push = Command::new(graylane);
    push.args(["push", "--local", "release", "--timeout", "2s", "--weight"]).arg(format!("canary={weight}"));
    Ok(push.current_dir(folder).output()?)
}

fn generation(scenario: &Scenario) -> Result<u64> {
    let document = ecds::document(&scenario.folder.join("ecds/gateway.json"))?;
    Ok(serde_json::from_str::<RawConfig>(&document)?.generation)
}

/// Connections are spread over the workers, so several of them reach each one.
async fn everybody_gets(scenario: &Scenario, expected: &str) -> Result<()> {
    for user in 0..8 * WORKERS {
        let mut connection = Connection::open(scenario.port(10000), Protocol::Http1).await?;
        let text = connection.send(&Ask::get("127.0.0.1", &format!("/?user={user}"))).await?.text();
        ensure!(text == expected, "user {user} got {text}, not {expected}");
    }
    Ok(())
}
