//! Istio's other data planes, by the labels that say who is served by them.

use std::collections::BTreeMap;

/// Labels or annotations of an object.
type Labels = BTreeMap<String, String>;

/// Annotation that Istio's CNI gives to a pod whose traffic the node's proxy takes
/// (istio.io/api/annotation, `ambient.istio.io/redirection`).
pub const REDIRECTION: &str = "ambient.istio.io/redirection";

/// What is wrong with proxies of the node instead of sidecars.
pub const AMBIENT: &str = "its pods have no sidecar that could run the filter";
/// What is wrong with waypoints.
pub const WAYPOINT: &str = "filters are not put into waypoints yet";

/// Whether a namespace or a pod is in ambient mode, by its labels.
pub fn is_ambient(labels: &Labels) -> bool {
    labels.get("istio.io/dataplane-mode").is_some_and(|mode| mode == "ambient")
}

/// Whether the traffic of a pod is taken by the node's proxy, by its annotations. So it is where only the label of the
/// namespace says ambient.
pub fn is_redirected(annotations: &Labels) -> bool {
    annotations.get(REDIRECTION).is_some_and(|state| state == "enabled")
}

/// The waypoint that serves a namespace, a service or a pod, by its labels.
pub fn waypoint(labels: &Labels) -> Option<&str> {
    labels.get("istio.io/use-waypoint").map(String::as_str).filter(|name| *name != "none")
}

/// Whether a pod is a waypoint itself, by its labels.
pub fn is_waypoint(labels: &Labels) -> bool {
    labels.get("gateway.networking.k8s.io/gateway-class-name").is_some_and(|class| class == "istio-waypoint")
}
