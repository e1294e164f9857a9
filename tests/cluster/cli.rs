//! The command line against a real API server. No controller runs: what it would write into a status is
//! written here, so that every answer is known beforehand.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane::crd::manifest;
use graylane_tests::bed::{self, Bed};
use graylane_tests::{paths, poll};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn smoke_releases_are_applied_shown_and_asked_from_the_command_line() {
    bed::tell(&Bed::cluster(), |bed| {
        knows_no_releases_yet(bed)?;
        bed.apply(&manifest()?)?;
        bed.apply(SHOP)?;
        is_applied(bed)?;
        is_shown_across_services(bed)?;
        is_asked(bed)?;
        is_waited_for(bed)?;
        is_a_plugin(bed)
    });
}

#[test]
fn a_request_is_answered_by_whoever_handles_it() {
    bed::tell(&Bed::cluster().without_controllers(), |bed| {
        bed.apply(&manifest()?)?;
        bed.apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")?;
        let file = release_file(bed)?;
        bed.graylane(&["apply", "-f", &file])?.done()?;
        status(bed, &json!({"phase": "Progressing", "message": "on its way"}))?;
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| bed.graylane(&["pause", "summer", "-n", "shop", "--timeout", "30s"]));
            let id =
                poll::until("the request", SOON, || request(bed)?["id"].as_str().map(str::to_owned).context("none"))?;
            let entry = json!({"atMs": 1, "reason": "Ignored", "message": "`pause`: not today"});
            status(bed, &json!({"handledRequest": id, "history": [entry]}))?;
            let said = asked.join().map_err(|_| anyhow::anyhow!("the command panicked"))??;
            ensure!(said.status.code() == Some(1) && said.stderr.contains("`pause`: not today"), "{said:?}");
            anyhow::Ok(())
        })
    });
}

fn knows_no_releases_yet(bed: &Bed) -> Result<()> {
    let said = bed.graylane(&["list", "-A"])?;
    ensure!(said.status.code() == Some(1) && said.stderr.contains("graylane crd"), "{said:?}");
    Ok(())
}

/// Defaults are not written, so they stay the controller's; and a second time changes nothing.
fn is_applied(bed: &Bed) -> Result<()> {
    let file = release_file(bed)?;
    let dry = bed.graylane(&["apply", "-f", &file, "--dry-run=server"])?.done()?;
    ensure!(dry == "grayrelease.graylane.io/summer created (server dry run)\n", "{dry}");
    let said = bed.graylane(&["apply", "-f", &file])?.done()?;
    ensure!(said == "grayrelease.graylane.io/summer created\n", "{said}");
    let again = bed.graylane(&["apply", "-f", &file])?.done()?;
    ensure!(again == "grayrelease.graylane.io/summer unchanged\n", "{again}");
    let managers = bed.kubectl(&["get", "gr", "summer", "-n", "shop", "-o", "json", "--show-managed-fields"])?.stdout;
    let object: Value = serde_json::from_str(&managers)?;
    let owner = &object["metadata"]["managedFields"][0];
    ensure!(owner["manager"] == "graylane-cli" && owner["operation"] == "Apply", "{owner}");
    ensure!(owner["fieldsV1"]["f:spec"]["f:stickiness"].is_null(), "{owner}");
    fs::write(&file, fs::read_to_string(&file)?.replace("weight: 5%", "weight: 500%"))?;
    let wrong = bed.graylane(&["apply", "-f", &file])?;
    ensure!(wrong.status.code() == Some(1) && wrong.stderr.contains("spec.steps[0].weight"), "{wrong:?}");
    release_file(bed).map(|_| ())
}

fn is_shown_across_services(bed: &Bed) -> Result<()> {
    status(
        bed,
        &json!({"phase": "Paused", "message": "paused at step 2 of 2", "attempt": 1, "step": 1, "steps": 2,
            "weights": {"canary": 500}, "weight": "canary=5%", "exposure": "Full",
            "proxies": {"expected": 3, "acknowledged": 3},
            "pause": {"reason": "Gate", "message": "figures", "sinceMs": 1}}),
    )?;
    let list = bed.graylane(&["list", "-A"])?.done()?;
    let row: Vec<&str> = list.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    ensure!(row[..7] == ["shop", "summer", "॥", "Paused", "1/2", "canary=5%", "3/3"], "{list}");
    let mut page = String::new();
    poll::until("the pods of both lanes", SOON, || {
        page = bed.graylane(&["get", "summer", "-n", "shop"])?.done()?;
        ensure!(page.matches(" Pod ").count() == 2, "{page}");
        Ok(())
    })?;
    for words in ["│  │  └─ orders-canary", "falls back to stable", "॥ 2    gate: figures", "canary set 5%, actual 5%"]
    {
        ensure!(page.contains(words), "no {words:?} in\n{page}");
    }
    let kept: Value = serde_json::from_str(&bed.graylane(&["get", "summer", "-n", "shop", "-o", "json"])?.done()?)?;
    ensure!(kept["kind"] == "GrayRelease" && kept["status"]["weights"]["canary"] == 500, "{kept}");
    let none = bed.graylane(&["get", "winter", "-n", "shop"])?;
    ensure!(none.status.code() == Some(1) && none.stderr.contains("no release `winter`"), "{none:?}");
    Ok(())
}

/// A request is an annotation with the step that was seen, and `apply` leaves it where it is.
fn is_asked(bed: &Bed) -> Result<()> {
    let said = bed.graylane(&["promote", "summer", "-n", "shop", "--timeout", "100ms"])?;
    ensure!(said.status.code() == Some(3), "{said:?}");
    let first = request(bed)?;
    ensure!(first["verb"] == "promote" && first["step"] == 1, "{first}");
    bed.graylane(&["abort", "summer", "-n", "shop", "--no-wait"])?.done()?;
    let second = request(bed)?;
    ensure!(second["verb"] == "abort" && second["id"] != first["id"], "{second}");
    bed.graylane(&["apply", "-f", &release_file(bed)?])?.done()?;
    ensure!(request(bed)? == second, "apply took the request away");
    let senseless = bed.graylane(&["resume", "summer", "-n", "shop"])?;
    ensure!(senseless.status.code() == Some(1) && senseless.stderr.contains("`promote` does that"), "{senseless:?}");
    ensure!(request(bed)? == second, "what makes no sense was asked all the same");
    Ok(())
}

fn is_waited_for(bed: &Bed) -> Result<()> {
    let wait = |timeout: &str| bed.graylane(&["status", "summer", "-n", "shop", "--timeout", timeout]);
    let early = wait("500ms")?;
    ensure!(early.status.code() == Some(3), "the request is not handled, so nothing is known: {early:?}");
    status(bed, &json!({"handledRequest": request(bed)?["id"]}))?;
    let person = wait("10s")?;
    ensure!(person.status.code() == Some(6), "{person:?}");
    std::thread::scope(|scope| {
        status(bed, &json!({"phase": "RollingBack", "pause": null, "message": "everything returns to stable"}))?;
        let waiting = scope.spawn(|| wait("30s"));
        status(bed, &json!({"phase": "RolledBack", "message": "everything is on stable"}))?;
        let said = waiting.join().map_err(|_| anyhow::anyhow!("the command panicked"))??;
        ensure!(said.status.code() == Some(5) && said.stdout.contains("✖ RolledBack"), "{said:?}");
        anyhow::Ok(())
    })
}

/// kubectl finds plugins by the names of files on its PATH, and their completion likewise.
fn is_a_plugin(bed: &Bed) -> Result<()> {
    let folder = bed.folder().join("plugins");
    fs::create_dir_all(&folder)?;
    let graylane = paths::graylane_dir()?.join("graylane");
    symlink(&graylane, folder.join("kubectl-graylane"))?;
    let completion = folder.join("kubectl_complete-graylane");
    fs::write(&completion, bed.graylane(&["completion", "kubectl"])?.done()?)?;
    fs::set_permissions(&completion, fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH")?);
    let list = bed.kubectl_with_path(&path, &["graylane", "list", "-n", "shop"])?.done()?;
    ensure!(list.lines().nth(1).is_some_and(|row| row.starts_with("summer ")), "{list}");
    let help = bed.kubectl_with_path(&path, &["graylane", "get", "--help"])?.done()?;
    ensure!(help.contains("Usage: kubectl graylane get"), "{help}");
    let next = bed.kubectl_with_path(&path, &["__complete", "graylane", "unin"])?.done()?;
    ensure!(next.starts_with("uninstall\t"), "{next}");
    Ok(())
}

fn request(bed: &Bed) -> Result<Value> {
    let path = r"jsonpath={.metadata.annotations.graylane\.io/request}";
    Ok(serde_json::from_str(&bed.kubectl(&["get", "gr", "summer", "-n", "shop", "-o", path])?.stdout)?)
}

/// Writes a part of the status, about the spec as it is now.
fn status(bed: &Bed, part: &Value) -> Result<()> {
    let mut part = part.clone();
    part["observedGeneration"] = json!(9);
    let patch = json!({"status": part}).to_string();
    bed.kubectl(&["patch", "gr", "summer", "-n", "shop", "--subresource=status", "--type=merge", "-p", &patch])?;
    Ok(())
}

fn release_file(bed: &Bed) -> Result<String> {
    let file = bed.folder().join("summer.yaml");
    fs::write(&file, RELEASE)?;
    Ok(file.display().to_string())
}

const RELEASE: &str = "
apiVersion: graylane.io/v1alpha1
kind: GrayRelease
metadata: {name: summer, namespace: shop}
spec:
  entry: {gateways: [{namespace: istio-ingress}]}
  lanes: [{name: canary}]
  members: [{service: orders}, {service: payment, lanes: []}]
  steps: [{weight: 5%}, {gate: {name: figures}}]
";

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec: {selector: {app: orders}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: shop}
spec:
  selector: {matchLabels: {app: orders, version: stable}}
  template:
    metadata: {labels: {app: orders, version: stable}}
    spec: {automountServiceAccountToken: false, containers: [{name: app, image: graylane-app}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders-canary, namespace: shop}
spec:
  selector: {matchLabels: {app: orders, version: canary}}
  template:
    metadata: {labels: {app: orders, version: canary, graylane.io/lane: canary}}
    spec: {automountServiceAccountToken: false, containers: [{name: app, image: graylane-app}]}
";
