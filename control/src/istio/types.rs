//! The parts of Istio's VirtualService and DestinationRule (networking.istio.io/v1) that graylane looks
//! at or adds to.
//!
//! Everything else of an object is kept as it came in the `rest` of each type, so that an object can be
//! changed in one place and written back. An empty list is the same to Istio as none, and is left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Members of an object that graylane does not look at.
pub type Rest = Map<String, Value>;

/// API version of these types as they are written; `v1beta1` and `v1alpha3` have the same members.
pub const API_VERSION: &str = "networking.istio.io/v1";

/// Name, namespace, and whatever else the metadata of an object holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Name of the object.
    #[serde(default)]
    pub name: String,
    /// Its namespace; empty in a file that leaves it to `kubectl -n`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Rest,
}

/// An Istio VirtualService.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualService {
    /// Group and version, such as [`API_VERSION`].
    #[serde(default = "default_api_version")]
    pub api_version: String,
    /// `VirtualService`.
    #[serde(default = "virtual_service_kind")]
    pub kind: String,
    /// Name and namespace.
    #[serde(default)]
    pub metadata: Metadata,
    /// Hosts and routes.
    #[serde(default)]
    pub spec: VirtualServiceSpec,
    /// Everything else, such as the status.
    #[serde(flatten)]
    pub rest: Rest,
}

/// Hosts and routes of a VirtualService.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VirtualServiceSpec {
    /// Names that callers use. A name without a dot is of the object's namespace; `*.` may lead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Gateways that serve it, and `mesh` for sidecars. None means `mesh` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// Routes of HTTP, of which the first that matches is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpRoute>,
    /// Everything else, such as `tcp`, `tls` and `exportTo`.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A route of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpRoute {
    /// Its name, shown in access logs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Matches of which one has to hold; none means every request.
    #[serde(rename = "match", default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpMatch>,
    /// Destinations by weight; none for a redirect or a fixed answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<RouteDestination>,
    /// What becomes of headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Headers>,
    /// Everything else, such as `timeout`, `retries`, `rewrite` and `mirror`.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A match of a route: all that is given has to hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpMatch {
    /// Request headers by name, in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, StringMatch>,
    /// Everything else, such as `uri`, `method`, `port`, `gateways` and `withoutHeaders`.
    #[serde(flatten)]
    pub rest: Rest,
}

/// How a text is compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StringMatch {
    /// Equal to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// `prefix` or `regex`, when it is one of those.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A destination of a route, with its share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteDestination {
    /// Where requests go.
    pub destination: Destination,
    /// Share of the requests; of a single destination it may be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A service, and which of its versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// Name of the service; without a dot, of the object's namespace.
    pub host: String,
    /// Name of a subset of its DestinationRule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// Everything else: `port`.
    #[serde(flatten)]
    pub rest: Rest,
}

/// What becomes of headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Headers {
    /// On the way to the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<HeaderOperations>,
    /// Everything else: `response`.
    #[serde(flatten)]
    pub rest: Rest,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeaderOperations {
    /// Headers that are taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Everything else: `set` and `add`.
    #[serde(flatten)]
    pub rest: Rest,
}

/// An Istio DestinationRule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRule {
    /// Group and version, such as [`API_VERSION`].
    #[serde(default = "default_api_version")]
    pub api_version: String,
    /// `DestinationRule`.
    #[serde(default = "destination_rule_kind")]
    pub kind: String,
    /// Name and namespace.
    #[serde(default)]
    pub metadata: Metadata,
    /// Service and subsets.
    #[serde(default)]
    pub spec: DestinationRuleSpec,
    /// Everything else, such as the status.
    #[serde(flatten)]
    pub rest: Rest,
}

/// The service of a DestinationRule and its subsets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DestinationRuleSpec {
    /// Name of the service; without a dot, of the object's namespace. `*.` may lead.
    #[serde(default)]
    pub host: String,
    /// Named versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subsets: Vec<Subset>,
    /// Everything else, such as `trafficPolicy` and `exportTo`.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A named version of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Subset {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Labels of its pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Everything else: `trafficPolicy`.
    #[serde(flatten)]
    pub rest: Rest,
}

/// The name by which Istio knows a service of Kubernetes.
pub fn service_host(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc.cluster.local")
}

/// The full name that Istio makes of a host in an object of `namespace`: a name without a dot is a service
/// of that namespace, and any other stands as it is. So `orders.shop` is no service to Istio.
pub fn full_host(host: &str, namespace: &str) -> String {
    if host.is_empty() || host.contains(['.', '*']) {
        host.to_ascii_lowercase()
    } else {
        service_host(&host.to_ascii_lowercase(), namespace)
    }
}

fn default_api_version() -> String {
    API_VERSION.into()
}

fn virtual_service_kind() -> String {
    "VirtualService".into()
}

fn destination_rule_kind() -> String {
    "DestinationRule".into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_virtual_service_is_written_back_as_it_was_read() {
        let object = json!({
            "apiVersion": "networking.istio.io/v1beta1",
            "kind": "VirtualService",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "1", "labels": {"a": "on"}},
            "spec": {
                "hosts": ["orders"],
                "gateways": ["mesh"],
                "exportTo": ["."],
                "tcp": [{"match": [{"port": 9}]}],
                "http": [{
                    "name": "api",
                    "match": [
                        {"uri": {"prefix": "/api"}, "headers": {"x-a": {"regex": ".*"}}, "withoutHeaders": {"x-b": {}}},
                    ],
                    "headers": {"request": {"set": {"x-c": "1"}, "remove": ["x-d"]}, "response": {"add": {"x-e": "2"}}},
                    "route": [{
                        "destination": {"host": "orders", "subset": "stable", "port": {"number": 80}},
                        "weight": 100,
                        "headers": {"request": {"remove": ["x-f"]}},
                    }],
                    "retries": {"attempts": 3},
                    "timeout": "5s",
                }, {"redirect": {"uri": "/new"}}],
            },
            "status": {"observedGeneration": "3"},
        });
        let read: VirtualService = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(read.spec.http[0].route[0].destination.subset.as_deref(), Some("stable"));
        assert_eq!(serde_json::to_value(read).unwrap(), object);
    }

    #[test]
    fn a_destination_rule_is_written_back_as_it_was_read() {
        let object = json!({
            "apiVersion": API_VERSION,
            "kind": "DestinationRule",
            "metadata": {"name": "orders"},
            "spec": {
                "host": "orders",
                "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}},
                "subsets": [{"name": "stable", "labels": {"version": "1"}, "trafficPolicy": {"connectionPool": {}}}],
            },
        });
        let read: DestinationRule = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(read.spec.subsets[0].labels["version"], "1");
        assert_eq!(serde_json::to_value(read).unwrap(), object);
    }

    #[test]
    fn only_a_short_name_is_completed() {
        assert_eq!(full_host("Orders", "shop"), service_host("orders", "shop"));
        assert_eq!(full_host("orders.shop.svc.cluster.local", "pay"), service_host("orders", "shop"));
        for host in ["", "*", "*.example.com", "orders.shop", "shop.example.com"] {
            assert_eq!(full_host(host, "shop"), host);
        }
    }
}
