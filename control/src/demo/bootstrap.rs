//! The Envoy configs of the demo. What they hold beyond a plain proxy is what `graylane install` puts
//! into a mesh: the filter by ECDS with an empty default, early header mutation, and static routes that
//! match the route header.

use graylane_policy::metric::LABELS;
use serde_json::{Value, json};

use super::topology::{CHAIN, Gateway, Pod, Topology};
use crate::build::Side;

const HCM: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const MUTATION: &str =
    "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const ACCESS_LOG: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";

/// The gateway, with the filter or as it would be without it.
pub fn gateway(topology: &Topology, gateway: Gateway, with_filter: bool) -> Value {
    let filter = with_filter.then(|| filter(Side::Gateway, "gateway"));
    let listener = Listener {
        name: gateway.name,
        port: gateway.listen,
        mutations: marks_moved_away(),
        filter,
        hosts: vec![virtual_host(topology, "frontend", &["*"])],
    };
    bootstrap(gateway.name, gateway.admin, json!({}), vec![listener.build(gateway.name)], clusters(topology, &[]))
}

/// The sidecar of a pod.
pub fn sidecar(topology: &Topology, pod: &Pod) -> Value {
    let name = pod.name();
    let inbound = Listener {
        name: "inbound",
        port: pod.inbound,
        mutations: route_removed(),
        filter: Some(filter(Side::Inbound, &name)),
        hosts: vec![json!({
            "name": "app", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}],
        })],
    };
    let hosts = CHAIN.iter().map(|service| {
        let own = ["", ".shop", ".shop.svc", ".shop.svc.cluster.local"].map(|tail| format!("{}{tail}", service.name));
        virtual_host(topology, service.name, &own.each_ref().map(String::as_str))
    });
    let outbound = Listener {
        name: "outbound",
        port: pod.outbound,
        mutations: route_removed(),
        filter: Some(filter(Side::Outbound, &name)),
        hosts: hosts.collect(),
    };
    // What Istio's injector puts there; the filter reads the lane and the workload of its pod from it.
    let mut labels = json!({"app": pod.service, "version": pod.lane});
    if pod.lane != "stable" {
        labels["graylane.io/lane"] = json!(pod.lane);
    }
    let metadata = json!({"NAME": name, "NAMESPACE": "shop", "WORKLOAD_NAME": pod.workload(), "LABELS": labels});
    let listeners = vec![inbound.build(&name), outbound.build(&name)];
    bootstrap(&name, pod.admin, metadata, listeners, clusters(topology, &[("app", pod.app)]))
}

fn bootstrap(id: &str, admin: u16, metadata: Value, listeners: Vec<Value>, clusters: Vec<Value>) -> Value {
    let tag = |label: &str| json!({"tag_name": label, "regex": format!(r"({label}=\.=(.*?);\.;)")});
    json!({
        "node": {"id": id, "cluster": "graylane", "metadata": metadata},
        "admin": {"address": address(admin)},
        "stats_config": {"stats_tags": LABELS.iter().map(|label| tag(label)).collect::<Vec<_>>()},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

struct Listener<'a> {
    name: &'a str,
    port: u16,
    mutations: Value,
    filter: Option<Value>,
    hosts: Vec<Value>,
}

// === impl Listener ===

impl Listener<'_> {
    fn build(self, proxy: &str) -> Value {
        let router = json!({"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}});
        let filters: Vec<Value> = self.filter.into_iter().chain([router]).collect();
        let manager = json!({
            "@type": HCM,
            "stat_prefix": self.name,
            // Hostile requests are to reach the filter, so the limits stand higher than Envoy's own.
            "max_request_headers_kb": 1024,
            "common_http_protocol_options": {"max_headers_count": 2000},
            "early_header_mutation_extensions": [
                {"name": "graylane.strip", "typed_config": {"@type": MUTATION, "mutations": self.mutations}},
            ],
            "access_log": [{"name": "envoy.access_loggers.file", "typed_config": access_log(proxy, self.name)}],
            "http_filters": filters,
            "route_config": {"virtual_hosts": self.hosts},
        });
        json!({
            "name": self.name,
            "address": address(self.port),
            "filter_chains": [{"filters": [
                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
            ]}],
        })
    }
}

/// The filter by ECDS. Until a config comes, a filter without rules takes its place. A gateway waits
/// for its config, so that one that is added later does not send users to stable first.
fn filter(side: Side, proxy: &str) -> Value {
    let path = ecds_file(side, proxy);
    json!({
        "name": side.filter_name(),
        "config_discovery": {
            "config_source": {
                "path_config_source": {"path": path, "watched_directory": {"path": "ecds"}},
                "initial_fetch_timeout": "15s",
            },
            "type_urls": [WASM, RBAC],
            "default_config": {"@type": RBAC},
            "apply_default_config_without_warming": side != Side::Gateway,
        },
    })
}

/// The file that a filter of a proxy watches, relative to the folder of the demo.
pub fn ecds_file(side: Side, proxy: &str) -> String {
    match side {
        Side::Gateway => format!("ecds/{proxy}.json"),
        side => format!("ecds/{proxy}-{}.json", side.label()),
    }
}

/// What a client says about lanes is moved to names that no route matches, before any routing; so
/// without the filter everything goes to stable.
fn marks_moved_away() -> Value {
    let moved = ["x-release-stage", "baggage"].into_iter().flat_map(|name| {
        let aside = format!("x-graylane-untrusted-{name}");
        [
            json!({"remove": aside}),
            json!({"append": {
                "header": {"key": aside, "value": format!("%REQ({name})%")},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }}),
            json!({"remove": name}),
        ]
    });
    let removed = ["x-graylane-route", "x-graylane-cohort"].into_iter().map(|name| json!({"remove": name}));
    moved.chain(removed).collect()
}

fn route_removed() -> Value {
    json!([{"remove": "x-graylane-route"}])
}

/// One route for each lane that has a version, matched exactly; the last one is stable.
fn virtual_host(topology: &Topology, service: &str, domains: &[&str]) -> Value {
    let metadata = json!({"filter_metadata": {"graylane": {"release": "shop/summer"}}});
    let lanes = topology.pods.iter().filter(|pod| pod.service == service && pod.lane != "stable");
    let mut routes: Vec<Value> = lanes
        .map(|pod| {
            json!({
                "match": {
                    "prefix": "/",
                    "headers": [{"name": "x-graylane-route", "string_match": {"exact": pod.lane}}],
                },
                "route": {"cluster": pod.name()},
                "request_headers_to_remove": ["x-graylane-route"],
                "metadata": metadata,
            })
        })
        .collect();
    routes.push(json!({
        "match": {"prefix": "/"},
        "route": {"cluster": format!("{service}-stable")},
        "request_headers_to_remove": ["x-graylane-route"],
        "metadata": metadata,
    }));
    json!({"name": service, "domains": domains, "routes": routes})
}

/// The clusters of all versions, and some more.
fn clusters(topology: &Topology, more: &[(&str, u16)]) -> Vec<Value> {
    let pods = topology.pods.iter().map(|pod| (pod.name(), pod.inbound));
    let more = more.iter().map(|(name, port)| ((*name).to_owned(), *port));
    let cluster = |(name, port): (String, u16)| {
        json!({
            "name": name,
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
            },
        })
    };
    pods.chain(more).map(cluster).collect()
}

fn access_log(proxy: &str, listener: &str) -> Value {
    json!({
        "@type": ACCESS_LOG,
        "path": format!("logs/{proxy}.access.log"),
        "log_format": {"json_format": {
            "time": "%START_TIME%",
            "proxy": proxy,
            "listener": listener,
            "method": "%REQ(:METHOD)%",
            "host": "%REQ(:AUTHORITY)%",
            "path": "%REQ(:PATH)%",
            "status": "%RESPONSE_CODE%",
            "flags": "%RESPONSE_FLAGS%",
            "milliseconds": "%DURATION%",
            "upstream": "%UPSTREAM_CLUSTER%",
            "lane": "%REQ(x-release-stage)%",
            "cohort": "%REQ(x-graylane-cohort)%",
            "release": "%METADATA(ROUTE:graylane:release)%",
            "traceparent": "%REQ(traceparent)%",
        }},
    })
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}
