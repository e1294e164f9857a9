//! Whether the mesh can do what a release asks of it: routes that lead requests to their lanes, and
//! subsets that tell versions apart. Pure.
//!
//! Looked at before anything moves: a lane without a route would lose requests to stable, or to nobody.

use std::collections::BTreeSet;

use graylane_policy::headers::ROUTE;
use graylane_policy::raw::RouteBy;

use super::finding::Finding;
use super::{Member, Release, STABLE};
use crate::istio::network::Network;
use crate::istio::types::{HttpMatch, HttpRoute, RouteDestination, VirtualService, full_host, service_host};

/// What is wrong with the routes and subsets of a release's members.
pub fn problems(release: &Release, network: &Network) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, member) in release.members.iter().enumerate().filter(|(_, member)| !member.lanes.is_empty()) {
        let host = service_host(&member.service, &release.namespace);
        Looker { release, member, host, path: format!("spec.members[{index}].service"), findings: &mut findings }
            .look(network);
    }
    findings
}

/// Looks at the routes of one member.
struct Looker<'a> {
    release: &'a Release,
    member: &'a Member,
    /// Full name of the service.
    host: String,
    path: String,
    findings: &'a mut Vec<Finding>,
}

/// The routes of a VirtualService that lead to the member.
struct Routes<'a> {
    object: &'a VirtualService,
    /// With their names and their places in the list.
    natives: Vec<(usize, &'a HttpRoute)>,
    lanes: Vec<(usize, &'a HttpRoute)>,
}

// === impl Looker ===

impl Looker<'_> {
    fn look(&mut self, network: &Network) {
        let mut used: BTreeSet<String> = self.member.lanes.iter().cloned().chain([STABLE.to_owned()]).collect();
        let objects = network.routes_of(&self.host);
        if objects.is_empty() {
            let message = format!("no VirtualService has the host `{}`", self.host);
            let mend = format!("apply what `{} --canary` prints", self.generate("virtualservice"));
            self.add(message, mend);
        }
        // Names of outside hosts may be routed by objects of their own, at a gateway.
        let outside = self.member.hosts.iter().flat_map(|host| network.routes_of(host));
        let mut seen: Vec<&VirtualService> = Vec::new();
        for object in objects.iter().copied().chain(outside) {
            if !seen.iter().any(|known| std::ptr::eq(*known, object)) {
                seen.push(object);
                let is_own = object.spec.hosts.iter().any(|host| full_host(host, namespace(object)) == self.host);
                self.look_at(object, is_own, &mut used);
            }
        }
        self.look_at_subsets(network, &used);
    }

    /// Looks at one VirtualService, and collects the subsets that it names.
    fn look_at(&mut self, object: &VirtualService, is_own: bool, used: &mut BTreeSet<String>) {
        let all = object.spec.http.iter().enumerate();
        let (lanes, others): (Vec<_>, Vec<_>) = all.partition(|(_, route)| self.lane_asked(route).is_some());
        let natives: Vec<_> =
            others.into_iter().filter(|(_, route)| self.destinations(object, route).next().is_some()).collect();
        if natives.is_empty() && object.spec.http.iter().all(|route| route.rest.contains_key("delegate")) {
            return;
        }
        if natives.is_empty() {
            if is_own {
                let message = format!("VirtualService `{}` has no route to the service", object.metadata.name);
                self.add(message, "give it a route to subset `stable` that every request may take".into());
            }
            return;
        }
        let routes = Routes { object, natives, lanes };
        for (at, route) in &routes.natives {
            used.extend(self.destinations(object, route).filter_map(|to| to.destination.subset.clone()));
            self.look_at_native(object, *at, route);
        }
        for lane in &self.member.lanes {
            self.look_at_lane(&routes, lane);
        }
    }

    /// A route that asks for no lane leads to none.
    fn look_at_native(&mut self, object: &VirtualService, at: usize, route: &HttpRoute) {
        let leaks = |to: &&RouteDestination| match &to.destination.subset {
            None => true,
            Some(subset) => self.release.lanes.contains(subset),
        };
        let Some(leak) = self.destinations(object, route).filter(|to| to.weight != Some(0)).find(leaks) else { return };
        let name = route_name(object, at, route);
        let message = match &leak.destination.subset {
            None => format!("{name} sends requests to every version of the service, those of lanes too"),
            Some(lane) => format!("{name} sends requests to lane `{lane}` that did not ask for it"),
        };
        self.add(message, "send all of them to subset `stable`".into());
    }

    /// Every route has a twin for the lane before it.
    fn look_at_lane(&mut self, routes: &Routes<'_>, lane: &str) {
        let asking: Vec<_> = routes.lanes.iter().filter(|(_, route)| self.lane_asked(route) == Some(lane)).collect();
        let name = &routes.object.metadata.name;
        let mend = self.adopt(routes.object);
        if asking.is_empty() {
            return self.add(format!("VirtualService `{name}` has no route for lane `{lane}`"), mend);
        }
        for (at, route) in &asking {
            let to_lane = |to: &RouteDestination| to.destination.subset.as_deref() == Some(lane);
            let here: Vec<_> = self.destinations(routes.object, route).collect();
            let leads = !here.is_empty() && here.into_iter().all(to_lane);
            let route_name = route_name(routes.object, *at, route);
            if !leads {
                self.add(format!("{route_name} does not lead to subset `{lane}` of the service"), mend.clone());
            }
            if self.member.route_by == RouteBy::Route && !removes_route_header(route) {
                self.add(format!("{route_name} leaves {ROUTE} on the request"), mend.clone());
            }
        }
        // Routes of the carried header are the user's own; only that there are some is asked for.
        if self.member.route_by == RouteBy::Carried {
            return;
        }
        let alone = |(at, route): &&(usize, &HttpRoute)| {
            !asking.iter().any(|(twin_at, twin)| twin_at < at && self.is_twin(twin, route))
        };
        let alone: Vec<String> = routes.natives.iter().filter(alone).map(|(at, route)| label(*at, route)).collect();
        if !alone.is_empty() {
            let (which, have) = if alone.len() == 1 { ("route", "has") } else { ("routes", "have") };
            let message = format!(
                "{which} {} of VirtualService `{name}` {have} no twin for lane `{lane}` before {}",
                alone.join(", "),
                if alone.len() == 1 { "it" } else { "them" }
            );
            self.add(message, mend);
        }
    }

    /// Whether a lane route takes what a native route takes, of the requests of its lane.
    fn is_twin(&self, twin: &HttpRoute, route: &HttpRoute) -> bool {
        let any = [HttpMatch::default()];
        let wanted: &[HttpMatch] = if route.matches.is_empty() { &any } else { &route.matches };
        wanted.iter().all(|wanted| {
            twin.matches.iter().any(|found| {
                let mut found = found.clone();
                found.headers.remove(self.header());
                found.headers == wanted.headers && found.rest == wanted.rest
            })
        })
    }

    fn look_at_subsets(&mut self, network: &Network, used: &BTreeSet<String>) {
        let mut rules = network.rules_of(&self.host);
        rules.retain(|rule| rule.metadata.namespace == self.release.namespace);
        let Some(first) = rules.first() else {
            let message =
                format!("no DestinationRule of namespace {} has the host `{}`", self.release.namespace, self.host);
            return self.add(message, format!("apply what `{}` prints", self.generate("destinationrule")));
        };
        let subsets: Vec<_> = rules.iter().flat_map(|rule| &rule.spec.subsets).collect();
        for name in used.iter().filter(|name| !subsets.iter().any(|subset| subset.name == **name)) {
            let rule = &first.metadata.name;
            let at = format!("kubectl get destinationrule {rule} -n {} -o yaml", first.metadata.namespace);
            let mend = format!("apply what `{at} | {} --adopt -f -` prints", self.generate("destinationrule"));
            self.add(format!("DestinationRule `{rule}` has no subset `{name}`"), mend);
        }
    }

    /// The lane that a route asks for, when every match of it does.
    fn lane_asked<'r>(&self, route: &'r HttpRoute) -> Option<&'r str> {
        let mut asked = route.matches.iter().map(|found| found.headers.get(self.header())?.exact.as_deref());
        let first = asked.next()??;
        asked.all(|other| other == Some(first)).then_some(first)
    }

    fn header(&self) -> &str {
        match self.member.route_by {
            RouteBy::Route => ROUTE,
            RouteBy::Carried => &self.release.carried_header,
        }
    }

    /// The destinations of a route that are the member. A name without a dot means a service of the
    /// object's namespace.
    fn destinations<'r>(
        &'r self,
        object: &'r VirtualService,
        route: &'r HttpRoute,
    ) -> impl Iterator<Item = &'r RouteDestination> {
        route.route.iter().filter(|to| full_host(&to.destination.host, namespace(object)) == self.host)
    }

    fn generate(&self, kind: &str) -> String {
        let subsets = std::iter::once(STABLE).chain(self.member.lanes.iter().map(String::as_str));
        let subsets = subsets.collect::<Vec<_>>().join(",");
        format!("graylane generate {kind} {} -n {} --subset {subsets}", self.member.service, self.release.namespace)
    }

    fn adopt(&self, object: &VirtualService) -> String {
        let get = format!("kubectl get virtualservice {} -n {} -o yaml", object.metadata.name, namespace(object));
        format!("apply what `{get} | {} --adopt -f -` prints", self.generate("virtualservice"))
    }

    fn add(&mut self, message: String, mend: String) {
        let file = format!("grayrelease/{}", self.release.id());
        self.findings.push(Finding { file, line: None, path: self.path.clone(), message, mend });
    }
}

fn namespace(object: &VirtualService) -> &str {
    &object.metadata.namespace
}

/// How a person finds the route: by its name, else by its place, counted from 1.
fn label(at: usize, route: &HttpRoute) -> String {
    if route.name.is_empty() { (at + 1).to_string() } else { format!("`{}`", route.name) }
}

fn route_name(object: &VirtualService, at: usize, route: &HttpRoute) -> String {
    format!("route {} of VirtualService `{}`", label(at, route), object.metadata.name)
}

fn removes_route_header(route: &HttpRoute) -> bool {
    let request = route.headers.as_ref().and_then(|headers| headers.request.as_ref());
    request.is_some_and(|request| request.remove.iter().any(|name| name.eq_ignore_ascii_case(ROUTE)))
}

#[cfg(test)]
mod tests;
