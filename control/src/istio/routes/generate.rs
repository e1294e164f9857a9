//! VirtualServices and DestinationRules from nothing but names.

use std::collections::BTreeMap;

use serde_json::json;

use super::{PREFIX, Version, remove_route_header, twin};
use crate::istio::types::{
    API_VERSION, Destination, DestinationRule, DestinationRuleSpec, HttpRoute, Metadata, Rest, RouteDestination,
    VirtualService, VirtualServiceSpec, service_host,
};

/// What to generate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Name of the service, and of the objects.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// Environment, such as `prod`: a label of the objects and of the pods of every version.
    pub env: Option<String>,
    /// Its versions; the first is where requests go that nothing else claims.
    pub versions: Vec<Version>,
    /// Shares of the versions in percent, in their order. Empty: the first has all.
    pub weights: Vec<u8>,
    /// Whether versions after the first get a lane route each.
    pub canary: Canary,
    /// Names of the service for clients outside the mesh.
    pub hosts: Vec<String>,
    /// Gateways that serve it, as `namespace/name`, besides the mesh.
    pub gateways: Vec<String>,
    /// How callers encrypt.
    pub tls: Option<TlsMode>,
}

/// Whether lanes get routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Canary {
    /// Routes by weight alone, for a mesh without graylane.
    #[default]
    Without,
    /// A route for each version after the first, taken by the route header.
    Lanes,
}

/// How callers encrypt, in Istio's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// TLS, as with a server outside the mesh.
    Simple,
    /// Mutual TLS with the certificates of the mesh.
    IstioMutual,
}

/// The VirtualService of a service.
pub fn virtual_service(plan: &Plan) -> VirtualService {
    let host = service_host(&plan.service, &plan.namespace);
    let mut last = HttpRoute { name: first(plan).to_owned(), route: shares(plan, &host), ..HttpRoute::default() };
    let mut http = Vec::new();
    if plan.canary == Canary::Lanes {
        let lanes = plan.versions.iter().skip(1);
        http.extend(lanes.map(|version| lane_route(&host, &version.name)));
        remove_route_header(&mut last);
    }
    http.push(last);
    let gateways = match plan.gateways.as_slice() {
        [] => Vec::new(),
        some => some.iter().cloned().chain(["mesh".to_owned()]).collect(),
    };
    VirtualService {
        api_version: API_VERSION.to_owned(),
        kind: "VirtualService".to_owned(),
        metadata: metadata(plan),
        spec: VirtualServiceSpec {
            hosts: [host].into_iter().chain(plan.hosts.iter().cloned()).collect(),
            gateways,
            http,
            rest: Rest::new(),
        },
        rest: Rest::new(),
    }
}

/// The DestinationRule of a service.
pub fn destination_rule(plan: &Plan) -> DestinationRule {
    let mut rest = Rest::new();
    if let Some(tls) = plan.tls {
        rest.insert("trafficPolicy".to_owned(), json!({"tls": {"mode": tls.name()}}));
    }
    let subsets = plan.versions.iter().map(|version| {
        let mut subset = version.subset();
        subset.labels.extend(env(plan));
        subset
    });
    DestinationRule {
        api_version: API_VERSION.to_owned(),
        kind: "DestinationRule".to_owned(),
        metadata: metadata(plan),
        spec: DestinationRuleSpec {
            host: service_host(&plan.service, &plan.namespace),
            subsets: subsets.collect(),
            rest,
        },
        rest: Rest::new(),
    }
}

fn metadata(plan: &Plan) -> Metadata {
    let mut rest = Rest::new();
    let labels = env(plan);
    if !labels.is_empty() {
        rest.insert("labels".to_owned(), json!(labels));
    }
    Metadata { name: plan.service.clone(), namespace: plan.namespace.clone(), rest }
}

fn env(plan: &Plan) -> BTreeMap<String, String> {
    plan.env.iter().map(|env| ("env".to_owned(), env.clone())).collect()
}

fn first(plan: &Plan) -> &str {
    plan.versions.first().map_or(crate::release::STABLE, |version| &version.name)
}

fn shares(plan: &Plan, host: &str) -> Vec<RouteDestination> {
    if plan.weights.is_empty() {
        return vec![to(host, first(plan), None)];
    }
    let shares = plan.versions.iter().zip(&plan.weights);
    shares.map(|(version, weight)| to(host, &version.name, Some(i64::from(*weight)))).collect()
}

fn lane_route(host: &str, lane: &str) -> HttpRoute {
    let route = HttpRoute { route: vec![to(host, lane, None)], ..HttpRoute::default() };
    let mut twin = twin(&route, format!("{PREFIX}{lane}"), lane);
    remove_route_header(&mut twin);
    twin
}

fn to(host: &str, subset: &str, weight: Option<i64>) -> RouteDestination {
    let destination = Destination { host: host.to_owned(), subset: Some(subset.to_owned()), ..Destination::default() };
    RouteDestination { destination, weight, ..RouteDestination::default() }
}

// === impl TlsMode ===

impl TlsMode {
    /// The mode as Istio writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disable => "DISABLE",
            Self::Simple => "SIMPLE",
            Self::IstioMutual => "ISTIO_MUTUAL",
        }
    }
}
