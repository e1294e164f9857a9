//! Namespaces that graylane does not serve, with the reason and the way out.

use super::{Facts, Labels, Wish};
use crate::istio::OPT_IN;
use crate::istio::config::Emitter;
use crate::istio::unserved::{self, is_ambient};
use crate::release::finding::Finding;

/// What is wrong with installing in this namespace as wished.
pub fn problems(wish: &Wish, facts: &Facts) -> Vec<Finding> {
    let mut problems = Vec::new();
    let mut refuse = |message: String, mend: String| {
        problems.push(Finding {
            file: format!("namespace {}", wish.namespace),
            line: None,
            path: String::new(),
            message,
            mend,
        });
    };
    kind(wish, facts, &mut refuse);
    entries(wish, facts, &mut refuse);
    emitter(wish, facts, &mut refuse);
    problems
}

fn kind(wish: &Wish, facts: &Facts, refuse: &mut impl FnMut(String, String)) {
    if wish.namespace == facts.root_namespace && !wish.root {
        refuse(
            "is the root namespace of the mesh: what is written there reaches every proxy of every namespace".into(),
            "install in the namespace of the gateways or workloads, or say --root-namespace if all are meant".into(),
        );
    }
    if is_ambient(&facts.labels) || facts.pods.iter().any(|pod| is_ambient(&pod.labels)) {
        refuse(
            format!("is in ambient mode (istio.io/dataplane-mode): {}", unserved::AMBIENT),
            "use sidecars for the workloads of a release, or leave the namespace out".into(),
        );
    }
    if let Some(what) = waypoint(facts) {
        refuse(
            format!("{what}: {}", unserved::WAYPOINT),
            "use sidecars for the workloads of a release, or leave the namespace out".into(),
        );
    }
    if facts.remote_clusters {
        refuse(
            "is part of a mesh of several clusters: proxies of other clusters would never be asked what they run"
                .into(),
            "install in a mesh of one cluster".into(),
        );
    }
}

/// Who is served by a waypoint. The label of the namespace is that of everything in it; a service and a pod may have
/// one of their own.
fn waypoint(facts: &Facts) -> Option<String> {
    let used = |labels: &Labels| unserved::waypoint(labels).map(str::to_owned);
    let is_one = |labels: &Labels| unserved::is_waypoint(labels);
    let of_all = used(&facts.labels).or_else(|| Some(facts.pods.iter().find(|pod| is_one(&pod.labels))?.name.clone()));
    if let Some(name) = of_all {
        return Some(format!("sends its traffic through the waypoint {name}"));
    }
    let services = facts.service_labels.iter().map(|(name, labels)| ("service", name, labels));
    let pods = facts.pods.iter().map(|pod| ("pod", &pod.name, &pod.labels));
    let says = |(kind, name, labels)| Some(format!("has {kind} {name} behind the waypoint {}", used(labels)?));
    services.chain(pods).find_map(says)
}

fn entries(wish: &Wish, facts: &Facts, refuse: &mut impl FnMut(String, String)) {
    let services: Vec<&String> = wish.inbound.union(&wish.outbound).collect();
    if !services.is_empty() && !wish.sidecars {
        refuse("has no sidecars, so no service of it can choose lanes".into(), "add --sidecars".into());
    }
    for service in &services {
        match facts.services.get(*service) {
            None => refuse(format!("has no service {service}"), "name one of the namespace's services".into()),
            Some(pods) if pods.is_empty() => {
                refuse(format!("service {service} selects no pods"), "name a service with a selector".into());
            }
            Some(_) => {}
        }
    }
    // Two stanzas on one pod would put the filter in twice.
    for (at, one) in services.iter().enumerate() {
        for other in services.iter().skip(at + 1) {
            let selects = |service: &str, labels: &Labels| {
                let selector = facts.services.get(service).filter(|selector| !selector.is_empty());
                selector.is_some_and(|selector| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
            };
            let shared = facts.pods.iter().find(|pod| selects(one, &pod.labels) && selects(other, &pod.labels));
            if let Some(pod) = shared {
                refuse(
                    format!("services {one} and {other} have pod {} in common, and both are to choose lanes", pod.name),
                    "name one of them".into(),
                );
            }
        }
    }
}

fn emitter(wish: &Wish, facts: &Facts, refuse: &mut impl FnMut(String, String)) {
    let other = match wish.emitter {
        Emitter::EnvoyFilter => Emitter::WasmPlugin,
        Emitter::WasmPlugin => Emitter::EnvoyFilter,
    };
    let kind = other.kind().kind;
    let held = facts.filters.iter().filter(|object| super::is_kind(object, &kind));
    if let Some(name) = held.filter_map(|object| object.metadata.name.as_deref()).find(|name| other.owns(name)) {
        refuse(
            format!("has the {kind} {name}: a filter by both ways would run twice"),
            "uninstall first, or stay with that emitter".into(),
        );
    }
    match (wish.emitter, &wish.module) {
        (Emitter::WasmPlugin, None) => {
            refuse("WasmPlugins cannot be without a module".into(), "add --module oci://…@sha256:…".into());
        }
        (Emitter::EnvoyFilter, Some(_)) => refuse(
            "EnvoyFilters get their module with the first release".into(),
            "leave --module out; `graylane controller` has it".into(),
        ),
        _ => {}
    }
    if wish.emitter == Emitter::WasmPlugin && wish.gateway && wish.sidecars {
        refuse(
            format!("WasmPlugins cannot tell gateways from sidecars with one label, {OPT_IN}"),
            "give the gateways a namespace of their own, or use the EnvoyFilter emitter".into(),
        );
    }
}
