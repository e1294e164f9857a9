//! VirtualServices and DestinationRules that graylane's users keep in Git: made anew, or made ready for
//! lanes from what there is.
//!
//! Every route to a service gets a twin for each lane before it, which matches what the route matches
//! and the route header exactly. The native route goes to stable, so that whatever fails, requests do
//! too; and every route takes the route header away, so that no app sees or copies it.

mod adopt;
mod generate;
#[cfg(test)]
mod tests;

pub use self::adopt::{adopt_rule, adopt_service};
pub use self::generate::{Canary, Plan, TlsMode, destination_rule, virtual_service};

use std::collections::BTreeMap;

use graylane_policy::headers::ROUTE;

use super::types::{HttpRoute, StringMatch, Subset};
use crate::release::STABLE;

/// Names of twins begin with this; routes whose names do, and that match the route header, are ours.
const PREFIX: &str = "graylane-";

/// The label of pods by which versions are told apart, unless another is given.
pub const VERSION_LABEL: &str = "version";

/// A named version of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Name of the subset.
    pub name: String,
    /// Labels of its pods.
    pub labels: BTreeMap<String, String>,
}

// === impl Version ===

impl Version {
    /// The version whose pods are labelled `version: <name>`.
    pub fn named(name: &str) -> Self {
        Self::labelled(name, BTreeMap::from([(VERSION_LABEL.to_owned(), name.to_owned())]))
    }

    /// A version of pods with these labels.
    pub fn labelled(name: &str, labels: BTreeMap<String, String>) -> Self {
        Self { name: name.to_owned(), labels }
    }

    /// Whether this is the version that native routes go to.
    pub fn is_stable(&self) -> bool {
        self.name == STABLE
    }

    fn subset(&self) -> Subset {
        Subset { name: self.name.clone(), labels: self.labels.clone(), ..Subset::default() }
    }
}

/// The twin of a route for a lane; its destinations are still those of the route.
fn twin(route: &HttpRoute, name: String, lane: &str) -> HttpRoute {
    let mut twin = HttpRoute { name, ..route.clone() };
    if twin.matches.is_empty() {
        twin.matches.push(super::types::HttpMatch::default());
    }
    for entry in &mut twin.matches {
        let exact = StringMatch { exact: Some(lane.to_owned()), ..StringMatch::default() };
        entry.headers.insert(ROUTE.to_owned(), exact);
    }
    twin
}

/// Makes a route take the route header away.
fn remove_route_header(route: &mut HttpRoute) {
    let removed = &mut route.headers.get_or_insert_default().request.get_or_insert_default().remove;
    if !removed.iter().any(|name| name.eq_ignore_ascii_case(ROUTE)) {
        removed.push(ROUTE.to_owned());
    }
}
