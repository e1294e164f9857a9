//! Whether two releases of different groups get into each other's way. Pure.
//!
//! Releases of one group wait for each other; those of different groups go on side by side, which they
//! can only when no service is in both and no proxy has to carry two lanes in one header. Documents of
//! proxies are made of all releases of a place, and a proxy refuses one that mixes them up.

use graylane_policy::MAX_GROUPS;

use super::Release;
use super::finding::Finding;

/// What is wrong with a release beside those that came before it and have not ended.
pub fn problems(release: &Release, earlier: &[&Release]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key = |release: &Release| (release.namespace.clone(), release.group.clone());
    for other in earlier.iter().filter(|other| key(other) != key(release)) {
        Pair { release, other, findings: &mut findings }.look();
    }
    findings.extend(crowded(release, earlier));
    findings
}

/// Where one group more is too many: proxies refuse such a document, with what it says of all the others.
fn crowded(release: &Release, earlier: &[&Release]) -> Option<Finding> {
    let meets = |gateway: &&crate::release::plan::GatewayEntry| {
        earlier.iter().filter(|other| other.plan.entry.gateways.contains(*gateway)).count() >= MAX_GROUPS
    };
    let gateway = release.plan.entry.gateways.iter().find(meets).map(|gateway| ("gateways", &gateway.namespace));
    let beside = earlier.iter().filter(|other| other.namespace == release.namespace).count();
    let sidecars = (beside >= MAX_GROUPS).then_some(("sidecars", &release.namespace));
    let (kind, namespace) = gateway.or(sidecars)?;
    let message = format!("{MAX_GROUPS} groups move at the {kind} of namespace {namespace} already");
    let file = format!("grayrelease/{}", release.id());
    let mend = "wait until one of their releases has ended".into();
    Some(Finding { file, line: None, path: "spec.group".into(), message, mend })
}

/// A release and one that came before it.
struct Pair<'a> {
    release: &'a Release,
    other: &'a Release,
    findings: &'a mut Vec<Finding>,
}

// === impl Pair ===

impl Pair<'_> {
    fn look(&mut self) {
        self.look_at_members();
        let Some(place) = self.place() else { return };
        let (group, id) = (&self.other.group, self.other.id());
        if self.release.carried_header.eq_ignore_ascii_case(&self.other.carried_header) {
            let header = &self.release.carried_header;
            let message = format!("group `{group}` of release `{id}` carries its lane in `{header}` too, at {place}");
            self.add("spec.carriedHeader", message, "give each group that meets on a proxy a header of its own");
        }
        if self.release.group == *group {
            let message = format!("release `{id}` has a group of the same name, at {place}");
            self.add("spec.group", message, "name another group");
        }
    }

    /// A service is in one group, and a host means one service.
    fn look_at_members(&mut self) {
        let (release, other) = (self.release, self.other);
        let is_met = self.place().is_some();
        for (index, member) in release.members.iter().enumerate() {
            let path = format!("spec.members[{index}]");
            if let Some(theirs) = other.members.iter().find(|theirs| theirs.label == member.label) {
                let message = format!(
                    "service `{}` is in group `{}`, which release `{}` is moving",
                    theirs.service,
                    other.group,
                    other.id()
                );
                let mend = "leave it out, or wait until that release has ended";
                self.add(&format!("{path}.service"), message, mend);
                continue;
            }
            // The short name of a service means another one in each namespace; documents leave it out then.
            let full = member.hosts.iter().filter(|host| **host != member.service);
            let taken = full.into_iter().find_map(|host| {
                let has = |hosts: &[String]| hosts.iter().any(|theirs| theirs.eq_ignore_ascii_case(host));
                other.members.iter().find(|theirs| has(&theirs.hosts)).map(|theirs| (host, theirs))
            });
            if let Some((host, theirs)) = taken.filter(|_| is_met) {
                let message = format!("host `{host}` means service `{}` of release `{}`", theirs.service, other.id());
                self.add(&format!("{path}.hosts"), message, "a host means one service: name it in one release");
            }
        }
    }

    /// Where proxies have documents of both.
    fn place(&self) -> Option<String> {
        let (entry, other) = (&self.release.plan.entry, &self.other.plan.entry);
        if self.release.namespace == self.other.namespace {
            return Some(format!("the sidecars of namespace {}", self.release.namespace));
        }
        let met = entry.gateways.iter().find(|gateway| other.gateways.contains(gateway))?;
        Some(format!("the gateways of namespace {}", met.namespace))
    }

    fn add(&mut self, path: &str, message: String, mend: &str) {
        let file = format!("grayrelease/{}", self.release.id());
        self.findings.push(Finding { file, line: None, path: path.into(), message, mend: mend.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::cluster::check_object;

    fn release(namespace: &str, name: &str, more: serde_json::Value) -> Release {
        let mut object = serde_json::json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "carriedHeader": format!("x-{name}"),
                "lanes": [{"name": "canary"}],
                "members": [{"service": name}],
                "entry": {"gateways": [{"namespace": format!("edge-{namespace}")}]},
                "steps": [{"weight": "5%"}],
            },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        check_object(&object).unwrap().release
    }

    fn said(release: &Release, other: &Release) -> Vec<String> {
        problems(release, &[other]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn releases_that_share_nothing_go_side_by_side() {
        let (one, other) = (release("shop", "a", serde_json::json!({})), release("shop", "b", serde_json::json!({})));
        assert_eq!(said(&one, &other), Vec::<String>::new());
    }

    #[test]
    fn releases_of_one_group_wait_and_are_no_problem() {
        let group = serde_json::json!({"group": "g", "members": [{"service": "orders"}], "carriedHeader": "x-g"});
        assert_eq!(said(&release("shop", "a", group.clone()), &release("shop", "b", group)), Vec::<String>::new());
    }

    #[test]
    fn a_service_is_in_one_group() {
        let members = serde_json::json!({"members": [{"service": "web"}, {"service": "orders"}]});
        let earlier = release("shop", "b", serde_json::json!({"members": [{"service": "orders"}]}));
        let found = said(&release("shop", "a", members.clone()), &earlier);
        let expected = "grayrelease/shop/a: spec.members[1].service: service `orders` is in group `b`, which release \
                        `shop/b` is moving; leave it out, or wait until that release has ended";
        assert_eq!(found, [expected]);
        let elsewhere = release("pay", "a", members);
        assert_eq!(said(&elsewhere, &earlier), Vec::<String>::new());
    }

    #[test]
    fn one_group_more_than_proxies_take_waits() {
        let other = |index: usize, namespace: &str| {
            let name = format!("r{index}");
            release(namespace, &name, serde_json::json!({"entry": {"gateways": [{"namespace": "edge"}]}}))
        };
        let late = other(MAX_GROUPS, "shop");
        let found = |namespace: fn(usize) -> &'static str, count: usize| {
            let earlier: Vec<Release> = (0..count).map(|index| other(index, namespace(index))).collect();
            let earlier: Vec<&Release> = earlier.iter().collect();
            problems(&late, &earlier).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found(|_| "pay", MAX_GROUPS - 1), Vec::<String>::new());
        let expected = "grayrelease/shop/r256: spec.group: 256 groups move at the gateways of namespace edge already; \
                        wait until one of their releases has ended";
        assert_eq!(found(|index| if index % 2 == 0 { "pay" } else { "shop" }, MAX_GROUPS), [expected]);
    }

    #[test]
    fn groups_that_meet_have_headers_and_hosts_of_their_own() {
        let with = |header: &str, edge: &str| {
            let members = serde_json::json!([{"service": "web", "hosts": ["www.example.com"]}]);
            let entry = serde_json::json!({"gateways": [{"namespace": edge}]});
            serde_json::json!({"carriedHeader": header, "entry": entry, "group": "g", "members": members})
        };
        let earlier = release("shop", "a", with("x-g", "edge"));
        assert_eq!(said(&release("pay", "b", with("x-g", "other")), &earlier), Vec::<String>::new());
        let found = said(&release("pay", "b", with("X-G", "edge")), &earlier);
        assert_eq!(
            found,
            [
                "grayrelease/pay/b: spec.members[0].hosts: host `www.example.com` means service `web` of release \
                 `shop/a`; a host means one service: name it in one release",
                "grayrelease/pay/b: spec.carriedHeader: group `g` of release `shop/a` carries its lane in `X-G` too, at \
                 the gateways of namespace edge; give each group that meets on a proxy a header of its own",
                "grayrelease/pay/b: spec.group: release `shop/a` has a group of the same name, at the gateways of \
                 namespace edge; name another group",
            ]
        );
    }
}
