//! The files of `istio/examples`, as they are.

use std::fs;

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed, Part};
use graylane_tests::paths;
use graylane_tests::poll::{self, PATIENCE};

use crate::asking::{anybody, takes, tester};

#[test]
fn smoke_the_example_works_as_its_page_says() {
    bed::tell(&Bed::mesh(), |bed| {
        let crd = bed.graylane(&["crd"])?.done()?;
        bed.apply(&crd)?;
        bed.apply(&example("10-workloads.yaml")?)?;
        bed.apply(&example("20-routes.yaml")?)?;
        bed.wait_for_deployments("istio-ingress")?;
        bed.wait_for_deployments("shop")?;
        bed.graylane(&["install", "-n", "istio-ingress", "--gateway", "--yes"])?.done()?;
        bed.graylane(&["install", "-n", "shop", "--yes"])?.done()?;
        let module = paths::filter()?.display().to_string();
        let controller = controller(bed, &["--module", &module])?;
        bed.apply(&example("30-release.yaml")?)?;
        poll::until("the tester's lane", 3 * PATIENCE, || {
            ensure!(controller.is_up(), "the controller ended: {}", controller.log());
            takes(bed, &tester(), ["orders-canary", "stock-canary"])
        })?;
        // One of ten users: of forty requests without a user some stay on stable.
        let stable = (0..40).filter(|_| takes(bed, &anybody(), ["orders-stable", "stock-stable"]).is_ok()).count();
        ensure!(stable > 20, "only {stable} of 40 requests went to stable");

        let refused = bed.graylane(&["uninstall", "-n", "shop", "--yes"])?;
        ensure!(refused.stderr.contains("are not finished: shop/summer"), "{refused:?}");
        bed.graylane(&["stop", "--release", "shop/summer"])?.done()?;
        poll::until("stable for the tester", PATIENCE, || takes(bed, &tester(), ["orders-stable", "stock-stable"]))?;
        bed.graylane(&["stop", "--release", "shop/summer", "--undo"])?.done()?;
        poll::until("the lane again", 3 * PATIENCE, || takes(bed, &tester(), ["orders-canary", "stock-canary"]))
    });
}

/// The controller, with all rights.
fn controller(bed: &Bed, args: &[&str]) -> Result<Part> {
    let always =
        ["--lease-namespace", "default", "--metrics-address", "127.0.0.1:0", "--health-address", "127.0.0.1:0"];
    bed.graylane_as("controller", bed.kubeconfig(), &[&["controller"], always.as_slice(), args].concat())
}

/// A file of the example.
pub fn example(file: &str) -> Result<String> {
    let path = paths::root().join("istio/examples/shop").join(file);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}
