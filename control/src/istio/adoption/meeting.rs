//! Groups that meet on one proxy have different carried headers.

use graylane_policy::Policy;
use graylane_policy::raw::{RawConfig, RawGroup, RawLanes, Role, VERSION};
use kube::core::DynamicObject;
use serde_json::Value;

use super::Wish;
use crate::release::finding::Finding;

/// What is looked at of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseFacts {
    /// `namespace/name`.
    pub id: String,
    /// Namespace of the release and its members.
    pub namespace: String,
    /// Its group.
    pub group: String,
    /// Header that carries the lane.
    pub header: String,
    /// Whether it also travels as baggage.
    pub baggage: bool,
    /// Namespaces of the gateways that choose its lanes.
    pub gateways: Vec<String>,
    /// Whether it has come to its end, so that nothing of it is in any proxy.
    pub is_finished: bool,
}

/// What is wrong with the headers that meet here.
pub(super) fn problems(wish: &Wish, releases: &[&ReleaseFacts]) -> Vec<Finding> {
    let mut problems = Vec::new();
    let mut refuse = |file: String, message: String, mend: &str| {
        problems.push(Finding { file, line: None, path: String::new(), message, mend: mend.to_owned() });
    };
    for (at, one) in releases.iter().enumerate() {
        let clashes = |other: &&&ReleaseFacts| {
            other.header.eq_ignore_ascii_case(&one.header)
                && (&other.group, &other.namespace) != (&one.group, &one.namespace)
        };
        for other in releases.iter().skip(at + 1).filter(clashes) {
            refuse(
                format!("namespace {}", wish.namespace),
                format!(
                    "groups {} ({}) and {} ({}) meet here, and both carry their lane in {}",
                    one.group, one.id, other.group, other.id, one.header
                ),
                "give one of them another spec.carriedHeader",
            );
        }
    }
    for header in &wish.headers {
        // The code that runs in the proxy says what may carry a lane.
        if let Err(error) = Policy::check(&carrying(header)) {
            refuse("--carried-header".to_owned(), error.to_string(), "");
        }
    }
    problems
}

fn carrying(header: &str) -> RawConfig {
    let group = RawGroup {
        name: "group".to_owned(),
        rollout: "namespace/name".to_owned(),
        carried_header: header.to_owned(),
        baggage: false,
        client_marks: None,
        entry: None,
        brake: None,
        drain_after_ms: None,
        lanes: RawLanes { names: vec!["canary".to_owned()], destinations: Vec::new(), trace: None },
    };
    RawConfig { version: VERSION, generation: 1, role: Role::Gateway, entry_only: false, groups: vec![group] }
}

// === impl ReleaseFacts ===

impl ReleaseFacts {
    /// What is looked at of a GrayRelease, as far as it can be read.
    pub fn read(object: &DynamicObject) -> Self {
        let text = |path: &str| object.data.pointer(path).and_then(Value::as_str);
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let name = object.metadata.name.clone().unwrap_or_default();
        let gateways = object.data.pointer("/spec/entry/gateways").and_then(Value::as_array);
        let named = gateways.into_iter().flatten().filter_map(|gateway| gateway.get("namespace")?.as_str());
        let is_ended = matches!(text("/status/phase"), Some("Succeeded" | "RolledBack" | "Invalid"));
        let is_absent = text("/status/exposure").is_none_or(|exposure| exposure == "Absent");
        Self {
            id: format!("{namespace}/{name}"),
            group: text("/spec/group").map_or(name, str::to_owned),
            header: text("/spec/carriedHeader").unwrap_or("x-release-stage").to_owned(),
            baggage: object.data.pointer("/spec/propagation/baggage").and_then(Value::as_bool).unwrap_or(false),
            gateways: named.map(str::to_owned).collect(),
            is_finished: is_ended && is_absent,
            namespace,
        }
    }

    /// Whether proxies of a namespace have something of the release.
    pub fn meets_at(&self, namespace: &str) -> bool {
        self.namespace == namespace || self.gateways.iter().any(|gateway| gateway == namespace)
    }
}
