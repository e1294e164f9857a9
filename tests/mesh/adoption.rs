//! `graylane install`, `stop` and `uninstall`, and what `generate` prints, on a real mesh.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::paths;
use graylane_tests::poll::{self, PATIENCE};
use serde_json::Value;

use crate::asking::{CANARY, STABLE, anybody, takes, tester};
use crate::wiring::{self, Module};

#[test]
fn smoke_a_namespace_is_wired_stopped_and_unwired() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        poll::until("the shop", PATIENCE, || takes(bed, &anybody(), STABLE))?;
        plan_is_shown_and_nothing_done(bed)?;
        for args in [["-n", "istio-ingress", "--gateway"].as_slice(), &["-n", "shop"]] {
            let install = |bed: &Bed| bed.graylane(&[&["install", "--yes"], args].concat());
            install(bed)?.done()?;
            let again = install(bed)?;
            ensure!(again.stderr.contains("everything is installed already"), "{again:?}");
        }
        wiring::push(bed, 1, &Module::file()?)?;
        poll::until("the tester's lane", PATIENCE, || takes(bed, &tester(), CANARY))?;

        for namespace in ["istio-ingress", "shop"] {
            let said = bed.graylane(&["stop", "-n", namespace, "--reason", "a test"])?;
            ensure!(said.stdout.contains("stopped"), "{said:?}");
        }
        poll::until("stable for the tester", PATIENCE, || takes(bed, &tester(), STABLE))?;
        let path = "jsonpath={.metadata.annotations.graylane\\.io/stopped}";
        let who = bed.kubectl(&["-n", "shop", "get", "envoyfilter", "graylane-lanes", "-o", path])?.stdout;
        ensure!(who.starts_with("bed-admin at 20") && who.ends_with(": a test"), "{who}");
        bed.graylane(&["stop", "-A", "--undo"])?.done()?;
        stop_by_kubectl(bed)?;
        wiring::push(bed, 3, &Module::file()?)?;
        poll::until("the lane again", PATIENCE, || takes(bed, &tester(), CANARY))?;

        for namespace in ["istio-ingress", "shop"] {
            let said = bed.graylane(&["uninstall", "-n", namespace, "--yes"])?;
            ensure!(said.status.success(), "{said:?}");
            poll::until("stable for the tester", PATIENCE, || takes(bed, &tester(), STABLE))?;
        }
        let left = bed.kubectl(&["get", "envoyfilters", "-A", "-o", "name"])?.stdout;
        ensure!(left.is_empty(), "{left}");
        takes(bed, &anybody(), STABLE)
    });
}

/// The lines of the page on installing.
fn stop_by_kubectl(bed: &Bed) -> Result<()> {
    wiring::push(bed, 2, &Module::file()?)?;
    poll::until("the tester's lane", PATIENCE, || takes(bed, &tester(), CANARY))?;
    for (namespace, name) in [("istio-ingress", "graylane-entry"), ("shop", "graylane-lanes")] {
        let file = paths::root().join("istio/stop").join(format!("{name}.yaml")).display().to_string();
        bed.kubectl(&["-n", namespace, "patch", "envoyfilter", name, "--type=merge", "--patch-file", &file])?;
    }
    poll::until("stable for the tester", PATIENCE, || takes(bed, &tester(), STABLE))
}

fn plan_is_shown_and_nothing_done(bed: &Bed) -> Result<()> {
    for mode in ["--dry-run", "--dry-run=server"] {
        let plan = bed.graylane(&["install", "-n", "istio-ingress", "--gateway", mode])?.done()?;
        for part in
            ["+ EnvoyFilter graylane\n", "+ EnvoyFilter graylane-entry\n", "istio-ingress/gateway-", "drained once"]
        {
            ensure!(plan.contains(part), "no {part:?} in {plan}");
        }
    }
    let objects = bed.graylane(&["install", "-n", "shop", "--dry-run", "-o", "yaml"])?.done()?;
    bed.apply(&objects)?;
    bed.kubectl(&["-n", "shop", "delete", "envoyfilter", "graylane", "graylane-lanes"])?;
    let unasked = bed.graylane(&["install", "-n", "shop"])?;
    ensure!(unasked.status.code() == Some(1) && unasked.stderr.contains("add --yes"), "{unasked:?}");
    refused(bed, "istio-system", "is the root namespace of the mesh")?;
    what_is_not_served_is_refused(bed)?;
    let there = bed.kubectl(&["get", "envoyfilters", "-A", "-o", "name"])?.stdout;
    ensure!(there.is_empty(), "{there}");
    Ok(())
}

/// Each for as long as it is so.
fn what_is_not_served_is_refused(bed: &Bed) -> Result<()> {
    let label = |kind: &str, name: &str, namespace: &str, label: &str| {
        bed.kubectl(&["label", "--overwrite", kind, name, "-n", namespace, label]).map(drop)
    };
    for (kind, name, key, value, says) in [
        ("namespace", "shop", "istio.io/dataplane-mode", "ambient", "is in ambient mode (istio.io/dataplane-mode)"),
        ("namespace", "shop", "istio.io/use-waypoint", "lane", "sends its traffic through the waypoint lane"),
        ("service", "stock", "istio.io/use-waypoint", "own", "has service stock behind the waypoint own"),
    ] {
        label(kind, name, "shop", &format!("{key}={value}"))?;
        refused(bed, "shop", says)?;
        label(kind, name, "shop", &format!("{key}-"))?;
    }
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: other, namespace: istio-system}}";
    bed.apply(secret)?;
    bed.graylane(&["install", "-n", "shop", "--dry-run"])?.done()?;
    label("secret", "other", "istio-system", "istio/multiCluster=true")?;
    refused(bed, "shop", "is part of a mesh of several clusters")?;
    bed.kubectl(&["delete", "secret", "other", "-n", "istio-system"])?;
    // The bed's istiod has its mesh config from a file; an installed one has it from here.
    bed.apply(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}, \
         data: {mesh: 'rootNamespace: shop'}}",
    )?;
    refused(bed, "shop", "is the root namespace of the mesh")?;
    bed.kubectl(&["delete", "configmap", "istio", "-n", "istio-system"])?;
    bed.graylane(&["install", "-n", "shop", "--dry-run"])?.done().map(drop)
}

fn refused(bed: &Bed, namespace: &str, says: &str) -> Result<()> {
    let said = bed.graylane(&["install", "-n", namespace, "--yes"])?;
    ensure!(!said.status.success() && said.stderr.contains(says), "not refused because it {says}: {said:?}");
    Ok(())
}

#[test]
fn smoke_what_is_generated_is_what_istio_takes() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        let generated: [&[&str]; 5] = [
            &[
                "vs",
                "orders",
                "-n",
                "shop",
                "--canary",
                "--host",
                "shop.example.com",
                "--gateway",
                "istio-ingress/shop",
            ],
            &["vs", "stock", "-n", "shop", "--subset", "stable,canary", "--weight", "80,20", "--env", "prod"],
            &["dr", "orders", "-n", "shop", "--subset", "stable,canary:track=on", "--tls-mode", "ISTIO_MUTUAL"],
            &["dr", "stock", "-n", "shop", "--canary", "--tls-mode", "SIMPLE", "--env", "1_000"],
            &[
                "dr",
                "stock",
                "-n",
                "shop",
                "--subset",
                "stable:version=2026-10,canary:version=2026-10-11",
                "--tls-mode",
                "DISABLE",
            ],
        ];
        for args in generated {
            let yaml = bed.graylane(&[&["generate"], args].concat())?.done()?;
            let json = bed.graylane(&[&["generate"], args, &["-o", "json"]].concat())?.done()?;
            accepted(bed, &yaml, &serde_json::from_str(&json)?)?;
        }
        let written = write(bed, "existing.yaml", EXISTING)?;
        let adopt = |file: &PathBuf, more: &[&str]| {
            let file = file.display().to_string();
            bed.graylane(&[&["generate", "vs", "orders", "-n", "shop", "--adopt", "-f", &file], more].concat())
        };
        let yaml = adopt(&written, &[])?.done()?;
        let json: Value = serde_json::from_str(&adopt(&written, &["-o", "json"])?.done()?)?;
        accepted(bed, &yaml, &json)?;

        // What the mesh has is followed by proxies, and is the same after a second time.
        bed.kubectl(&["-n", "shop", "delete", "virtualservice", "orders"])?;
        bed.apply(&yaml)?;
        poll::until("the shop", PATIENCE, || takes(bed, &anybody(), STABLE))?;
        let kept =
            bed.kubectl(&["-n", "shop", "get", "virtualservice,destinationrule", "orders", "-o", "yaml"])?.stdout;
        let kept = write(bed, "kept.yaml", &kept)?;
        let twice: Value = serde_json::from_str(&adopt(&kept, &["-o", "json"])?.done()?)?;
        for (at, object) in twice["items"].as_array().context("a list")?.iter().enumerate() {
            ensure!(object["spec"] == json["items"][at]["spec"], "{object:#}");
        }
        Ok(())
    });
}

#[test]
fn smoke_rendered_objects_fit_the_schemas_of_istio() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        for file in fs::read_dir(paths::root().join("istio/rendered"))? {
            let file = file?.path().display().to_string();
            bed.kubectl(&["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", &file])?;
        }
        Ok(())
    });
}

/// Checks that the API server takes YAML as it stands, and that kubectl reads in it what was meant.
fn accepted(bed: &Bed, yaml: &str, json: &Value) -> Result<()> {
    let file = write(bed, "generated.yaml", yaml)?.display().to_string();
    bed.kubectl(&[
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "--force-conflicts",
        "-f",
        &file,
    ])?;
    let read = bed.kubectl(&["annotate", "--local", "--overwrite", "-f", &file, "-o", "json", "by=kubectl"])?.stdout;
    // Several objects come one after the other.
    let mut read = serde_json::Deserializer::from_str(&read).into_iter().collect::<Result<Vec<Value>, _>>()?;
    for object in &mut read {
        object["metadata"].as_object_mut().context("metadata")?.remove("annotations");
    }
    let meant = json["items"].as_array().cloned().unwrap_or_else(|| vec![json.clone()]);
    ensure!(read == meant, "kubectl read {read:#?}\nand not {json:#}");
    Ok(())
}

fn write(bed: &Bed, name: &str, text: &str) -> Result<PathBuf> {
    let file = bed.folder().join(name);
    fs::write(&file, text)?;
    Ok(file)
}

const EXISTING: &str = r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders, namespace: shop, labels: {team: "on"}}
spec:
  hosts: [orders, shop.example.com]
  gateways: [istio-ingress/shop, mesh]
  http:
  - name: slow
    match: [{uri: {prefix: /slow}, headers: {x-tenant: {exact: "yes"}}}, {uri: {prefix: /slower}, withoutHeaders: {x-old: {}}}]
    route: [{destination: {host: orders}, weight: 100}]
    timeout: 5s
    retries: {attempts: 3, retryOn: 5xx}
    fault: {delay: {fixedDelay: 0.5s, percentage: {value: 0.1}}}
    mirror: {host: stock}
    corsPolicy: {allowOrigins: [{exact: https://example.com}]}
    headers: {request: {set: {x-a: "1"}, remove: [x-b]}, response: {remove: [server]}}
  - match: [{uri: {exact: /old}}]
    redirect: {uri: /new}
  - route: [{destination: {host: orders}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: orders, namespace: shop}
spec:
  host: orders
  trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}
  subsets: [{name: stable, labels: {version: stable}}]
"#;
