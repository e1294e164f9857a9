//! Every scenario answers what its README says, command by command.

use anyhow::Result;
use graylane_tests::on_every_envoy;
use graylane_tests::stage::Stage;

on_every_envoy!(
    cookie_readme_holds,
    groups_readme_holds,
    header_readme_holds,
    query_readme_holds,
    trust_readme_holds,
);

fn cookie_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "cookie")
}

fn groups_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "groups")
}

fn header_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "header")
}

fn query_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "query")
}

fn trust_readme_holds(stage: &Stage) -> Result<()> {
    readme_holds(stage, "trust")
}

fn readme_holds(stage: &Stage, name: &str) -> Result<()> {
    let scenario = stage.copy(name)?;
    let _envoy = scenario.start()?;
    scenario.run_readme()
}
