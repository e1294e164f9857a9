//! A scenario whose clusters point to toy applications, which can do more than answer a fixed text.

use anyhow::Result;
use graylane_tests::app::App;
use graylane_tests::scenario::Scenario;

const STABLE: u16 = 10_111;
const CANARY: u16 = 10_112;

/// Serves both versions of `orders`.
pub async fn serve(scenario: &Scenario) -> Result<[App; 2]> {
    let stable = App::serve("orders stable", scenario.port(STABLE)).await?;
    let canary = App::serve("orders canary", scenario.port(CANARY)).await?;
    Ok([stable, canary])
}

/// The edit of a scenario's files that points its clusters to them.
pub fn behind_apps(file: &str, text: String) -> String {
    if file != "envoy.yaml" {
        return text;
    }
    let (listeners, clusters) = text.split_once("\n  clusters:").unwrap_or((&text, ""));
    let clusters = clusters
        .replace("port_value: 10011", &format!("port_value: {STABLE}"))
        .replace("port_value: 10012", &format!("port_value: {CANARY}"));
    // Envoy ends every request after 15 s unless the route says otherwise; Istio's routes do.
    let listeners = listeners.replace("route: {cluster: ", "route: {timeout: 0s, cluster: ");
    format!("{listeners}\n  clusters:{clusters}")
}
