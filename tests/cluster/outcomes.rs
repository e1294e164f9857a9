//! What the controller says of releases that cannot move: the words of the command line, and a mend that
//! mends.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane::crd::manifest;
use graylane::release::cluster::check_object;
use graylane_tests::bed::{self, Bed, Part};
use graylane_tests::poll;
use serde_json::{Value, json};

/// The controller may first have to take its lease.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn smoke_a_release_without_routes_is_refused_with_the_commands_that_mend_it() {
    bed::tell(&Bed::cluster(), |bed| {
        let _controller = controller(bed)?;
        bed.apply(&release("summer", &json!({})).to_string())?;
        let status = until_phase(bed, "summer", "Invalid")?;
        let message = status["message"].as_str().context("message")?;
        let written = bed.kubectl(&["get", "envoyfilters", "-A", "-o", "name"])?.stdout;
        ensure!(written.is_empty(), "written for a release that cannot move: {written}");
        for kind in ["virtualservice", "destinationrule"] {
            let canary = if kind == "virtualservice" { " --canary" } else { "" };
            let command = format!("generate {kind} orders -n shop --subset stable,canary{canary}");
            ensure!(message.contains(&format!("apply what `graylane {command}` prints")), "{message}");
            let said = bed.graylane(&command.split(' ').collect::<Vec<_>>())?;
            ensure!(said.status.success(), "{said:?}");
            bed.apply(&said.stdout)?;
        }
        let valid = condition(&status, "Valid")?;
        ensure!(valid["status"] == "False" && valid["message"] == message, "{valid}");
        until(bed, "summer", "it is taken", |status| Ok(condition(status, "Valid")?["status"] == "True"))?;
        Ok(())
    });
}

#[test]
fn what_only_graylane_can_check_is_said_by_the_controller_in_the_words_of_the_command_line() {
    bed::tell(&Bed::cluster(), |bed| {
        let _controller = controller(bed)?;
        let rule = |what: Value| json!([{"name": "r", "lane": "canary", "when": what}]);
        let regex = json!({"match": {"field": {"header": "x-a"}, "is": {"regex": "("}}});
        let unknown = json!({"not": {"not": {"not": {"matches": 5}}}});
        for (name, more) in [
            ("regex", json!({"rules": rule(regex)})),
            ("nested", json!({"rules": rule(unknown)})),
            ("header", json!({"carriedHeader": "cookie"})),
            (
                "sum",
                json!({"lanes": [{"name": "canary"}, {"name": "v2"}],
                "steps": [{"weights": {"canary": "60%", "v2": 5000}}]}),
            ),
            ("weight", json!({"steps": [{"weight": "five"}]})),
        ] {
            let object = release(name, &more);
            let words = check_object(&object).err().with_context(|| format!("{name} is taken"))?.to_string();
            bed.apply(&object.to_string())?;
            let status = until_phase(bed, name, "Invalid")?;
            let said = condition(&status, "Valid")?["message"].clone();
            ensure!(said == words, "{name}: the controller says {said}, the command line {words}");
        }
        Ok(())
    });
}

#[test]
fn of_two_groups_with_one_service_the_later_is_refused() {
    bed::tell(&Bed::cluster(), |bed| {
        let _controller = controller(bed)?;
        apply_routes(bed)?;
        bed.apply(&release("summer", &json!({})).to_string())?;
        until(bed, "summer", "it is taken", |status| Ok(condition(status, "Valid")?["status"] == "True"))?;
        bed.apply(&release("winter", &json!({"carriedHeader": "x-winter"})).to_string())?;
        let status = until_phase(bed, "winter", "Invalid")?;
        let words = "service `orders` is in group `summer`, which release `shop/summer` is moving";
        ensure!(status["message"].as_str().is_some_and(|message| message.contains(words)), "{status}");
        bed.kubectl(&["delete", "gr", "summer", "-n", "shop", "--wait=false"])?;
        until(bed, "winter", "it is taken", |status| Ok(condition(status, "Valid")?["status"] == "True"))?;
        Ok(())
    });
}

#[test]
fn smoke_a_release_whose_gateways_are_elsewhere_or_do_not_take_part_is_refused_until_they_do() {
    bed::tell(&Bed::cluster(), |bed| {
        let _controller = controller(bed)?;
        apply_routes(bed)?;
        let at = |namespace: &str| json!({"entry": {"gateways": [{"namespace": namespace}]}});
        for (name, namespace, words) in [
            ("typo", "egde", "no gateway runs in namespace `egde`; name the namespace in which"),
            ("plain", "front", "none of 1 pods in namespace `front` takes part; label their pod template"),
        ] {
            bed.apply(&release(name, &at(namespace)).to_string())?;
            let expected = format!("spec.entry.gateways[0].namespace: {words}");
            let said = |status: &Value| {
                let message = status["message"].as_str().is_some_and(|message| message.contains(&expected));
                Ok(status["phase"] == "Invalid" && message && condition(status, "Valid")?["status"] == "False")
            };
            until(bed, name, &expected, said)?;
        }
        let written = bed.kubectl(&["get", "envoyfilters", "-A", "-o", "name"])?.stdout;
        ensure!(written.is_empty(), "written for releases that cannot move: {written}");
        let patch = r#"{"spec": {"template": {"metadata": {"labels": {"graylane.io/enabled": "true"}}}}}"#;
        bed.kubectl(&["delete", "gr", "typo", "-n", "shop"])?;
        bed.kubectl(&["patch", "deployment", "gateway", "-n", "front", "--type=merge", "-p", patch])?;
        until(bed, "plain", "it is taken", |status| Ok(condition(status, "Valid")?["status"] == "True"))?;
        Ok(())
    });
}

#[test]
fn a_release_that_would_write_to_the_root_namespace_is_refused_before_anything_is_written() {
    bed::tell(&Bed::cluster(), |bed| {
        let _controller = controller(bed)?;
        apply_routes(bed)?;
        bed.apply("{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}")?;
        let gateway = APPLICATION.split("---").find(|one| one.contains("name: gateway, namespace: edge"));
        bed.apply(&gateway.context("a gateway")?.replace("namespace: edge", "namespace: istio-system"))?;
        let gateways = json!({"entry": {"gateways": [{"namespace": "edge"}, {"namespace": "istio-system"}]}});
        bed.apply(&release("summer", &gateways).to_string())?;
        let said = "spec.entry.gateways[1].namespace: `istio-system` is the root namespace of the mesh: what is \
                    written there reaches every proxy of every namespace; give the gateway a namespace of its own, or \
                    start the controller with an empty `--root-namespace` if all are meant";
        until(bed, "summer", said, |status| {
            let valid = condition(status, "Valid")?;
            // Nothing else is wrong with it, once the pods are there.
            let message = format!("invalid: grayrelease/shop/summer: {said}");
            Ok(status["phase"] == "Invalid" && valid["status"] == "False" && valid["message"] == message)
        })?;
        let written = bed.kubectl(&["get", "envoyfilters", "-A", "-o", "name"])?.stdout;
        ensure!(written.is_empty(), "written all the same: {written}");
        bed.apply(&release("summer", &json!({})).to_string())?;
        until(bed, "summer", "it is taken", |status| Ok(condition(status, "Valid")?["status"] == "True"))?;
        Ok(())
    });
}

#[test]
fn services_of_other_data_planes_of_istio_are_refused_until_they_have_sidecars() {
    bed::tell(&Bed::cluster(), |bed| {
        let _controller = controller(bed)?;
        apply_routes(bed)?;
        let pod = bed.kubectl(&["get", "pods", "-n", "shop", "-l", "app=orders", "-o", "name"])?.stdout;
        let pod = pod.lines().next().context("a pod")?.to_owned();
        bed.kubectl(&["label", "service", "orders", "-n", "shop", "istio.io/use-waypoint=way"])?;
        bed.apply(&release("summer", &json!({})).to_string())?;
        let invalid = |words: &str| {
            until(bed, "summer", words, |status| {
                let message = condition(status, "Valid")?["message"].clone();
                let said = message.as_str().is_some_and(|text| text.contains(words) && text.contains("; use sidecars"));
                Ok(status["phase"] == "Invalid" && said)
            })
        };
        invalid(
            "spec.members[0].service: `orders` is behind the waypoint way: filters are not put into waypoints yet",
        )?;
        bed.kubectl(&["annotate", "-n", "shop", &pod, "ambient.istio.io/redirection=enabled"])?;
        invalid("of `orders` is in ambient mode: its pods have no sidecar that could run the filter")?;
        let written = bed.kubectl(&["get", "envoyfilters", "-A", "-o", "name"])?.stdout;
        ensure!(written.is_empty(), "written for a release that cannot move: {written}");
        bed.kubectl(&["annotate", "-n", "shop", &pod, "ambient.istio.io/redirection-"])?;
        bed.kubectl(&["label", "service", "orders", "-n", "shop", "istio.io/use-waypoint-"])?;
        until(bed, "summer", "it is taken", |status| Ok(condition(status, "Valid")?["status"] == "True"))?;
        Ok(())
    });
}

/// A controller beside an application of one service in two versions, without routes.
fn controller(bed: &Bed) -> Result<Part> {
    bed.apply(&manifest()?)?;
    for (group, kind, plural) in [
        ("networking.istio.io", "VirtualService", "virtualservices"),
        ("networking.istio.io", "DestinationRule", "destinationrules"),
        ("networking.istio.io", "EnvoyFilter", "envoyfilters"),
    ] {
        bed.apply(&open_kind(group, kind, plural).to_string())?;
    }
    bed.apply(APPLICATION)?;
    let any = "127.0.0.1:0";
    let args = ["controller", "--module", "/module.wasm", "--metrics-address", any, "--health-address", any];
    bed.graylane_as("controller", bed.kubeconfig(), &args)
}

/// The routes and subsets of that service, as they are generated.
fn apply_routes(bed: &Bed) -> Result<()> {
    for kind in [&["virtualservice", "--canary"][..], &["destinationrule"]] {
        let words = [&["generate"], kind, &["orders", "-n", "shop", "--subset", "stable,canary"]].concat();
        bed.apply(&bed.graylane(&words)?.stdout)?;
    }
    Ok(())
}

/// A kind of Istio that takes anything: no istiod is here to read it.
fn open_kind(group: &str, kind: &str, plural: &str) -> Value {
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [version("v1", true), version("v1alpha3", false)],
        },
    })
}

fn release(name: &str, more: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "graylane.io/v1alpha1",
        "kind": "GrayRelease",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "lanes": [{"name": "canary"}],
            "members": [{"service": "orders"}],
            "entry": {"gateways": [{"namespace": "edge"}]},
            "steps": [{"weight": "5%"}],
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

fn until_phase(bed: &Bed, name: &str, phase: &str) -> Result<Value> {
    until(bed, name, &format!("the phase {phase}"), |status| Ok(status["phase"] == phase))
}

/// Waits for a status of a release.
fn until(bed: &Bed, name: &str, what: &str, holds: impl Fn(&Value) -> Result<bool>) -> Result<Value> {
    let mut found = Value::Null;
    let waited = poll::until(what, SOON, || {
        let said = bed.kubectl(&["get", "gr", name, "-n", "shop", "-o", "json"])?.stdout;
        found = serde_json::from_str::<Value>(&said)?["status"].clone();
        ensure!(holds(&found)?, "{found}");
        Ok(())
    });
    waited.with_context(|| fs::read_to_string(bed.folder().join("controller.log")).unwrap_or_default())?;
    Ok(found)
}

fn condition(status: &Value, name: &str) -> Result<Value> {
    let conditions = status["conditions"].as_array().context("no conditions yet")?;
    conditions.iter().find(|condition| condition["type"] == name).cloned().context("no such condition")
}

const APPLICATION: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: edge}
---
apiVersion: v1
kind: Namespace
metadata: {name: front}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: edge}
spec:
  selector: {matchLabels: {istio: gateway}}
  template:
    metadata: {labels: {istio: gateway, graylane.io/enabled: 'true'}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: front}
spec:
  selector: {matchLabels: {istio: front}}
  template:
    metadata: {labels: {istio: front}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec: {selector: {app: orders}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: shop}
spec:
  selector: {matchLabels: {app: orders, version: stable}}
  template:
    metadata: {labels: {app: orders, version: stable, graylane.io/enabled: 'true'}}
    spec: {containers: [{name: app, image: graylane-app}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders-canary, namespace: shop}
spec:
  selector: {matchLabels: {app: orders, version: canary}}
  template:
    metadata: {labels: {app: orders, version: canary, graylane.io/enabled: 'true', graylane.io/lane: canary}}
    spec: {containers: [{name: app, image: graylane-app}]}
";
