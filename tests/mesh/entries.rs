//! Lanes chosen on sidecars: for what comes in to a first service, and for what a client sends; and all of
//! it between proxies that know each other by mutual TLS.

use anyhow::{Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::client::{self, Ask};
use graylane_tests::poll;

use crate::asking::{CANARY, STABLE, takes};
use crate::control::{Control, PATIENCE, SUMMER, until, until_paused_at, until_phase};
use crate::traffic::{HOST, Traffic};

const ENTRY: &str = "entry: {gateways: [{namespace: istio-ingress}]}";

#[test]
fn a_first_service_chooses_lanes_for_what_comes_in() {
    chosen_by_orders("inbound");
}

#[test]
fn a_client_chooses_lanes_for_what_it_sends() {
    chosen_by_orders("outbound");
}

/// The gateway knows no release, so everybody comes to the stable `orders`; from there testers go on to
/// the canary.
fn chosen_by_orders(side: &str) {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        bed.apply(&bed.graylane(&["crd"])?.done()?)?;
        let flag = format!("--entry-{side}");
        bed.graylane(&["install", "--yes", "-n", "shop", &flag, "orders"])?.done()?;
        let control = Control::start(bed, "controller")?;
        bed.apply(&SUMMER.replace(ENTRY, &format!("entry: {{{side}: [orders]}}")))?;
        until_paused_at(bed, "canary=5%")?;
        let (tester, other) = (Ask::get(HOST, "/").header("x-tester", "1"), Ask::get(HOST, "/"));
        soon_takes(bed, &tester, ["orders-stable", "stock-canary"])?;
        soon_takes(bed, &other, STABLE)?;
        a_broken_release_leaves_the_others_serving(bed)?;
        soon_takes(bed, &tester, ["orders-stable", "stock-canary"])?;
        control.ask("abort")?;
        until_phase(bed, "RolledBack")?;
        soon_takes(bed, &tester, STABLE)
    });
}

/// Nothing is wrong with it but a regex that does not compile, which the filter of one role only would refuse: it is in
/// nobody's way, neither by its member nor by its header.
pub const BROKEN: &str = "
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: broken, namespace: shop}
spec:
  carriedHeader: x-broken
  lanes: [{name: canary}]
  members: [{service: parcels}]
  entry: {gateways: [{namespace: istio-ingress}]}
  rules: [{name: testers, lane: canary, when: {match: {field: {header: x-tester}, is: {regex: \"(\"}}}}]
  steps: [{weight: 5%}]
";

/// It is taken, found to be invalid, and nothing of it is written.
fn a_broken_release_leaves_the_others_serving(bed: &Bed) -> Result<()> {
    let versions =
        || bed.kubectl(&["get", "envoyfilters", "-A", "-o", "jsonpath={.items[*].metadata.resourceVersion}"]);
    let before = versions()?.stdout;
    bed.apply(BROKEN)?;
    poll::until("the broken release is refused", PATIENCE, || {
        let status = crate::control::release(bed, "broken")?["status"].take();
        ensure!(status["phase"] == "Invalid", "{status}");
        let said = status["message"].as_str().unwrap_or_default();
        ensure!(said.contains("spec.rules[0]") && said.contains("`(` is no regular expression"), "{said}");
        ensure!(said.lines().count() == 1 && !said.contains("service"), "something else is wrong with it: {said}");
        Ok(())
    })?;
    let after = versions()?.stdout;
    bed.kubectl(&["delete", "grayrelease", "broken", "-n", "shop", "--timeout=60s"])?;
    ensure!(after == before, "config was written for a broken release");
    Ok(())
}

#[test]
fn a_release_goes_on_between_proxies_that_know_each_other_by_mutual_tls() {
    bed::tell(&Bed::mesh().mtls(), |bed| {
        let control = Control::of_shop(bed)?;
        bed.apply(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
             metadata: {name: default, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n",
        )?;
        bed.apply(&SUMMER.replace("capacity:", "trust: {peerMarks: peers}\n  capacity:"))?;
        until_paused_at(bed, "canary=5%")?;
        let traffic = Traffic::begin(bed)?;
        control.ask("promote")?;
        until_paused_at(bed, "canary=50%")?;
        soon_takes(bed, &Ask::get(HOST, "/").header("x-tester", "1"), CANARY)?;
        let orders = bed.pod("shop", "orders")?;
        ensure!(client::once((orders.place.ip, 8080), &Ask::get("orders", "/")).is_err(), "plain text was answered");
        control.ask("abort")?;
        until(bed, "the way back", |status| status["phase"] == "RolledBack")?;
        let (served, failed) = traffic.stop(bed)?;
        ensure!(failed == 0, "{failed} of {served} requests failed");
        Ok(())
    });
}

fn soon_takes(bed: &Bed, ask: &Ask, wanted: [&str; 2]) -> Result<()> {
    poll::until(&format!("{wanted:?}"), PATIENCE, || takes(bed, ask, wanted))
}
