//! The Envoy under load: one process with one worker and a listener for each variant, so that all
//! variants meet the same binary, the same heap and the same neighbours.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use graylane_benches::mix::{LANES, Mix, document};
use graylane_tests::envoy::{Envoy, Start};
use graylane_tests::{paths, ports};
use serde_json::{Value, json};

const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters";
/// The carried header, which the deciding variants write and their routes match.
const CARRIED: &str = "x-release-stage";
/// The header that the whole filter routes by.
const ROUTE: &str = "x-graylane-route";

/// What is compared.
pub struct Variant {
    /// Name in the table.
    pub name: &'static str,
    /// Number of rules, for its requests.
    pub rules: usize,
    /// Where it listens.
    pub port: u16,
    /// Whether the request of the last rule comes with its lane already.
    pub carried: bool,
    /// Whether it routes by the rules at all.
    pub decides: bool,
    /// Whether it also routes by weight, so that a user without a rule may still get a lane.
    pub weighted: bool,
    filter: Option<Value>,
    routes: Vec<Value>,
}

/// All variants; the first is Envoy alone.
pub fn variants(modules: &Path) -> Result<Vec<Variant>> {
    let (few, many) = (Mix::new(10), Mix::new(1000));
    let ours = paths::filter()?;
    let wasm = |name, module: PathBuf, config: Value| wasm(name, &module, &config);
    let empty = wasm("empty", modules.join("empty.wasm"), json!({}));
    let count = wasm("count", modules.join("count.wasm"), json!({}));
    let own = |name, config| wasm(name, ours.clone(), config);
    Ok(vec![
        Variant::new("envoy alone", 10, None, vec![]),
        Variant::new("native routes, 10 rules", 10, None, few.routes()).deciding(),
        Variant::new("native routes, 1000 rules", 1000, None, many.routes()).deciding(),
        Variant::new("lua, 10 rules", 10, Some(lua(&few)), by_header(CARRIED)).deciding(),
        Variant::new("lua, 1000 rules", 1000, Some(lua(&many)), by_header(CARRIED)).deciding(),
        Variant::new("empty module", 10, Some(empty), vec![]),
        Variant::new("counting module", 10, Some(count), vec![]),
        Variant::new("ours idle", 10, Some(own("idle", document::idle())), vec![]),
        Variant::new("ours deciding, 10 rules", 10, Some(own("decide10", few.deciding())), by_header(CARRIED))
            .deciding(),
        Variant::new("ours deciding, 1000 rules", 1000, Some(own("decide1000", many.deciding())), by_header(CARRIED))
            .deciding(),
        Variant::new("ours whole, 10 rules", 10, Some(own("whole", few.whole())), by_header(ROUTE)).weighted(),
        Variant::new("ours carrying", 10, Some(own("carry", document::carrying())), by_header(ROUTE)).carrying(),
    ])
}

/// Writes the bootstrap below `folder` and starts Envoy. `upstreams` are the ports of stable and the lanes.
pub fn start(folder: &Path, variants: &[Variant], upstreams: &[(&str, u16)]) -> Result<Envoy> {
    let admin = ports::free();
    let config = folder.join("envoy.json");
    let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let cluster = |(name, port): &(&str, u16)| {
        let endpoint = json!({"endpoint": {"address": address(*port)}});
        json!({"name": name, "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}})
    };
    let bootstrap = json!({
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": variants.iter().map(|variant| variant.listener(&address(variant.port))).collect::<Vec<_>>(),
            "clusters": upstreams.iter().map(cluster).collect::<Vec<_>>()
        }
    });
    fs::write(&config, bootstrap.to_string()).with_context(|| config.display().to_string())?;
    let binary = paths::envoy(paths::Release::Newest)?;
    Start { binary, config, admin, concurrency: 1 }.ready()
}

fn lua(mix: &Mix) -> Value {
    let script = json!({"inline_string": mix.lua(CARRIED)});
    json!({"@type": format!("{FILTERS}.http.lua.v3.Lua"), "default_source_code": script})
}

/// Each in a VM of its own. Fails closed: a module that trapped must not pass for a fast one.
fn wasm(name: &str, module: &Path, config: &Value) -> Value {
    json!({
        "@type": format!("{FILTERS}.http.wasm.v3.Wasm"),
        "config": {
            "name": name, "root_id": name, "failure_policy": "FAIL_CLOSED",
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": config.to_string()},
            "vm_config": {"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}}
        }
    })
}

/// One route for each lane, by the header that a filter writes.
fn by_header(name: &str) -> Vec<Value> {
    let route = |lane| {
        let found = json!({"prefix": "/", "headers": [{"name": name, "string_match": {"exact": lane}}]});
        json!({"match": found, "route": {"cluster": lane}})
    };
    LANES.into_iter().map(route).collect()
}

// === impl Variant ===

impl Variant {
    fn new(name: &'static str, rules: usize, filter: Option<Value>, routes: Vec<Value>) -> Self {
        Self { name, rules, port: ports::free(), carried: false, decides: false, weighted: false, filter, routes }
    }

    fn deciding(mut self) -> Self {
        self.decides = true;
        self
    }

    fn weighted(mut self) -> Self {
        self.weighted = true;
        self.deciding()
    }

    fn carrying(mut self) -> Self {
        self.carried = true;
        self
    }

    fn listener(&self, address: &Value) -> Value {
        let stable = json!({"match": {"prefix": "/"}, "route": {"cluster": "stable"}});
        let routes: Vec<Value> = self.routes.iter().cloned().chain([stable]).collect();
        let router = json!({"name": "router", "typed_config": {"@type": format!("{FILTERS}.http.router.v3.Router")}});
        let filter = self.filter.iter().map(|config| json!({"name": "filter", "typed_config": config}));
        let manager = json!({
            "@type": format!("{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "bench",
            "http_filters": filter.chain([router]).collect::<Vec<_>>(),
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}
        });
        let chain = json!({"filters": [{"name": "http", "typed_config": manager}]});
        json!({"name": self.name, "address": address, "filter_chains": [chain]})
    }
}
