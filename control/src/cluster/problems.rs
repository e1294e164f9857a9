//! What is wrong with what a release names. Pure.

use super::argo;
use super::cache::Trouble;
use super::template::only_workload;
use super::world::{World, is_ending, is_opted_in};
use crate::release::finding::Finding;
use crate::release::plan::PromotionStrategy;
use crate::release::{Release, STABLE, routes};

/// How problems name a release.
pub fn file(release: &Release) -> String {
    format!("grayrelease/{}/{}", release.namespace, release.name)
}

/// A problem of a release.
pub fn finding(release: &Release, path: &str, message: impl Into<String>, mend: impl Into<String>) -> Finding {
    let (message, mend) = (message.into(), mend.into());
    Finding { file: file(release), line: None, path: path.into(), message, mend }
}

/// What it means that a kind of Istio cannot be watched. A watch that is merely interrupted still holds
/// what it knew.
pub fn of_kind(kind: &str, trouble: Trouble, release: &Release) -> Option<Finding> {
    let (message, mend) = match trouble {
        Trouble::Absent => {
            (format!("this cluster does not know the kind {kind}"), "install Istio, with its CRDs".to_owned())
        }
        Trouble::Forbidden(why) => {
            (format!("the controller may not read {kind} ({why})"), "give it the role of istio/install".to_owned())
        }
        Trouble::Away(_) => return None,
    };
    Some(finding(release, "", message, mend))
}

/// Whether a release would have the root namespace of the mesh written to: Istio gives what is there to the proxies
/// of every namespace, where it meets what those have of their own. `root` is empty where all of them are meant.
pub fn of_root(root: &str, release: &Release) -> Vec<Finding> {
    let own =
        [("metadata.namespace".to_owned(), &release.namespace, "put the release and its services in another one")];
    let gateways = release.plan.entry.gateways.iter().enumerate().map(|(index, gateway)| {
        let path = format!("spec.entry.gateways[{index}].namespace");
        (path, &gateway.namespace, "give the gateway a namespace of its own")
    });
    let named = own.into_iter().chain(gateways).filter(|(_, namespace, _)| !root.is_empty() && *namespace == root);
    let found = named.map(|(path, namespace, mend)| {
        let message = format!(
            "`{namespace}` is the root namespace of the mesh: what is written there reaches every proxy of every namespace"
        );
        let mend = format!("{mend}, or start the controller with an empty `--root-namespace` if all are meant");
        finding(release, &path, message, mend)
    });
    found.collect()
}

/// What is wrong with the services, pods and workloads of a release.
pub fn of(world: &World, release: &Release) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, member) in release.members.iter().enumerate() {
        of_service(world, release, &format!("spec.members[{index}].service"), &member.service, &mut findings);
    }
    let entry = &release.plan.entry;
    for (index, gateway) in entry.gateways.iter().enumerate() {
        let path = format!("spec.entry.gateways[{index}].namespace");
        findings.extend(of_gateways(world, release, &path, &gateway.namespace));
    }
    let others = [
        ("spec.carriers", &release.plan.carriers),
        ("spec.entry.inbound", &entry.inbound),
        ("spec.entry.outbound", &entry.outbound),
    ];
    for (path, services) in others {
        for (index, service) in services.iter().enumerate() {
            of_service(world, release, &format!("{path}[{index}]"), service, &mut findings);
        }
    }
    if release.plan.promotion == PromotionStrategy::CopyTemplate {
        of_workloads(world, release, &mut findings);
    }
    if release.plan.promotion == PromotionStrategy::Argo {
        findings.extend(argo::problems(world, release));
    }
    findings.extend(routes::problems(release, &world.network));
    findings
}

fn of_service(world: &World, release: &Release, path: &str, service: &str, findings: &mut Vec<Finding>) {
    let namespace = &release.namespace;
    let mut add = |message: String, mend: String| findings.push(finding(release, path, message, mend));
    if !world.has_service(namespace, service) {
        return add(
            format!("there is no service `{service}` in namespace {namespace}"),
            "name a Kubernetes service of the release's namespace".into(),
        );
    }
    let pods = world.pods_of(namespace, service);
    if let Some(why) = world.unserved(namespace, service, &pods) {
        return add(why, "use sidecars for the workloads of a release, or leave the service out".into());
    }
    if pods.is_empty() {
        return add(format!("service `{service}` has no pods"), "start its workload, or leave the service out".into());
    }
    let out = pods.iter().filter(|pod| !is_opted_in(pod)).count();
    if out > 0 {
        add(
            format!("{out} of {} pods of `{service}` do not take part", pods.len()),
            "label their pod template `graylane.io/enabled: \"true\"` (`graylane install` shows the plan)".into(),
        );
    }
}

/// Gateways that do not run the filter would choose no lane: every weight would be reached, and moved nobody.
fn of_gateways(world: &World, release: &Release, path: &str, namespace: &str) -> Option<Finding> {
    let pods: Vec<_> = world.pods(namespace).iter().filter(|pod| !is_ending(pod)).collect();
    if pods.iter().any(|pod| is_opted_in(pod)) {
        return None;
    }
    let label = "label their pod template `graylane.io/enabled: \"true\"` (`graylane install` shows the plan)";
    let (message, mend) = if pods.is_empty() {
        let mend = "name the namespace in which the pods of the ingress gateway run; a controller that looks after \
                    chosen namespaces needs `--watch-namespace` for it too";
        (format!("no gateway runs in namespace `{namespace}`"), mend.to_owned())
    } else {
        (format!("none of {} pods in namespace `{namespace}` takes part", pods.len()), label.to_owned())
    };
    Some(finding(release, path, message, mend))
}

fn of_workloads(world: &World, release: &Release, findings: &mut Vec<Finding>) {
    let promoted = &release.plan.promoted;
    for member in release.members.iter().filter(|member| member.lanes.contains(promoted)) {
        for lane in [STABLE, promoted] {
            let found = only_workload(world, &file(release), &release.namespace, &member.service, lane);
            findings.extend(found.err());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::tests::{orders, pod};
    use super::*;
    use crate::build::Side;
    use crate::release::read::read_text;
    use crate::release::validate::check;
    use serde_json::json;

    fn release(more: &str) -> Release {
        let text = format!(
            "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {{name: r, namespace: shop}}\nspec:\n  \
             lanes: [{{name: canary}}]\n  members: [{{service: orders}}]\n{more}"
        );
        check(read_text("r", &text).unwrap(), &Side::ALL).unwrap().remove(0).release
    }

    #[test]
    fn pods_that_do_not_take_part_are_counted() {
        let mut objects = orders(&[]);
        objects.pods.push(pod("d", json!({"app": "orders", "graylane.io/enabled": "true"})));
        let found = of(&World::new(objects), &release(""));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            found[0].to_string().split(';').next(),
            Some("grayrelease/shop/r: spec.members[0].service: 3 of 4 pods of `orders` do not take part")
        );
    }

    #[test]
    fn a_service_that_is_missing_or_empty_is_named_with_its_path() {
        let mut objects = orders(&[]);
        objects.pods.clear();
        let found = of(&World::new(objects), &release("  carriers: [web]\n"));
        let text: Vec<String> = found.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect();
        let wanted = [
            "spec.members[0].service: service `orders` has no pods",
            "spec.carriers[0]: there is no service `web` in namespace shop",
        ];
        assert_eq!(text, wanted);
    }

    #[test]
    fn ambient_pods_and_waypoints_are_refused_however_their_objects_came() {
        let with = |pod_labels: serde_json::Value, annotations: serde_json::Value, service: serde_json::Value| {
            let mut objects = orders(&[]);
            let mut labels = json!({"app": "orders", "graylane.io/enabled": "true"});
            labels.as_object_mut().unwrap().extend(pod_labels.as_object().unwrap().clone());
            let mut pod = (*pod("a", labels)).clone();
            pod.metadata.annotations = serde_json::from_value(annotations).unwrap();
            objects.pods = vec![pod.into()];
            let mut orders = (*objects.services[0]).clone();
            orders.metadata.labels = serde_json::from_value(service).unwrap();
            objects.services[0] = orders.into();
            let found = of(&World::new(objects), &release(""));
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let none = || json!({});
        assert_eq!(with(none(), none(), none()), "");
        assert_eq!(with(json!({"istio.io/use-waypoint": "none"}), none(), none()), "");
        let mend = "use sidecars for the workloads of a release, or leave the service out";
        for (said, why) in [
            (
                with(json!({"istio.io/dataplane-mode": "ambient"}), none(), none()),
                "pod a of `orders` is in ambient mode",
            ),
            (with(none(), json!({"ambient.istio.io/redirection": "enabled"}), none()), "is in ambient mode"),
            (with(json!({"istio.io/use-waypoint": "way"}), none(), none()), "is behind the waypoint way"),
            (with(none(), none(), json!({"istio.io/use-waypoint": "way"})), "`orders` is behind the waypoint way"),
        ] {
            assert!(said.contains(why) && said.contains("spec.members[0].service: ") && said.ends_with(mend), "{said}");
        }
    }

    #[test]
    fn gateways_that_are_elsewhere_or_do_not_take_part_are_named_with_their_place() {
        let release = release("  entry: {gateways: [{namespace: edge}, {namespace: edge2}]}\n");
        let at = |namespace: &str, labels: serde_json::Value| {
            let mut pod = (*pod("gateway-1", labels)).clone();
            pod.metadata.namespace = Some(namespace.into());
            std::sync::Arc::new(pod)
        };
        let mut objects = orders(&[]);
        objects.pods = vec![
            pod("d", json!({"app": "orders", "graylane.io/enabled": "true"})),
            at("edge", json!({"istio": "ingressgateway"})),
        ];
        let found = of(&World::new(objects.clone()), &release);
        let text: Vec<String> = found.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect();
        let wanted = [
            "spec.entry.gateways[0].namespace: none of 1 pods in namespace `edge` takes part",
            "spec.entry.gateways[1].namespace: no gateway runs in namespace `edge2`",
        ];
        assert_eq!(text, wanted);
        assert!(found.iter().all(|finding| !finding.mend.is_empty()));
        for namespace in ["edge", "edge2"] {
            objects.pods.push(at(namespace, json!({"istio": "ingressgateway", "graylane.io/enabled": "true"})));
        }
        assert_eq!(of(&World::new(objects), &release), []);
    }

    #[test]
    fn the_root_namespace_is_refused_wherever_it_is_named_unless_all_proxies_are_meant() {
        let release = release("  entry: {gateways: [{namespace: edge}, {namespace: istio-system}]}\n");
        let of = |root: &str| -> Vec<String> {
            let found = of_root(root, &release);
            assert!(found.iter().all(|finding| finding.mend.contains("`--root-namespace`")), "{found:?}");
            found.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
        };
        let words = "is the root namespace of the mesh: what is written there reaches every proxy of every namespace";
        assert_eq!(of("istio-system"), [format!("spec.entry.gateways[1].namespace: `istio-system` {words}")]);
        assert_eq!(of("shop"), [format!("metadata.namespace: `shop` {words}")]);
        assert_eq!(of(""), Vec::<String>::new());
        assert_eq!(of("istio"), Vec::<String>::new());
    }

    #[test]
    fn workloads_matter_only_where_a_template_is_copied() {
        let mut objects = orders(&[]);
        objects.pods = vec![pod("d", json!({"app": "orders", "graylane.io/enabled": "true"}))];
        objects.deployments.clear();
        let world = World::new(objects);
        assert_eq!(of(&world, &release("")), []);
        let found = of(&world, &release("  promotion: {strategy: copyTemplate}\n"));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_missing_istio_is_said_and_an_interrupted_watch_is_not() {
        let of = |trouble| of_kind("DestinationRule", trouble, &release("")).map(|finding| finding.message);
        assert_eq!(of(Trouble::Absent).unwrap(), "this cluster does not know the kind DestinationRule");
        assert!(of(Trouble::Forbidden("no".into())).is_some());
        assert_eq!(of(Trouble::Away("x".into())), None);
    }
}
