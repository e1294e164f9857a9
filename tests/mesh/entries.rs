//! Lanes chosen on sidecars: for what comes in to a first service, and for what a client sends; and all of
//! it between proxies that know each other by mutual TLS.

use anyhow::{Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::client::{self, Answer, Ask};
use graylane_tests::poll;

use crate::asking::{CANARY, STABLE, names, takes};
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
        bed.apply(&SUMMER.replace("capacity:", "trust: {peerMarks: peers}\n  capacity:"))?;
        until_paused_at(bed, "canary=5%")?;
        let tester = Ask::get(HOST, "/").header("x-tester", "1");
        only_known_peers_are_believed(bed, &tester)?;
        let traffic = Traffic::begin(bed)?;
        control.ask("promote")?;
        until_paused_at(bed, "canary=50%")?;
        soon_takes(bed, &tester, CANARY)?;
        control.ask("abort")?;
        until(bed, "the way back", |status| status["phase"] == "RolledBack")?;
        let (served, failed) = traffic.stop(bed)?;
        ensure!(failed == 0, "{failed} of {served} requests failed");
        Ok(())
    });
}

/// The pods of the lane speak for themselves, so what a caller says shows only where stable stands in for one of them:
/// the gateway, which is known, is believed that its tester is in the lane; one without a certificate is not. In the end
/// the latter is not answered at all.
fn only_known_peers_are_believed(bed: &Bed, tester: &Ask) -> Result<()> {
    let scale = |replicas: u32| {
        let replicas = format!("--replicas={replicas}");
        bed.kubectl(&["-n", "shop", "scale", "deployment", "orders-canary", &replicas]).map(drop)
    };
    scale(0)?;
    soon_takes(bed, tester, ["orders-stable", "stock-canary"])?;
    ensure!(names(&in_plain_text(bed)?)? == STABLE, "somebody unknown was believed");
    bed.apply(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {name: default, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n",
    )?;
    poll::until_true("plain text to be refused", PATIENCE, || in_plain_text(bed).is_err())?;
    soon_takes(bed, tester, ["orders-stable", "stock-canary"])?;
    scale(1)?;
    soon_takes(bed, tester, CANARY)
}

/// Asks the stable `orders` past all gateways, and claims to be in the lane.
fn in_plain_text(bed: &Bed) -> Result<Answer> {
    let orders = bed.pod("shop", "orders")?;
    client::once((orders.place.ip, 8080), &Ask::get("orders", "/").header("x-release-stage", "canary"))
}

fn soon_takes(bed: &Bed, ask: &Ask, wanted: [&str; 2]) -> Result<()> {
    poll::until(&format!("{wanted:?}"), PATIENCE, || takes(bed, ask, wanted))
}
