//! The routes and subsets of a mesh, found by the service that they are about.

use std::collections::HashMap;

use super::types::{DestinationRule, HttpRoute, VirtualService, full_host};

/// VirtualServices and DestinationRules of every namespace: one may route the hosts of another.
#[derive(Clone, Debug, Default)]
pub struct Network {
    routes: Vec<VirtualService>,
    rules: Vec<DestinationRule>,
    /// Indexes of routes by the full names of their hosts.
    routes_of: HashMap<String, Vec<usize>>,
    /// Indexes of rules by the full name of their host.
    rules_of: HashMap<String, Vec<usize>>,
}

// === impl Network ===

impl Network {
    /// Orders objects by their hosts.
    pub fn new(routes: Vec<VirtualService>, rules: Vec<DestinationRule>) -> Self {
        let mut network = Self { routes, rules, ..Self::default() };
        for (at, object) in network.routes.iter().enumerate() {
            for host in &object.spec.hosts {
                let host = full_host(host, &object.metadata.namespace);
                network.routes_of.entry(host).or_default().push(at);
            }
        }
        for (at, object) in network.rules.iter().enumerate() {
            let host = full_host(&object.spec.host, &object.metadata.namespace);
            network.rules_of.entry(host).or_default().push(at);
        }
        network
    }

    /// The VirtualServices with a host, given by its full name, and those that they delegate to.
    pub fn routes_of(&self, host: &str) -> Vec<&VirtualService> {
        let mut found: Vec<&VirtualService> = indexed(&self.routes, self.routes_of.get(host));
        for at in 0.. {
            let Some(object) = found.get(at) else { break };
            for delegate in object.spec.http.iter().filter_map(|route| self.delegate(route, &object.metadata.namespace))
            {
                if !found.iter().any(|known| std::ptr::eq(*known, delegate)) {
                    found.push(delegate);
                }
            }
        }
        found
    }

    /// The DestinationRules of a host, given by its full name.
    pub fn rules_of(&self, host: &str) -> Vec<&DestinationRule> {
        indexed(&self.rules, self.rules_of.get(host))
    }

    fn delegate(&self, route: &HttpRoute, namespace: &str) -> Option<&VirtualService> {
        let delegate = route.rest.get("delegate")?;
        let name = delegate.get("name")?.as_str()?;
        let namespace = delegate.get("namespace").and_then(|found| found.as_str()).unwrap_or(namespace);
        // Only what has no hosts can be delegated to.
        let is = |object: &&VirtualService| {
            object.spec.hosts.is_empty() && object.metadata.name == name && object.metadata.namespace == namespace
        };
        self.routes.iter().find(is)
    }
}

fn indexed<'a, T>(all: &'a [T], indexes: Option<&Vec<usize>>) -> Vec<&'a T> {
    let mut found: Vec<usize> = indexes.cloned().unwrap_or_default();
    found.dedup();
    found.into_iter().filter_map(|at| all.get(at)).collect()
}
