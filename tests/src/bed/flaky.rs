//! An API server that misbehaves: an Envoy before it that answers with errors, or not at all.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Bed;
use super::part::{Part, Recipe};
use crate::admin::Admin;
use crate::client::{self, Ask, At};
use crate::paths::{self, Release};

const PORT: u16 = 7443;
const ADMIN: u16 = 7444;

/// A way to the API server on which faults can be turned on. It ends when dropped.
#[derive(Debug)]
pub struct FlakyApi {
    envoy: Part,
    admin: Admin,
    server: String,
}

// === impl Bed ===

impl Bed {
    /// A second way to the API server, for kubeconfigs that [`FlakyApi::redirect`] makes; one per bed.
    ///
    /// # Errors
    /// When there is no Envoy, or it does not start.
    pub fn flaky_api_server(&self) -> Result<FlakyApi> {
        let config = self.folder.write("flaky.json", &bootstrap(self.host, self.cluster.certificates()).to_string())?;
        let admin = Admin { at: At::from((self.host, ADMIN)) };
        let recipe = Recipe::new(paths::envoy(Release::Newest)?, self.folder.root(), self.folder.path("flaky.log"))
            .args(["-c".as_ref(), config.as_os_str()])
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
        let envoy = Part::start_new("the flaky way to the API server", recipe, move || admin.ready())?;
        Ok(FlakyApi { envoy, admin, server: format!("https://{}:{PORT}", self.host) })
    }
}

// === impl FlakyApi ===

impl FlakyApi {
    /// A copy of a kubeconfig that takes this way, with the same user.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn redirect(&self, kubeconfig: &Path) -> Result<PathBuf> {
        let mut config: Value = serde_json::from_str(&fs::read_to_string(kubeconfig)?)?;
        config["clusters"][0]["cluster"]["server"] = json!(self.server);
        let name = kubeconfig.file_name().context("a kubeconfig has a name")?.to_string_lossy();
        let path = kubeconfig.with_file_name(format!("flaky-{name}"));
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Answers this share of all requests, in percent, with a status such as 429 or 500; watches that
    /// stand go on.
    ///
    /// # Errors
    /// When the Envoy does not take it.
    pub fn answer_with(&self, status: u16, percent: u8) -> Result<()> {
        self.modify(&format!("fault.http.abort.http_status={status}&fault.http.abort.abort_percent={percent}"))
    }

    /// Answers no more: connections stay open, and new ones are taken by nobody.
    ///
    /// # Errors
    /// When it does not run.
    pub fn hang(&self) -> Result<()> {
        self.envoy.freeze()
    }

    /// Turns all faults off.
    ///
    /// # Errors
    /// When it does not run.
    pub fn heal(&self) -> Result<()> {
        self.envoy.thaw()?;
        self.modify("fault.http.abort.abort_percent=0")
    }

    fn modify(&self, runtime: &str) -> Result<()> {
        let ask = Ask::get("admin", &format!("/runtime_modify?{runtime}")).method("POST");
        let answer = client::once(self.admin.at, &ask)?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        Ok(())
    }
}

/// It shows the certificate of the API server itself: clients send tokens over TLS only.
fn bootstrap(host: Ipv4Addr, certificates: &Path) -> Value {
    let address = |port: u16| json!({"socket_address": {"address": host.to_string(), "port_value": port}});
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{
                "certificate_chain": {"filename": certificates.join("apiserver.crt")},
                "private_key": {"filename": certificates.join("apiserver.key")},
            }],
        },
    });
    json!({
        "admin": {"address": address(ADMIN)},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "static_resources": {
            "listeners": [{
                "name": "api",
                "address": address(PORT),
                "filter_chains": [{
                    "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                    "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager()}],
                }],
            }],
            "clusters": [{
                "name": "api",
                "type": "STATIC",
                "connect_timeout": "1s",
                "transport_socket": {
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    },
                },
                "load_assignment": {
                    "cluster_name": "api",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(super::cluster::API_SERVER)}}]}],
                },
            }],
        },
    })
}

/// Everything goes to the API server, except what is answered with an error.
fn manager() -> Value {
    let fault = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
        "abort": {"http_status": 503, "percentage": {"numerator": 0}},
    });
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "api",
        "stream_idle_timeout": "0s",
        "route_config": {"virtual_hosts": [{
            "name": "api",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "api", "timeout": "0s"}}],
        }]},
        "http_filters": [
            {"name": "envoy.filters.http.fault", "typed_config": fault},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            },
        ],
    })
}
