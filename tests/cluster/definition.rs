//! The definition of releases on a real API server: taken as it is, explained, shown and strict.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane::crd::{NAME, definition, manifest};
use graylane::release::cluster::check_object;
use graylane::release::limits::{LIMITS, Limit};
use graylane_tests::bed::{self, Bed};
use graylane_tests::{paths, poll};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn smoke_the_definition_is_structural_explained_and_shown() {
    bed::tell(&Bed::cluster().without_controllers(), |bed| {
        bed.apply(&manifest()?)?;
        bed.apply(&release("summer", &json!({})).to_string())?;
        is_structural(bed)?;
        is_explained(bed)?;
        is_shown(bed)?;
        is_strict(bed)?;
        is_the_same_to_kubectl(bed)
    });
}

/// What is not structural is taken too, with a condition; and a schema that it does not understand
/// makes the API server warn.
fn is_structural(bed: &Bed) -> Result<()> {
    let said = bed.kubectl(&["get", "crd", NAME, "-o", "json"])?.stdout;
    let found: Value = serde_json::from_str(&said)?;
    let conditions = found["status"]["conditions"].as_array().context("conditions")?;
    ensure!(conditions.iter().all(|condition| condition["type"] != "NonStructuralSchema"), "{conditions:?}");
    for wanted in ["Established", "NamesAccepted"] {
        let is = |condition: &Value| condition["type"] == wanted && condition["status"] == "True";
        ensure!(conditions.iter().any(is), "{wanted}: {conditions:?}");
    }
    let file = bed.folder().join("crd.yaml");
    fs::write(&file, manifest()?)?;
    let again = bed.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file.display().to_string()])?;
    ensure!(again.stderr.is_empty(), "{again:?}");
    Ok(())
}

fn is_explained(bed: &Bed) -> Result<()> {
    for (path, words) in [
        ("grayrelease.spec.steps", "How the weight moves, in order"),
        ("gr.spec.members.routeBy", "Gives up the readiness gate"),
        ("grayrelease.spec.rules.when.match", "One field compared with one operator"),
        ("grayrelease.status.phase", "RollingBack"),
    ] {
        // The API server publishes its documentation a moment after it serves a kind.
        poll::until("the explanation", SOON, || {
            let said = bed.kubectl(&["explain", path])?.stdout;
            ensure!(said.contains(words), "{path}: no {words:?} in {said}");
            Ok(())
        })?;
    }
    Ok(())
}

fn is_shown(bed: &Bed) -> Result<()> {
    let status = json!({"status": {
        "phase": "Progressing", "step": 2, "steps": 5, "weight": "canary=5%", "message": "waits 30 s", "attempt": 1,
        "proxies": {"expected": 4, "acknowledged": 3},
    }});
    let status = status.to_string();
    bed.kubectl(&["patch", "gr", "summer", "--subresource=status", "--type=merge", "-p", &status])?;
    let words = |line: Option<&str>| line.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let narrow = bed.kubectl(&["get", "grayreleases"])?.stdout;
    ensure!(words(narrow.lines().next()) == ["NAME", "PHASE", "STEP", "WEIGHT", "MESSAGE", "AGE"], "{narrow}");
    let row = words(narrow.lines().nth(1));
    ensure!(row[..7] == ["summer", "Progressing", "2", "canary=5%", "waits", "30", "s"], "{narrow}");
    let wide = bed.kubectl(&["get", "graylane", "-o", "wide"])?.stdout;
    let header = words(wide.lines().next());
    ensure!(header[6..] == ["STEPS", "ACKNOWLEDGED", "EXPECTED", "GROUP", "PROMOTION", "ATTEMPT"], "{wide}");
    let row = words(wide.lines().nth(1));
    ensure!(row[row.len() - 5..] == ["3", "4", "shop", "copyTemplate", "1"], "{wide}");
    Ok(())
}

fn is_strict(bed: &Bed) -> Result<()> {
    let refused = |object: &Value| {
        let file = bed.folder().join("strict.json");
        fs::write(&file, object.to_string())?;
        bed.try_kubectl(&["apply", "-f", &file.display().to_string()]).map(|said| said.stderr)
    };
    let said = refused(&release("typo", &json!({"stickyness": {}})))?;
    ensure!(said.contains(r#"unknown field "spec.stickyness""#), "{said}");
    let nested = json!([{"name": "r", "lane": "canary", "when": {"all": [{"match": {"feild": "path"}}]}}]);
    let said = refused(&release("typo", &json!({"rules": nested})))?;
    ensure!(said.contains(r#"unknown field "spec.rules[0].when.all[0].match.feild""#), "{said}");
    let said = refused(&release("choice", &json!({"onFailure": "explode"})))?;
    ensure!(said.contains("spec.onFailure: Unsupported value"), "{said}");
    // Sizes are said in the API server's own words, which are ours too.
    for (path, limit) in LIMITS.iter().filter(|(path, _)| path.starts_with("spec.lanes")) {
        let lanes = match limit {
            Limit::Items(most) => (0..=*most).map(|at| json!({"name": format!("l{at}")})).collect(),
            Limit::Entries(most) | Limit::Bytes(most) => vec![json!({"name": "x".repeat(most + 1)})],
        };
        let object = release("large", &json!({"lanes": lanes}));
        let said = refused(&object)?;
        let found = check_object(&object).err().with_context(|| format!("the controller takes {path}"))?;
        let (_, most) = limit.keyword();
        let words = found.0.iter().map(|finding| &finding.message).find(|words| words.contains(&format!(" {most} ")));
        ensure!(words.is_some_and(|words| said.contains(words)), "{path}: {found}\nbut {said}");
    }
    Ok(())
}

/// kubectl reads YAML with another parser: both read the same from it.
fn is_the_same_to_kubectl(bed: &Bed) -> Result<()> {
    let file = bed.folder().join("crd.yaml");
    fs::write(&file, manifest()?)?;
    let file = file.display().to_string();
    let said = bed.kubectl(&["annotate", "--local", "-f", &file, "a=b", "-o", "json"])?.stdout;
    let mut read: Value = serde_json::from_str(&said)?;
    read["metadata"].as_object_mut().context("metadata")?.remove("annotations");
    ensure!(read == definition(), "kubectl reads another definition");
    Ok(())
}

#[test]
fn every_release_of_this_repository_is_taken() {
    bed::tell(&Bed::cluster().without_controllers(), |bed| {
        bed.apply(&manifest()?)?;
        let mut count = 0;
        for file in release_files()? {
            let text = fs::read_to_string(&file)?;
            let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
            for mut object in objects.into_iter().filter(|object| object["kind"] == "GrayRelease") {
                count += 1;
                // Releases of a folder have no entry and no steps: both are a cluster's.
                let spec = object["spec"].as_object_mut().context("spec")?;
                spec.entry("entry").or_insert_with(|| json!({"gateways": [{"namespace": "istio-ingress"}]}));
                spec.entry("steps").or_insert_with(|| json!([{"pause": {}}]));
                let name = format!("release-{count}");
                object["metadata"] = json!({"name": name, "namespace": "default"});
                bed.apply(&object.to_string()).with_context(|| file.display().to_string())?;
                let kept = bed.kubectl(&["get", "gr", &name, "-o", "json"])?.stdout;
                let kept: Value = serde_json::from_str(&kept)?;
                // What comes back says the same, with defaults filled in.
                let read = |object: &Value| check_object(object).map(|checked| checked.release);
                let (ours, theirs) = (read(&object), read(&kept));
                ensure!(ours.is_ok() && ours == theirs, "{}: {ours:?} became {theirs:?}", file.display());
            }
        }
        ensure!(count >= 10, "only {count} releases found");
        Ok(())
    });
}

/// Release files of the scenarios and of the examples.
fn release_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for scenario in fs::read_dir(paths::root().join("envoy-configs"))? {
        let folder = scenario?.path().join("release");
        if folder.is_dir() {
            files.extend(yaml_files(&folder)?);
        }
    }
    let examples = paths::root().join("istio/examples");
    if examples.is_dir() {
        files.extend(yaml_files(&examples)?);
    }
    Ok(files)
}

fn yaml_files(folder: &std::path::Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")).collect())
}

fn release(name: &str, more: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "graylane.io/v1alpha1",
        "kind": "GrayRelease",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "group": "shop",
            "lanes": [{"name": "canary"}],
            "members": [{"service": "orders"}],
            "entry": {"gateways": [{"namespace": "istio-ingress"}]},
            "steps": [{"weight": "5%"}],
            "promotion": {"strategy": "copyTemplate"},
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}
