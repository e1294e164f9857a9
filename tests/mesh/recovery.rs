//! Filters that are not there: a module that cannot be had, and one that has crashed.

use std::time::Instant;

use anyhow::ensure;
use graylane_tests::bed::{self, Bed};
use graylane_tests::client::Ask;
use graylane_tests::figures::{judge, say};
use graylane_tests::{paths, poll};

use crate::asking::{CANARY, STABLE, WITH_AGENT, takes};
use crate::control::{Control, PATIENCE, SUMMER, adopt, until, until_paused_at, until_phase};
use crate::releases::everybody_is_on;
use crate::traffic::{HOST, Traffic};

#[test]
fn a_rollback_needs_no_registry_not_even_where_nothing_is_cached() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        bed.kubectl(&["-n", "istio-ingress", "patch", "deployment", "gateway", "--patch", WITH_AGENT])?;
        for name in ["orders", "orders-canary", "stock", "stock-canary"] {
            bed.kubectl(&["-n", "shop", "patch", "deployment", name, "--patch", WITH_AGENT])?;
        }
        adopt(bed)?;
        bed.wait_for_deployments("istio-ingress")?;
        bed.wait_for_deployments("shop")?;
        let image = bed.push_module(&paths::filter()?, "graylane/filter", "v1")?;
        let control = Control::with_module(bed, "controller", &image.uri)?;
        control.moves_to_half()?;
        bed.registry()?.stop()?;
        // The new gateway's agent has nothing cached, and nowhere to get it.
        bed.kubectl(&["delete", "pod", "-n", "istio-ingress", "-l", "app=gateway"])?;
        bed.wait_for_deployments("istio-ingress")?;
        everybody_is_on(bed, STABLE)?;
        let traffic = Traffic::begin(bed)?;
        control.ask("abort")?;
        everybody_is_on(bed, STABLE)?;
        until_phase(bed, "RolledBack")?;
        let (served, failed) = traffic.stop(bed)?;
        let value = format!("{failed} of {served} requests refused or failed");
        judge("rollback with an empty module cache and no registry", value, "0", failed == 0)
    });
}

/// One of two workers has lost its filter: some requests are served by stable, the others in the lane.
#[test]
fn a_filter_that_has_crashed_in_one_worker_is_brought_back_by_the_controller() {
    bed::tell(&Bed::mesh().workers(2), |bed| {
        bed.shop()?;
        adopt(bed)?;
        let module = paths::filter_that_traps()?.display().to_string();
        let _control = Control::with_module(bed, "controller", &module)?;
        bed.apply(SUMMER)?;
        until_paused_at(bed, "canary=5%")?;
        let tester = Ask::get(HOST, "/").header("x-tester", "1");
        let in_lane = || (0..20).try_for_each(|_| takes(bed, &tester, CANARY));
        poll::until("the tester's lane", PATIENCE, in_lane)?;
        let crash = bed.ask(&tester.clone().header("x-graylane-trap", "1"))?;
        let crashed = Instant::now();
        ensure!(crash.status == 503, "the crash costs its own request: {}", crash.status);
        poll::until("an answer of stable", PATIENCE, || takes(bed, &tester, STABLE))?;
        poll::until("one of the other worker", PATIENCE, || takes(bed, &tester, CANARY))?;
        until(bed, "the loss is seen", |status| {
            let missing = status["proxies"]["missing"].to_string();
            missing.contains("istio-ingress/gateway") && missing.contains("2 of 3 workers run graylane.gateway")
        })?;
        poll::until("the filter is back in both", PATIENCE, in_lane)?;
        let value = format!("{:.1} s, stable meanwhile, one request failed", crashed.elapsed().as_secs_f64());
        say("a filter that crashed in one of two workers is brought back", value)?;
        until(bed, "all proxies", |status| status["proxies"]["acknowledged"] == status["proxies"]["expected"])?;
        Ok(())
    });
}
