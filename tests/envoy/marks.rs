//! Whose marks are believed: nobody's, those of peers with a certificate, or everybody's.

use anyhow::{Result, ensure};
use graylane_policy::raw::{ClientMarks, RawConfig, Role};
use graylane_tests::client::{self, Ask};
use graylane_tests::envoy::Envoy;
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::Stage;
use graylane_tests::{ecds, on_every_envoy, tls};

on_every_envoy!(
    marks_of_peers_count_with_a_certificate_at_a_gateway,
    marks_of_peers_count_with_a_certificate_on_the_inbound_side,
    accepted_marks_count_from_anybody,
);

fn marks_of_peers_count_with_a_certificate_at_a_gateway(stage: &Stage) -> Result<()> {
    marks_of_peers_count(stage.copy_bootstrap("trust", tls::listening)?, Role::Gateway)
}

fn marks_of_peers_count_with_a_certificate_on_the_inbound_side(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_bootstrap("trust", |text| tls::listening(&without_moving_marks(text)))?;
    marks_of_peers_count(scenario, Role::Inbound)
}

fn marks_of_peers_count(scenario: Scenario, role: Role) -> Result<()> {
    tls::make_certificates(&scenario.folder)?;
    let envoy = start(&scenario, role, ClientMarks::Peers)?;
    let mark = ["x-release-stage: canary", "x-graylane-cohort: shop=rule"];
    let answer = |peer, mark: &[&str]| tls::answer_to(scenario.port(10000), &scenario.folder, peer, mark);
    ensure!(answer(Some("web"), &mark)?.contains("x-release-stage: canary"), "a peer is believed");
    ensure!(answer(Some("web"), &[])?.contains("x-release-stage: -"), "a peer without a mark is in stable");
    let stranger = answer(None, &mark)?;
    ensure!(stranger.contains("x-release-stage: -"), "a client without a certificate is not believed: {stranger}");
    envoy.wait_for_sum("graylane_lane_total", &[("lane", "canary"), ("reason", "header")], 1.0)
}

fn accepted_marks_count_from_anybody(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("trust")?;
    let envoy = start(&scenario, Role::Gateway, ClientMarks::Accept)?;
    let answer = |lane: &str| -> Result<String> {
        let ask = Ask::get("127.0.0.1", "/").header("x-release-stage", lane);
        Ok(client::once(scenario.port(10000), &ask)?.text())
    };
    let marked = answer("canary")?;
    ensure!(marked.starts_with("orders canary") && marked.contains("x-release-stage: canary"), "{marked}");
    for nobody_knows in ["v9", "Canary", "canary,canary", "stable", ""] {
        let text = answer(nobody_knows)?;
        ensure!(text.starts_with("orders stable"), "{nobody_knows:?}: {text}");
    }
    // A mark that is accepted is an explicit wish.
    envoy.wait_for_sum("graylane_requests_total", &[("lane", "canary"), ("cohort", "rule")], 1.0)?;
    envoy.wait_for_sum("graylane_requests_total", &[("lane", "stable")], 5.0)
}

fn start(scenario: &Scenario, role: Role, marks: ClientMarks) -> Result<Envoy> {
    ecds::change(&scenario.folder.join("ecds/gateway.json"), |document: &mut RawConfig| {
        document.role = role;
        for group in &mut document.groups {
            group.client_marks = Some(marks);
        }
    })?;
    let envoy = scenario.start()?;
    let label = if role == Role::Gateway { "gateway" } else { "inbound" };
    envoy.wait_for_generation(label, 2, 2)?;
    Ok(envoy)
}

/// A sidecar leaves marks where its peers wrote them.
fn without_moving_marks(text: &str) -> String {
    let moves = |line: &str| {
        let line = line.trim_start();
        line.starts_with("- remove: x-release-stage") || line.contains("x-graylane-untrusted-x-release-stage")
    };
    text.lines().filter(|line| !moves(line)).map(|line| format!("{line}\n")).collect()
}
