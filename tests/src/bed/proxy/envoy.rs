//! A plain Envoy that takes everything from istiod.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use graylane_policy::metric::LABELS;
use serde_json::{Value, json};

use super::{APP_HEALTH, Identity, Mesh};
use crate::bed::istio::XDS;
use crate::bed::kubelet::{ADMIN, APP, PROMETHEUS, READY};
use crate::bed::part::Recipe;

pub(super) fn recipe(mesh: &Mesh, identity: &Identity, recipe: Recipe, folder: &Path) -> Result<Recipe> {
    let file = folder.join("envoy.json");
    let bootstrap = bootstrap(mesh, identity);
    fs::write(&file, bootstrap.to_string()).with_context(|| format!("write {}", file.display()))?;
    let workers = identity.workers.to_string();
    Ok(recipe
        .args([mesh.envoy.as_os_str()])
        .args(["-c".as_ref(), file.as_os_str()])
        .args(["--concurrency", &workers, "--disable-hot-restart"])
        .args(["--log-level", "warning", "--component-log-level", "wasm:info,misc:error"]))
}

fn bootstrap(mesh: &Mesh, identity: &Identity) -> Value {
    let ip = identity.ip;
    let tag = |label: &&str| json!({"tag_name": label, "regex": format!(r"({label}=\.=(.*?);\.;)")});
    let from_istiod = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
    let http2 = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    });
    let mut istiod = cluster("xds-grpc", mesh.host, XDS);
    istiod["typed_extension_protocol_options"] =
        json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2});
    // So that a istiod that is gone without a word is noticed, as Istio's bootstrap has it.
    istiod["upstream_connection_options"] = json!({"tcp_keepalive": {"keepalive_time": 300}});
    json!({
        "node": {
            "id": identity.node_id(),
            "cluster": format!("{}.{}", identity.workload(), identity.namespace()),
            "metadata": identity.metadata(),
        },
        "admin": {"address": address(ip, ADMIN)},
        "stats_config": {"stats_tags": LABELS.iter().map(tag).collect::<Vec<_>>()},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                // As in Istio's own bootstrap: without it every acknowledgement carries 40 KB of node.
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
            "lds_config": from_istiod,
            "cds_config": from_istiod,
        },
        "static_resources": {
            "clusters": [istiod, cluster("bed-admin", ip, ADMIN), cluster("bed-app", Ipv4Addr::LOCALHOST, APP)],
            "listeners": [
                listener("bed-prometheus", ip, PROMETHEUS, &[("/stats/prometheus", "bed-admin", "/stats/prometheus")]),
                listener("bed-ready", ip, READY, &[("/healthz/ready", "bed-admin", "/ready"), (APP_HEALTH, "bed-app", "")]),
            ],
        },
    })
}

pub(super) fn cluster(name: &str, ip: Ipv4Addr, port: u16) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(ip, port)}}]}],
        },
    })
}

/// Each path of it leads to a path of a cluster.
fn listener(name: &str, ip: Ipv4Addr, port: u16, paths: &[(&str, &str, &str)]) -> Value {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }],
        "route_config": {"virtual_hosts": [{
            "name": name, "domains": ["*"], "routes": paths.iter().map(route).collect::<Vec<_>>(),
        }]},
    });
    json!({
        "name": name,
        "address": address(ip, port),
        "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
        ]}],
    })
}

/// A path, the cluster it leads to, and the path there.
pub(super) fn route((path, cluster, there): &(&str, &str, &str)) -> Value {
    json!({"match": {"prefix": path}, "route": {"cluster": cluster, "prefix_rewrite": there}})
}

fn address(ip: Ipv4Addr, port: u16) -> Value {
    json!({"socket_address": {"address": ip.to_string(), "port_value": port}})
}
