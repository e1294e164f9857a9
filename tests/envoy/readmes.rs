//! Every scenario answers what its README says, command by command.

use anyhow::Result;
use graylane_tests::on_every_envoy;
use graylane_tests::stage::Stage;

on_every_envoy!(
    chain_readme_holds,
    cookie_readme_holds,
    groups_readme_holds,
    grpc_readme_holds,
    header_readme_holds,
    lanes_readme_holds,
    metrics_readme_holds,
    query_readme_holds,
    reload_readme_holds,
    trust_readme_holds,
    weight_readme_holds,
);

/// Admin ports of the gateway and of the six sidecars.
pub const CHAIN: [u16; 7] = [9901, 9911, 9912, 9913, 9914, 9915, 9916];

fn chain_readme_holds(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    let _running = scenario.start_all(&CHAIN)?;
    scenario.run_readme()
}

fn cookie_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "cookie")
}

fn groups_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "groups")
}

fn grpc_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "grpc")
}

fn header_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "header")
}

fn lanes_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "lanes")
}

fn metrics_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "metrics")
}

fn query_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "query")
}

fn reload_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "reload")
}

fn trust_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "trust")
}

fn weight_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "weight")
}

fn readme_holds(stage: &Stage, name: &str) -> Result<()> {
    let scenario = stage.copy(name)?;
    let _envoy = scenario.start()?;
    scenario.run_readme()
}
