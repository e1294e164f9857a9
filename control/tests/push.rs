//! Pushes into a folder: what is written, what is left alone, and that nobody moves without need.

use std::fs;
use std::path::Path;

use graylane::build::ecds::document_text;
use graylane::local::Folder;
use graylane::local::push::{Plan, WeightWish, Wish, plan};
use graylane::release::units::Weight;
use graylane_policy::raw::RawConfig;
use graylane_policy::slots::{SlotTable, moved};
use tempfile::TempDir;

const RELEASE: &str = "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {name: summer, namespace: shop}\n\
    spec:\n  lanes: [{name: canary}, {name: blue}]\n  members: [{service: orders}]\n  weights: {canary: 5%}\n";
const PROXIES: &str = "module: filter.wasm\nproxies:\n- name: gateway\n  admin: 127.0.0.1:1\n  filters: [{role: gateway, ecds: ecds/gateway.json}]\n\
    - name: orders\n  admin: 127.0.0.1:2\n  filters: [{role: inbound, ecds: ecds/orders.json}]\n";

fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("filter.wasm"), "wasm").unwrap();
    fs::write(dir.path().join("proxies.yaml"), PROXIES).unwrap();
    fs::write(dir.path().join("release.yaml"), RELEASE).unwrap();
    dir
}

fn push(dir: &TempDir, wish: &Wish) -> Plan {
    let folder = Folder::open(dir.path()).unwrap();
    let plan = plan(&folder, wish).unwrap();
    plan.carry_out(&folder).unwrap();
    plan
}

fn weight(lane: &str, weight: &str) -> Wish {
    let wish = WeightWish { release: None, lane: lane.into(), weight: Weight(weight.into()) };
    Wish { weights: vec![wish], ..Wish::default() }
}

fn document(dir: &TempDir, name: &str) -> RawConfig {
    let text = fs::read(dir.path().join("ecds").join(name)).unwrap();
    let response = serde_json::from_slice(&text).unwrap();
    serde_json::from_str(document_text(&response).unwrap()).unwrap()
}

fn table(dir: &TempDir) -> SlotTable {
    let entry = document(dir, "gateway.json").groups.remove(0).entry.unwrap();
    SlotTable::from_runs(&entry.slots.unwrap().runs).unwrap()
}

#[test]
fn the_weights_of_the_file_hold_until_a_push_says_otherwise() {
    let dir = folder();
    push(&dir, &Wish::default());
    assert_eq!(table(&dir).weights()["canary"], 500);
    push(&dir, &weight("canary", "25%"));
    assert_eq!(table(&dir).weights()["canary"], 2500);
    assert_eq!(push(&dir, &Wish::default()).changes(), 0);
    assert_eq!(table(&dir).weights()["canary"], 2500);
    fs::write(dir.path().join("release.yaml"), RELEASE.replace("canary: 5%", "canary: 10%")).unwrap();
    push(&dir, &Wish::default());
    assert_eq!(table(&dir).weights()["canary"], 1000);
}

#[test]
fn one_lane_moves_without_the_others() {
    let dir = folder();
    push(&dir, &weight("canary", "20%"));
    let before = table(&dir);
    push(&dir, &weight("blue", "30%"));
    let after = table(&dir);
    assert_eq!(moved(&before, &after), 3000);
    assert_eq!((after.weights()["canary"], after.weights()["blue"]), (2000, 3000));
}

#[test]
fn documents_without_weights_are_not_touched_by_a_weight() {
    let dir = folder();
    push(&dir, &Wish::default());
    let plan = push(&dir, &weight("canary", "6%"));
    assert_eq!(plan.changes(), 1);
    assert_eq!((document(&dir, "gateway.json").generation, document(&dir, "orders.json").generation), (2, 1));
    let expected: Vec<u64> = plan.expected().iter().map(|proxy| proxy.filters[0].generation).collect();
    assert_eq!(expected, [2, 1]);
}

#[test]
fn a_forced_push_renews_everything_and_moves_nobody() {
    let dir = folder();
    push(&dir, &Wish::default());
    let before = table(&dir);
    let plan = push(&dir, &Wish { force: true, ..Wish::default() });
    assert_eq!((plan.changes(), document(&dir, "orders.json").generation), (2, 2));
    assert_eq!(moved(&before, &table(&dir)), 0);
}

#[test]
fn a_lane_that_is_gone_gives_its_users_to_stable() {
    let dir = folder();
    push(&dir, &weight("blue", "30%"));
    fs::write(dir.path().join("release.yaml"), RELEASE.replace(", {name: blue}", "")).unwrap();
    push(&dir, &Wish::default());
    assert_eq!(table(&dir).weights().into_keys().collect::<Vec<_>>(), ["canary", "stable"]);
}

#[test]
fn a_file_that_was_spoiled_is_put_right_with_a_new_generation() {
    let dir = folder();
    push(&dir, &Wish::default());
    fs::write(dir.path().join("ecds/orders.json"), "{}").unwrap();
    push(&dir, &Wish::default());
    assert_eq!(document(&dir, "orders.json").generation, 2);
}

#[test]
fn a_folder_without_state_never_uses_a_generation_again() {
    let dir = folder();
    for _ in 0..3 {
        push(&dir, &weight("canary", "10%"));
        push(&dir, &weight("canary", "20%"));
        let before = document(&dir, "gateway.json").generation;
        fs::remove_file(dir.path().join("state.json")).unwrap();
        push(&dir, &weight("canary", "30%"));
        assert!(document(&dir, "gateway.json").generation > before, "generation {before} was used again");
    }
}

#[test]
fn nothing_is_written_when_one_release_of_several_is_wrong() {
    let dir = folder();
    push(&dir, &Wish::default());
    let before = snapshot(dir.path());
    let other = RELEASE.replace("summer", "autumn").replace("canary: 5%", "canary: 500%");
    fs::write(dir.path().join("autumn.yaml"), other).unwrap();
    fs::write(dir.path().join("release.yaml"), RELEASE.replace("canary: 5%", "canary: 50%")).unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let error = plan(&folder, &Wish::default()).unwrap_err().to_string();
    assert!(error.contains("autumn.yaml:7: spec.weights.canary: `500%`"), "{error}");
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn only_one_writer_at_a_time() {
    let dir = folder();
    let _first = Folder::open(dir.path()).unwrap();
    let error = Folder::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("is in use by process"), "{error}");
}

#[test]
fn a_state_that_makes_no_sense_is_not_overwritten() {
    let dir = folder();
    fs::write(dir.path().join("state.json"), "{\"generation\": -1}").unwrap();
    let error = plan(&Folder::open(dir.path()).unwrap(), &Wish::default()).unwrap_err().to_string();
    assert!(error.contains("state.json") && error.contains("users may change lanes"), "{error}");
}

fn snapshot(dir: &Path) -> Vec<(String, String)> {
    let files = ["ecds/gateway.json", "ecds/orders.json", "state.json"];
    files.map(|name| (name.to_owned(), fs::read_to_string(dir.join(name)).unwrap())).to_vec()
}
