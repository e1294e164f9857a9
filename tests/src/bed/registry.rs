//! docker-registry, from which Istio's agents pull modules.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::files::{self, Folder};
use super::part::{Part, Recipe};
use crate::client;

/// Where it listens.
pub(super) const PORT: u16 = 5000;

/// Starts it on this address.
pub(super) fn start(folder: &Folder, host: Ipv4Addr) -> Result<Part> {
    let config = serde_json::json!({
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": false}},
        "storage": {"filesystem": {"rootdirectory": folder.data("registry")}, "delete": {"enabled": true}},
        "http": {"addr": format!("{host}:{PORT}")},
    });
    let config = folder.write("registry.yaml", &config.to_string())?;
    let recipe = Recipe::new(files::program("docker-registry")?, folder.root(), folder.path("docker-registry.log"))
        .args(["serve".into(), config.into_os_string()])
        .env("OTEL_TRACES_EXPORTER", "none");
    Part::start_new("docker-registry", recipe, move || client::get((host, PORT), "/v2/").map(drop))
}
