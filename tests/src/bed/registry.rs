//! docker-registry, from which Istio's agents pull modules.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

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

/// A module in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `oci://…@sha256:…`
    pub uri: String,
    /// Digest of its manifest, in hex: what Istio checks.
    pub sha256: String,
}

/// Packs a module as Istio wants it, a layer that holds `plugin.wasm`, and uploads it.
pub(super) fn push(folder: &Folder, host: Ipv4Addr, module: &Path, name: &str, tag: &str) -> Result<Image> {
    let at = format!("{host}:{PORT}");
    let into = folder.path("image");
    let said = Command::new("bash")
        .args(["-euo", "pipefail", "-c", PUSH, "push"])
        .args([into.as_os_str(), module.as_os_str()])
        .args([&at, name, tag])
        .output()
        .context("run bash")?;
    ensure!(said.status.success(), "push {name}: {}", String::from_utf8_lossy(&said.stderr));
    let sha256 = String::from_utf8(said.stdout)?.trim().to_owned();
    Ok(Image { uri: format!("oci://{at}/{name}@sha256:{sha256}"), sha256 })
}

/// The two steps of an upload for each blob, then the manifest; prints the digest of the manifest.
const PUSH: &str = r#"
into=$1 module=$2 registry=http://$3/v2/$4 tag=$5
mkdir -p "$into" && cd "$into"
digest() { sha256sum "$1" | cut -d' ' -f1; }
describe() { printf '{"mediaType":"%s","digest":"sha256:%s","size":%d}' "$1" "$(digest "$2")" "$(wc -c <"$2")"; }
upload() {
  local to
  to=$(curl -fsS -X POST -D - -o /dev/null "$registry/blobs/uploads/" | sed -n 's/^[Ll]ocation: //p' | tr -d '\r')
  curl -fsS -X PUT --data-binary "@$1" -H 'content-type: application/octet-stream' "$to&digest=sha256:$(digest "$1")"
}
cp "$module" plugin.wasm
tar --sort=name --owner=0 --group=0 --mtime=@0 -czf layer.tgz plugin.wasm
printf '{}' >config.json
type=application/vnd.oci.image
printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":%s,"layers":[%s]}' "$type" \
  "$(describe "$type.config.v1+json" config.json)" "$(describe "$type.layer.v1.tar+gzip" layer.tgz)" >manifest.json
upload config.json
upload layer.tgz
curl -fsS -X PUT --data-binary @manifest.json -H "content-type: $type.manifest.v1+json" "$registry/manifests/$tag"
digest manifest.json
"#;
