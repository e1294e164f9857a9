//! What others do to a release's config and to its API server, one after the other, while its users go on asking: what
//! becomes of each, and that nobody notices.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::client::Ask;
use graylane_tests::figures::judge;
use graylane_tests::poll;
use serde_json::{Value, json};

use crate::asking::{CANARY, STABLE, takes};
use crate::control::{Control, PATIENCE, SUMMER, release, until, until_paused_at, until_phase};
use crate::entries::BROKEN;
use crate::releases::everybody_is_on;
use crate::traffic::{HOST, Traffic};

/// Foreign writes, one each second.
const FIGHT: u32 = 10;
/// How long the API server is away.
const AWAY: Duration = Duration::from_secs(30);

#[test]
fn traffic_is_served_throughout_whatever_others_do_to_the_config_of_a_release() {
    bed::tell(&Bed::mesh(), |bed| {
        let control = Control::of_shop(bed)?;
        control.moves_to_half()?;
        let traffic = Traffic::begin(bed)?;
        let failures = traffic.failures();
        let told = |what: &str, done: Result<()>| {
            done.with_context(|| what.to_owned())?;
            let failed = failures.lock().map(|failures| failures.len()).unwrap_or_default();
            judge(&format!("{what}: failed requests"), failed.to_string(), "0", failed == 0)
        };
        told("graylane-entry deleted", is_deleted(bed))?;
        told("foreign edits of graylane-entry at 1 Hz for 10 s", is_fought_over(bed))?;
        told("API server away for 30 s", has_no_api_server(bed, &control))?;
        told("a bad release and one that gets in the way", others_are_bad(bed))?;
        told("garbage in a release", is_damaged(bed, &control))?;
        let (served, failed) = traffic.stop(bed)?;
        let name = "all of it, one after the other: failed requests";
        judge(name, format!("{failed} of {served}"), "0", failed == 0 && served > 1_000)
    })
}

/// It comes back by itself, newer than it was.
fn is_deleted(bed: &Bed) -> Result<()> {
    let before = generation(&entry(bed)?)?;
    bed.kubectl(&["delete", "envoyfilter", "graylane-entry", "-n", "istio-ingress"])?;
    poll::until("the object", PATIENCE, || {
        let after = generation(&entry(bed)?)?;
        ensure!(after > before, "generation {after} after {before}");
        Ok(())
    })?;
    goes_on(bed, "canary=50%")
}

/// Documents that no filter takes, and none at all, in turn. What graylane wrote is there in the end.
fn is_fought_over(bed: &Bed) -> Result<()> {
    let ours = entry(bed)?["spec"].take();
    for round in 0..FIGHT {
        let mut theirs = ours["configPatches"].clone();
        match theirs[0].pointer_mut(DOCUMENT).context("a document in the first patch")? {
            _ if round % 2 == 1 => theirs = json!([]),
            document => *document = json!("{\"version\": 1, \"generation\": 999, \"groups\": 5}"),
        }
        let patch = json!({"spec": {"configPatches": theirs}}).to_string();
        bed.kubectl(&["patch", "envoyfilter", "graylane-entry", "-n", "istio-ingress", "--type=merge", "-p", &patch])?;
        // The pace of the other one.
        sleep(Duration::from_secs(1));
    }
    poll::until("our own words", PATIENCE, || {
        let document = entry(bed)?["spec"]["configPatches"][0].pointer(DOCUMENT).cloned().unwrap_or_default();
        ensure!(document.to_string().contains("shop/summer"), "{document}");
        Ok(())
    })?;
    goes_on(bed, "canary=50%")?;
    let path = "jsonpath={.items[*].reason}";
    let events = bed.kubectl(&["get", "events.events.k8s.io", "-n", "istio-ingress", "-o", path])?.stdout;
    ensure!(events.contains("Drift"), "nobody was told: {events}");
    Ok(())
}

/// Nothing moves meanwhile; what is asked afterwards is done.
fn has_no_api_server(bed: &Bed, control: &Control<'_>) -> Result<()> {
    bed.api_server().stop()?;
    // Not waiting for something: this is how long it is away.
    sleep(AWAY);
    takes(bed, &tester(), CANARY).context("a tester, with the API server away")?;
    bed.api_server().start()?;
    control.ask("pause")?;
    until(bed, "it to be paused", |status| status["pause"]["reason"] == "Asked")?;
    control.ask("resume")?;
    until(bed, "it to be resumed", |status| status["pause"]["reason"] == "Step")?;
    goes_on(bed, "canary=50%")
}

/// Both are refused, each for its own reason, and nothing is written for them.
fn others_are_bad(bed: &Bed) -> Result<()> {
    let rival = SUMMER.replace("name: summer", "name: rival").replace("lanes:", "carriedHeader: x-rival\n  lanes:");
    let before = versions(bed)?;
    for (name, object, words) in [
        ("broken", BROKEN, "`(` is no regular expression"),
        ("rival", &rival, "service `orders` is in group `summer`, which release `shop/summer` is moving"),
    ] {
        bed.apply(object)?;
        poll::until(&format!("{name} to be refused"), PATIENCE, || {
            let status = release(bed, name)?["status"].take();
            let said = status["message"].as_str().unwrap_or_default();
            ensure!(status["phase"] == "Invalid" && said.contains(words), "{status}");
            Ok(())
        })?;
        bed.kubectl(&["delete", "grayrelease", name, "-n", "shop", "--timeout=60s"])?;
    }
    let after = versions(bed)?;
    ensure!(after == before, "config was written for a bad release: {before} {after}");
    goes_on(bed, "canary=50%")
}

/// A request that is none, and a status that somebody has written; after it the release can still be taken back.
fn is_damaged(bed: &Bed, control: &Control<'_>) -> Result<()> {
    let garbage = "graylane.io/request=promote!";
    bed.kubectl(&["annotate", "--overwrite", "grayrelease", "summer", "-n", "shop", garbage])?;
    poll::until("somebody to be told", PATIENCE, || {
        let path = "jsonpath={.items[*].reason}";
        let events = bed.kubectl(&["get", "events.events.k8s.io", "-n", "shop", "-o", path])?.stdout;
        ensure!(events.contains("Ignored"), "{events}");
        Ok(())
    })?;
    let damage = json!({"status": {"attempt": 99, "message": "", "handledRequest": "x"}}).to_string();
    let status = ["--subresource=status", "--type=merge", "-p", &damage];
    bed.kubectl(&[["patch", "grayrelease", "summer", "-n", "shop"].as_slice(), &status].concat())?;
    control.ask("abort")?;
    until_phase(bed, "RolledBack")?;
    everybody_is_on(bed, STABLE)
}

/// The release stands where it stood, and its testers are in the lane.
fn goes_on(bed: &Bed, weight: &str) -> Result<()> {
    until_paused_at(bed, weight)?;
    poll::until("the tester's lane", PATIENCE, || takes(bed, &tester(), CANARY))
}

fn tester() -> Ask {
    Ask::get(HOST, "/").header("x-tester", "1")
}

/// Where the document of a patch is.
const DOCUMENT: &str = "/patch/value/typed_config/config/configuration/value";

fn entry(bed: &Bed) -> Result<Value> {
    let said = bed.kubectl(&["get", "envoyfilter", "graylane-entry", "-n", "istio-ingress", "-o", "json"])?;
    serde_json::from_str(&said.stdout).with_context(|| said.stderr)
}

fn generation(object: &Value) -> Result<u64> {
    let text = object["metadata"]["annotations"]["graylane.io/generation"].as_str();
    Ok(text.context("no generation")?.parse()?)
}

/// Of all config, to see whether any was written.
fn versions(bed: &Bed) -> Result<String> {
    let path = "jsonpath={.items[*].metadata.resourceVersion}";
    Ok(bed.kubectl(&["get", "envoyfilters", "-A", "-o", path])?.stdout)
}
