//! Documents that travel by WasmPlugins, and the module by the registry; by the controller that is installed.

use graylane_tests::bed::{self, Bed};
use graylane_tests::paths;
use graylane_tests::poll::{self, PATIENCE};

use crate::asking::{WITH_AGENT, anybody, takes, tester};
use crate::examples::example;
use crate::installed;

#[test]
fn a_release_runs_by_wasm_plugins_whose_image_the_agents_pull() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        let workloads = [
            ("istio-ingress", "gateway"),
            ("shop", "orders"),
            ("shop", "orders-canary"),
            ("shop", "stock"),
            ("shop", "stock-canary"),
        ];
        for (namespace, name) in workloads {
            bed.kubectl(&["-n", namespace, "patch", "deployment", name, "--patch", WITH_AGENT])?;
        }
        bed.wait_for_deployments("istio-ingress")?;
        bed.wait_for_deployments("shop")?;
        poll::until("the shop", PATIENCE, || takes(bed, &anybody(), ["orders-stable", "stock-stable"]))?;
        let image = bed.push_module(&paths::filter()?, "graylane/filter", "v1")?;
        let module = &image.uri;
        for args in [["-n", "istio-ingress", "--gateway"].as_slice(), &["-n", "shop"]] {
            let install = ["install", "--yes", "--emitter", "wasmplugin", "--module", module];
            bed.graylane(&[&install, args].concat())?.done()?;
        }
        installed::install(bed, module)?;
        let emitter = "GRAYLANE_EMITTER=wasmplugin";
        bed.kubectl(&["-n", "graylane-system", "set", "env", "deployment/graylane", emitter])?;
        bed.wait_for_deployments("graylane-system")?;
        bed.apply(&example("30-release.yaml")?)?;
        poll::until("the tester's lane", 3 * PATIENCE, || takes(bed, &tester(), ["orders-canary", "stock-canary"]))?;
        bed.graylane(&["stop", "-A"])?.done()?;
        poll::until("stable for the tester", PATIENCE, || takes(bed, &tester(), ["orders-stable", "stock-stable"]))?;
        installed::was_never_forbidden(bed)
    });
}
