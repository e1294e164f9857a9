//! What holds for every scenario folder.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result, ensure};
use graylane_tests::on_every_envoy;
use graylane_tests::paths;
use graylane_tests::stage::Stage;
use serde_json::Value;

on_every_envoy!(envoy_accepts_every_config);

fn envoy_accepts_every_config(stage: &Stage) -> Result<()> {
    for name in scenarios()? {
        let scenario = stage.copy(&name)?;
        for config in envoy_files(&scenario.folder)? {
            let file = config.file_name().context("a file has a name")?.to_string_lossy();
            scenario.how(&file, 9901, 1)?.validate().with_context(|| name.clone())?;
        }
    }
    Ok(())
}

#[test]
fn every_config_splits_metric_labels_the_same_way() {
    let mut kinds = BTreeSet::new();
    for name in scenarios().unwrap() {
        for config in envoy_files(&paths::root().join("envoy-configs").join(&name)).unwrap() {
            let bootstrap: Value = read_yaml(&config).unwrap();
            let tags = bootstrap.pointer("/stats_config/stats_tags").expect("stats_tags");
            kinds.insert(tags.to_string());
        }
    }
    assert_eq!(kinds.len(), 1, "{kinds:#?}");
}

/// So the filter, `graylane` and the tests agree on what a document looks like.
#[test]
fn every_filter_config_is_what_graylane_renders() {
    let fresh = tempdir("rendered");
    let bin = paths::graylane_dir().unwrap().join("graylane");
    let script = paths::root().join("envoy-configs/render.sh");
    let status = Command::new(script).arg(&fresh).env("GRAYLANE", bin).status().unwrap();
    assert!(status.success(), "render.sh failed");
    for name in scenarios().unwrap() {
        let ecds = Path::new(&name).join("ecds");
        let rendered = names(&fresh.join(&ecds));
        assert_eq!(
            names(&paths::root().join("envoy-configs").join(&ecds)),
            rendered,
            "{name}: run envoy-configs/render.sh"
        );
        for file in rendered {
            let file = ecds.join(file);
            let committed = fs::read_to_string(paths::root().join("envoy-configs").join(&file)).unwrap();
            let rendered = fs::read_to_string(fresh.join(&file)).unwrap();
            assert_eq!(committed, rendered, "{}: run envoy-configs/render.sh", file.display());
        }
    }
    fs::remove_dir_all(fresh).unwrap();
}

#[test]
fn every_scenario_has_what_a_person_needs() {
    for name in scenarios().unwrap() {
        let folder = paths::root().join("envoy-configs").join(&name);
        for file in ["README.md", "release/proxies.yaml"] {
            assert!(folder.join(file).is_file(), "{name} has no {file}");
        }
        assert!(!envoy_files(&folder).unwrap().is_empty(), "{name} has no bootstrap");
    }
}

fn names(folder: &Path) -> BTreeSet<OsString> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

fn tempdir(name: &str) -> PathBuf {
    let folder = paths::root().join("target/stages").join(format!("{name}-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Names of the folders of `envoy-configs/`, in order.
pub fn scenarios() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(paths::root().join("envoy-configs"))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    ensure!(!names.is_empty(), "there are no scenarios");
    names.sort();
    Ok(names)
}

/// Files that begin an Envoy: those with `static_resources`.
fn envoy_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml");
        if is_yaml && fs::read_to_string(&path)?.contains("\nstatic_resources:") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_yaml(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path)?;
    serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
}
