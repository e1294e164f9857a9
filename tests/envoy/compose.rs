//! The compose file of the chain: it can only be checked here, not run.

use std::collections::BTreeSet;
use std::path::Path;

use graylane_tests::paths;
use serde_json::Value;

const DEFAULT_IMAGE: &str = "${ENVOY_IMAGE:-envoyproxy/envoy:v1.40.0}";

#[test]
fn compose_file_starts_what_start_sh_starts() {
    let names: BTreeSet<String> = services().into_iter().map(|(name, _)| name).collect();
    let script = std::fs::read_to_string(folder().join("start.sh")).unwrap();
    let mut wanted = BTreeSet::from(["gateway".to_owned()]);
    for line in script.lines().filter_map(|line| line.strip_prefix("pod ")) {
        let name = line.split(' ').next().unwrap();
        wanted.extend([name.to_owned(), format!("{name}-app")]);
    }
    assert_eq!(names, wanted);
}

#[test]
fn compose_file_names_files_that_exist() {
    for (name, service) in services() {
        for volume in service["volumes"].as_array().unwrap() {
            let host = volume.as_str().unwrap().split(':').next().unwrap();
            // What is built may not be there yet; the folder it is built in belongs to the workspace.
            let exists = folder().join(host).exists() || host.starts_with("../../target/");
            assert!(exists, "{name}: there is no {host}");
        }
        let command: Vec<&str> = service["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        if let Some(at) = command.iter().position(|word| *word == "-c") {
            assert!(folder().join(command[at + 1]).is_file(), "{name}: there is no {}", command[at + 1]);
            assert_eq!(service["image"], DEFAULT_IMAGE, "{name}");
        }
    }
}

#[test]
fn compose_file_and_start_sh_give_applications_the_same_addresses() {
    let script = std::fs::read_to_string(folder().join("start.sh")).unwrap();
    for (name, service) in services().into_iter().filter(|(name, _)| name.ends_with("-app")) {
        let command: Vec<&str> = service["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let after = |flag: &str| command.iter().position(|word| *word == flag).map(|at| command[at + 1]);
        let words = [after("--name"), after("--listen"), after("--call"), after("--host")];
        let line = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        assert!(script.contains(&format!("\npod {line}\n")), "{name}: start.sh has no `pod {line}`");
    }
}

/// Names and contents of the services, what they have in common merged in.
fn services() -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(folder().join("docker-compose.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).expect("docker-compose.yaml is YAML");
    let known = BTreeSet::from(["command", "image", "network_mode", "volumes", "working_dir"]);
    let services = file["services"].as_object().expect("services");
    for (name, service) in services {
        let keys: BTreeSet<&str> = service.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(keys.is_subset(&known), "{name}: {keys:?}");
    }
    services.iter().map(|(name, service)| (name.clone(), service.clone())).collect()
}

fn folder() -> std::path::PathBuf {
    Path::new(&paths::root()).join("envoy-configs/chain")
}
