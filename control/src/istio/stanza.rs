//! The part of the wiring that is written once and never during a release: it puts the filters into the
//! listeners of opted-in proxies, empty, and takes forged marks away before any routing.
//!
//! Writing it changes listeners, so the connections of the proxies drain once. That is why its bytes
//! depend on nothing that a release changes.

use std::collections::{BTreeMap, BTreeSet};

use graylane_policy::headers::{BAGGAGE, COHORT, ROUTE, UNTRUSTED_PREFIX};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::OPT_IN;
use super::object::{envoy_filter, managed, opted_in, spec};
use crate::build::Side;

/// Name of the stanza in each namespace.
pub const NAME: &str = "graylane";

/// Before the stanzas that name its filters as their anchor.
const PRIORITY: i32 = 10;
/// After the stanza whose filters it names as anchors.
const ENTRY_PRIORITY: i32 = 11;
/// A gateway that starts waits this long for its first config before it serves stable alone. Longer
/// than a fetch of the module may take.
const FIRST_CONFIG: &str = "15s";

const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const MANAGER_TYPE: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const MUTATION_TYPE: &str =
    "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
pub(super) const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
pub(super) const RBAC_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";

/// What the proxies of a namespace are, and what their clients may forge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wiring {
    /// What gateways take away from clients; none where the namespace has no gateway.
    pub gateway: Option<Marks>,
    /// Whether the namespace has sidecars.
    pub sidecars: bool,
    /// False where the filters themselves come by other objects, and only marks are taken away.
    pub filters: bool,
}

/// The marks of all groups that meet at a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The carried header of every group, in lower case.
    pub carried: BTreeSet<String>,
    /// Whether a group also travels as baggage.
    pub baggage: bool,
}

/// The EnvoyFilter `graylane` of a namespace.
pub fn stanza(namespace: &str, wiring: &Wiring) -> DynamicObject {
    let mut patches = Vec::new();
    if let Some(marks) = &wiring.gateway {
        patches.push(early_mutation("GATEWAY", moved_away(marks)));
        if wiring.filters {
            patches.push(insert(Side::Gateway, "envoy.filters.http.fault"));
        }
    }
    if wiring.sidecars {
        for side in [Side::Outbound, Side::Inbound] {
            patches.push(early_mutation(context(side), vec![json!({"remove": ROUTE})]));
        }
        if wiring.filters {
            patches.push(insert(Side::Outbound, "envoy.filters.http.fault"));
            patches.push(insert(Side::Inbound, "envoy.filters.http.router"));
        }
    }
    let spec = json!({"priority": PRIORITY, "workloadSelector": opted_in(), "configPatches": patches});
    managed(&envoy_filter(), namespace, NAME, spec, None)
}

/// What a stanza was made of, read back.
pub fn wiring(object: &DynamicObject) -> Wiring {
    let patches = || spec(object).get("configPatches").and_then(Value::as_array).into_iter().flatten();
    let is_in =
        |context: &str| patches().any(|patch| patch.pointer("/match/context").is_some_and(|one| one == context));
    let mutations = patches().filter_map(|patch| {
        patch.pointer("/patch/value/typed_config/early_header_mutation_extensions/0/typed_config/mutations")?.as_array()
    });
    let keys = mutations.flatten().filter_map(|mutation| mutation.pointer("/append/header/key")?.as_str());
    let mut carried: BTreeSet<String> =
        keys.filter_map(|key| key.strip_prefix(UNTRUSTED_PREFIX)).map(str::to_owned).collect();
    let baggage = carried.remove(BAGGAGE);
    Wiring {
        gateway: is_in("GATEWAY").then_some(Marks { carried, baggage }),
        sidecars: is_in("SIDECAR_INBOUND"),
        filters: patches().any(|patch| patch.get("applyTo").is_some_and(|kind| kind == "HTTP_FILTER")),
    }
}

/// The EnvoyFilter that makes the pods of a service an entry, on the sides that are named: a filter of
/// its own before the usual one.
pub fn entry_stanza(
    namespace: &str,
    service: &str,
    pods: &BTreeMap<String, String>,
    sides: &BTreeSet<Side>,
) -> DynamicObject {
    let anchored = |side: &Side| match side {
        Side::InboundEntry => Some(insert(*side, Side::Inbound.filter_name())),
        Side::OutboundEntry => Some(insert(*side, Side::Outbound.filter_name())),
        Side::Gateway | Side::Inbound | Side::Outbound => None,
    };
    let patches: Vec<Value> = sides.iter().filter_map(anchored).collect();
    // Only pods that have the usual filter have the anchor.
    let mut labels = pods.clone();
    labels.insert(OPT_IN.to_owned(), "true".to_owned());
    let spec = json!({
        "priority": ENTRY_PRIORITY,
        "workloadSelector": {"labels": labels},
        "configPatches": patches,
    });
    managed(&envoy_filter(), namespace, &entry_name(service), spec, None)
}

/// Name of the stanza that makes a service an entry.
pub fn entry_name(service: &str) -> String {
    format!("graylane-entrypoint-{service}")
}

/// The context of a side's listeners in Istio's words.
pub(super) fn context(side: Side) -> &'static str {
    match side {
        Side::Gateway => "GATEWAY",
        Side::Inbound | Side::InboundEntry => "SIDECAR_INBOUND",
        Side::Outbound | Side::OutboundEntry => "SIDECAR_OUTBOUND",
    }
}

fn early_mutation(context: &str, mutations: Vec<Value>) -> Value {
    json!({
        "applyTo": "NETWORK_FILTER",
        "match": {"context": context, "listener": {"filterChain": {"filter": {"name": MANAGER}}}},
        "patch": {
            "operation": "MERGE",
            "value": {"typed_config": {
                "@type": MANAGER_TYPE,
                "early_header_mutation_extensions": [{
                    "name": "graylane.strip",
                    "typed_config": {"@type": MUTATION_TYPE, "mutations": mutations},
                }],
            }},
        },
    })
}

/// What clients say of lanes goes to names that no route matches and no app knows; the filter reads it
/// there. What they send under those names is taken away first.
fn moved_away(marks: &Marks) -> Vec<Value> {
    let baggage = marks.baggage.then_some(BAGGAGE);
    let names = marks.carried.iter().map(String::as_str).chain(baggage);
    let moved = names.flat_map(|name| {
        let aside = format!("{UNTRUSTED_PREFIX}{name}");
        let copy = json!({
            "header": {"key": aside, "value": format!("%REQ({name})%")},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        });
        [json!({"remove": aside}), json!({"append": copy}), json!({"remove": name})]
    });
    moved.chain([ROUTE, COHORT].map(|name| json!({"remove": name}))).collect()
}

fn insert(side: Side, before: &str) -> Value {
    let filter = json!({"name": MANAGER, "subFilter": {"name": before}});
    json!({
        "applyTo": "HTTP_FILTER",
        "match": {"context": context(side), "listener": {"filterChain": {"filter": filter}}},
        "patch": {"operation": "INSERT_BEFORE", "value": discovered(side)},
    })
}

/// The filter by ECDS. Until its config comes, a filter without rules takes its place. A gateway waits
/// for it, so that one that is added later does not send users to stable first; a sidecar does not.
fn discovered(side: Side) -> Value {
    let mut discovery = json!({
        "config_source": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": FIRST_CONFIG},
        "type_urls": [WASM_TYPE, RBAC_TYPE],
        "default_config": {"@type": RBAC_TYPE},
    });
    if side != Side::Gateway
        && let Some(members) = discovery.as_object_mut()
    {
        members.insert("apply_default_config_without_warming".to_owned(), Value::Bool(true));
    }
    json!({"name": side.filter_name(), "config_discovery": discovery})
}
