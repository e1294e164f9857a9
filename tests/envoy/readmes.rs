//! Every scenario answers what its README says, command by command.

use anyhow::Result;
use graylane_tests::on_every_envoy;
use graylane_tests::stage::Stage;

/// Tests the README of each scenario that is one proxy.
macro_rules! tell_readmes_of {
    ($($scenario:ident),* $(,)?) => {
        $(mod $scenario {
            graylane_tests::on_every_envoy!(readme_holds);

            fn readme_holds(stage: &graylane_tests::stage::Stage) -> anyhow::Result<()> {
                super::readme_holds(stage, stringify!($scenario))
            }
        })*

        const TOLD: &[&str] = &["chain", $(stringify!($scenario)),*];
    };
}

tell_readmes_of!(cookie, groups, grpc, header, lanes, metrics, query, reload, trust, weight);
on_every_envoy!(chain_readme_holds);

/// Admin ports of the gateway and of the six sidecars.
pub const CHAIN: [u16; 7] = [9901, 9911, 9912, 9913, 9914, 9915, 9916];

#[test]
fn no_readme_is_left_out() {
    assert_eq!(TOLD, crate::configs::scenarios().unwrap());
}

fn chain_readme_holds(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    let _running = scenario.start_all(&CHAIN)?;
    scenario.run_readme()
}

fn readme_holds(stage: &Stage, name: &str) -> Result<()> {
    let scenario = stage.copy(name)?;
    let _envoy = scenario.start()?;
    if name == "metrics" {
        // It shows how many workers run the config, and a busy machine lets one say so later than Envoy is ready.
        scenario.admin(9901).wait_for_generation("gateway", 1, 2)?;
    }
    scenario.run_readme()
}
