//! Lanes for routes and rules that exist: nothing else of them changes, and doing it again changes
//! nothing at all.

use graylane_policy::headers::ROUTE;

use super::{PREFIX, Version, remove_route_header, twin};
use crate::istio::types::{DestinationRule, HttpRoute, RouteDestination, VirtualService, full_host};
use crate::release::STABLE;

/// Gives every http route to a service its lane twins. Twins that an earlier adoption made are made
/// anew, so a route that was edited since is followed; lane routes under other names stay as they are.
///
/// `namespace` is where the object lives if it does not say so. Returns what a person should know of the
/// routes, in words; nothing if none of them goes to the service, and then the object is left alone.
pub fn adopt_service(
    object: &mut VirtualService,
    namespace: &str,
    service: &str,
    lanes: &[String],
) -> Option<Vec<String>> {
    let namespace = if object.metadata.namespace.is_empty() { namespace } else { &object.metadata.namespace };
    let target = Target { host: full_host(service, namespace), namespace };
    if !object.spec.http.iter().any(|route| target.gets_twins(route)) {
        return None;
    }
    let routes: Vec<HttpRoute> = object.spec.http.drain(..).filter(|route| !is_ours(route)).collect();
    let notes = routes.iter().enumerate().flat_map(|(at, route)| target.notes(at, route)).collect();
    let is_only = routes.iter().filter(|route| target.gets_twins(route)).count() == 1;
    for (at, mut route) in routes.into_iter().enumerate() {
        if target.gets_twins(&route) {
            let name = if is_only { None } else { Some(label(at, &route)) };
            for lane in lanes {
                object.spec.http.push(target.lane_twin(&route, name.as_deref(), lane));
            }
            target.to_stable(&mut route);
        }
        if !route.route.is_empty() {
            remove_route_header(&mut route);
        }
        object.spec.http.push(route);
    }
    Some(notes)
}

/// Gives the rule of a service the subsets that it lacks, and returns true; the rule of another service
/// is left alone. A subset that is there keeps its labels.
pub fn adopt_rule(object: &mut DestinationRule, namespace: &str, service: &str, versions: &[Version]) -> bool {
    let namespace = if object.metadata.namespace.is_empty() { namespace } else { &object.metadata.namespace };
    if full_host(&object.spec.host, namespace) != full_host(service, namespace) {
        return false;
    }
    for version in versions {
        if !object.spec.subsets.iter().any(|subset| subset.name == version.name) {
            object.spec.subsets.push(version.subset());
        }
    }
    true
}

/// A twin that an earlier adoption made.
fn is_ours(route: &HttpRoute) -> bool {
    route.name.starts_with(PREFIX) && matches_lane(route)
}

/// Whether the route is for one lane: every match asks for the route header.
fn matches_lane(route: &HttpRoute) -> bool {
    !route.matches.is_empty() && route.matches.iter().all(|entry| entry.headers.contains_key(ROUTE))
}

fn label(at: usize, route: &HttpRoute) -> String {
    if route.name.is_empty() { (at + 1).to_string() } else { route.name.clone() }
}

/// The service whose routes get twins.
struct Target<'a> {
    host: String,
    namespace: &'a str,
}

// === impl Target ===

impl Target<'_> {
    fn is(&self, destination: &RouteDestination) -> bool {
        full_host(&destination.destination.host, self.namespace) == self.host
    }

    fn gets_twins(&self, route: &HttpRoute) -> bool {
        !matches_lane(route) && route.route.iter().any(|destination| self.is(destination))
    }

    fn lane_twin(&self, route: &HttpRoute, name: Option<&str>, lane: &str) -> HttpRoute {
        let name = name.map_or_else(|| format!("{PREFIX}{lane}"), |name| format!("{PREFIX}{lane}-{name}"));
        let mut twin = twin(route, name, lane);
        let mut merged: Vec<RouteDestination> = Vec::new();
        for mut destination in twin.route.drain(..) {
            if self.is(&destination) {
                destination.destination.subset = Some(lane.to_owned());
            }
            // Versions of one service become the same lane: their shares are added.
            match merged.iter_mut().find(|known| known.destination == destination.destination) {
                Some(known) => known.weight = known.weight.zip(destination.weight).map(|(one, other)| one + other),
                None => merged.push(destination),
            }
        }
        if let [only] = merged.as_mut_slice() {
            only.weight = None;
        }
        twin.route = merged;
        remove_route_header(&mut twin);
        twin
    }

    /// Without a subset a route reaches the pods of every lane.
    fn to_stable(&self, route: &mut HttpRoute) {
        for destination in route.route.iter_mut().filter(|destination| self.is(destination)) {
            destination.destination.subset.get_or_insert_with(|| STABLE.to_owned());
        }
    }

    fn notes(&self, at: usize, route: &HttpRoute) -> Vec<String> {
        let name = label(at, route);
        let subsets = |route: &HttpRoute| {
            route.route.iter().filter(|one| self.is(one)).filter(|one| one.weight != Some(0)).count()
        };
        let mut notes = Vec::new();
        if let Some(delegate) = route.rest.get("delegate").and_then(|delegate| delegate.get("name")) {
            notes.push(format!("route {name} is delegated to {delegate}; adopt that VirtualService too"));
        }
        if !matches_lane(route) && subsets(route) > 1 {
            notes.push(format!(
                "route {name} still divides requests by weight; once graylane moves them, give all of it to stable"
            ));
        }
        if !matches_lane(route) && route.matches.iter().any(|entry| entry.headers.contains_key(ROUTE)) {
            notes.push(format!("route {name} matches {ROUTE} in some of its matches; part them into routes"));
        }
        notes
    }
}
