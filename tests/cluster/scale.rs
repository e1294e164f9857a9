//! A thousand releases that wait or have ended and a hundred that move: what they cost.
//!
//! It takes three minutes, so it is no smoke test: `make bench-mesh`, or `RELEASE=1 make test-cluster NAME=a_thousand`.
//! What it costs in processor time is only judged of a release build.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use graylane_tests::bed::{self, Bed, Write};
use graylane_tests::figures::{judge, judge_cost, say, spread};
use graylane_tests::poll;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::stage::{Instance, Stage};

/// Releases that move, each in a group of its own, all behind one gateway.
const MOVING: usize = 100;
/// Their weights.
const WEIGHTS: [&str; 4] = ["5%", "25%", "50%", "100%"];
/// Groups that are taken, each by a release that waits for a person.
const TAKEN: usize = 10;
/// Releases that wait for each of these groups.
const QUEUE: usize = 49;
/// Releases that have ended.
const ENDED: usize = 500;
/// A busy machine may take this long for each part of it.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn a_thousand_releases_that_wait_and_a_hundred_that_move_cost_little() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let crowd = Crowd { bed, client: bed.client() };
        crowd.settle()?;
        let controller = stage.controller("a")?;
        stage.until_led_by(&[&controller])?;
        crowd.idles(&controller)?;
        crowd.moves(&controller)?;
        crowd.ends()?;
        controller.was_never_forbidden()
    });
}

/// Many releases.
struct Crowd<'a> {
    bed: &'a Bed,
    client: Client,
}

// === impl Crowd ===

impl Crowd<'_> {
    /// Makes them all: those that have ended say so before anybody looks.
    fn settle(&self) -> Result<()> {
        let services: Vec<Value> = (0..MOVING).map(|index| format!("s{index}")).flat_map(service).collect();
        self.create(services.into_iter().chain((0..TAKEN).map(|index| format!("t{index}")).flat_map(service)))?;
        let steps = json!([{"gate": {"name": "go"}}, {"weight": "5%"}]);
        let ended = (0..ENDED).map(|index| release("ended", index, &format!("e{index}"), &steps));
        self.create(ended)?;
        let status = json!({"status": {"phase": "RolledBack", "observedGeneration": 1, "attempt": 1}});
        self.patch_status("ended", ENDED, &status)?;
        self.create((0..TAKEN).map(|index| release("taker", index, &format!("t{index}"), &steps)))?;
        // The older one has the group; of two of the same second, the one whose name comes first.
        let queue = (0..TAKEN * QUEUE).map(|index| release("waiting", index, &format!("t{}", index % TAKEN), &steps));
        self.create(queue)
    }

    /// Nothing happens.
    fn idles(&self, controller: &Instance) -> Result<()> {
        self.until("taker", TAKEN, |status| status["phase"] == "Paused")?;
        self.until("waiting", TAKEN * QUEUE, |status| status["waiting"]["reason"] == "GroupBusy")?;
        self.until("ended", ENDED, |status| status["conditions"].is_array())?;
        self.until_quiet()?;
        let writes = self.bed.writes()?.len();
        let passes = controller.number("graylane_controller_pass_seconds_count")?;
        let share = rate(controller, Duration::from_secs(20))?;
        let passes = controller.number("graylane_controller_pass_seconds_count")? - passes;
        println!("{passes} passes in 20 s");
        let (election, others) = ours(self.bed.writes()?.split_off(writes));
        judge(
            "1,000 idle releases: API writes in 20 s, those of the election beside them",
            format!("{}, {}", others.len(), election.len()),
            "0, any",
            others.is_empty(),
        )
        .with_context(|| format!("{others:#?}"))?;
        judge_cost(
            "1,000 idle releases: controller",
            format!("{:.1}% of a core, {}", share * 100.0, memory(controller)?),
            "below 5% of a core",
            share < 0.05,
        )
    }

    /// A hundred go through their weights, and one of them is taken back in the middle of it.
    fn moves(&self, controller: &Instance) -> Result<()> {
        let weights = WEIGHTS.map(|weight| json!({"weight": weight}));
        let steps: Vec<Value> = [json!({"gate": {"name": "go"}})].into_iter().chain(weights).collect();
        self.create((0..MOVING).map(|index| release("moving", index, &format!("s{index}"), &json!(steps))))?;
        self.until("moving", MOVING, |status| status["phase"] == "Paused")?;
        let (before, cpu, start) = (self.written()?.len(), controller.part.usage()?.cpu, Instant::now());
        self.ask("moving", 0..MOVING, "go", "promote")?;
        self.until("moving", 1, |status| status["weight"] == "canary=25%")?;
        let aborted = Instant::now();
        self.ask("moving", [MOVING - 1], "back", "abort")?;
        self.until("moving", 1, |status| status["phase"] == "RolledBack")?;
        let aborted = aborted.elapsed();
        let arrived = |status: &Value| status["waiting"]["reason"] == "ManualHandover";
        let times = self.until("moving", MOVING - 1, arrived)?;
        let (took, usage) = (start.elapsed(), controller.part.usage()?);
        let core = (usage.cpu - cpu).as_secs_f64() / took.as_secs_f64();
        let times: Vec<f64> = times.iter().map(|at| at.duration_since(start).as_secs_f64()).collect();
        let [median, _, last] = spread(&times);
        say("100 releases through 4 weights beside them", format!("median {median:.1} s, last {last:.1} s"))?;
        say("one of them taken back meanwhile", format!("{:.2} s", aborted.as_secs_f64()))?;
        say("controller meanwhile", format!("{:.0}% of a core, {}", core * 100.0, memory(controller)?))?;
        self.judge_writes(&self.written()?[before..])
    }

    fn judge_writes(&self, ours: &[Write]) -> Result<()> {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        ours.iter().for_each(|write| *kinds.entry(write.resource.as_str()).or_default() += 1);
        let steps = (MOVING * WEIGHTS.len()) as f64;
        println!("writes: {kinds:?} for {steps} steps");
        let per_step = ours.len() as f64 / steps;
        let kind = |name: &str| kinds.get(name).copied().unwrap_or(0) as f64 / steps;
        let [status, shared, events] = ["grayreleases/status", "envoyfilters", "events"].map(kind);
        let value = format!("{per_step:.2} ({status:.2} status, {shared:.2} shared config, {events:.2} events)");
        judge("API writes per step of a release", value, "at most 5", per_step <= 5.0)
    }

    /// Somebody says that stable has the new versions.
    fn ends(&self) -> Result<()> {
        let start = Instant::now();
        self.ask("moving", 0..MOVING - 1, "end", "promote")?;
        self.until("moving", MOVING - 1, |status| status["phase"] == "Succeeded")?;
        say("99 releases from there to their end", format!("{:.1} s", start.elapsed().as_secs_f64()))
    }

    /// Waits until nothing has been written for a while.
    fn until_quiet(&self) -> Result<()> {
        let (mut count, mut since) = (self.written()?.len(), Instant::now());
        poll::until("nothing to write", PATIENCE, || {
            let now = self.written()?.len();
            if now != count {
                (count, since) = (now, Instant::now());
            }
            ensure!(since.elapsed() > Duration::from_secs(6), "{now} writes so far");
            Ok(())
        })
    }

    fn releases(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), "shop", &graylane::cluster::gray_release())
    }

    fn create(&self, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        let one = |object: Value| async {
            let object: DynamicObject = serde_json::from_value(object)?;
            let kind = object.types.as_ref().context("no kind")?;
            let (group, version) = kind.api_version.rsplit_once('/').unwrap_or(("", &kind.api_version));
            let plural = format!("{}s", kind.kind.to_lowercase());
            let kind = graylane::cluster::resource(group, version, &kind.kind, &plural);
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), "shop", &kind);
            anyhow::Ok(api.create(&PostParams::default(), &object).await.map(drop)?)
        };
        let all = futures::stream::iter(objects).map(one).buffer_unordered(8);
        self.bed.block_on(all.try_collect::<()>())
    }

    fn patch_status(&self, kind: &str, count: usize, status: &Value) -> Result<()> {
        let api = self.releases();
        let one = |index: usize| {
            let (api, name) = (api.clone(), format!("{kind}-{index}"));
            async move { api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.map(drop) }
        };
        let all = futures::stream::iter(0..count).map(one).buffer_unordered(8);
        Ok(self.bed.block_on(all.try_collect::<()>())?)
    }

    fn ask(&self, kind: &str, which: impl IntoIterator<Item = usize>, id: &str, verb: &str) -> Result<()> {
        let request = json!({"id": id, "verb": verb}).to_string();
        let patch = json!({"metadata": {"annotations": {"graylane.io/request": request}}});
        let (api, patch) = (self.releases(), &Patch::Merge(&patch));
        let one = |index: usize| {
            let (api, name) = (api.clone(), format!("{kind}-{index}"));
            async move { api.patch(&name, &PatchParams::default(), patch).await.map(drop) }
        };
        let all = futures::stream::iter(which).map(one).buffer_unordered(8);
        Ok(self.bed.block_on(all.try_collect::<()>())?)
    }

    /// Waits until so many fulfil a condition; says when each did.
    fn until(&self, kind: &str, wanted: usize, holds: impl Fn(&Value) -> bool) -> Result<Vec<Instant>> {
        let mut since: BTreeMap<String, Instant> = BTreeMap::new();
        let mut other = Value::Null;
        let watch = async {
            let config = watcher::Config::default().labels(&format!("crowd={kind}"));
            let mut objects = watcher(self.releases(), config).default_backoff().applied_objects().boxed();
            while let Some(object) = objects.try_next().await? {
                let name = object.metadata.name.unwrap_or_default();
                if holds(&object.data["status"]) {
                    since.entry(name).or_insert_with(Instant::now);
                } else {
                    since.remove(&name);
                    other = object.data["status"].clone();
                }
                if since.len() >= wanted {
                    break;
                }
            }
            anyhow::Ok(())
        };
        let ended = self.bed.block_on(async { tokio::time::timeout(PATIENCE, watch).await });
        ended.with_context(|| format!("{} of {wanted} {kind} in {PATIENCE:?}; another: {other:#}", since.len()))??;
        Ok(since.into_values().collect())
    }

    /// What the controller has written, but for its election.
    fn written(&self) -> Result<Vec<Write>> {
        Ok(ours(self.bed.writes()?).1)
    }
}

/// Of some writes those of the controller: of its election, which are its lease and the label of its own pod (on
/// this bed it has none, and is told so each time), and all others.
fn ours(writes: Vec<Write>) -> (Vec<Write>, Vec<Write>) {
    let ours = writes.into_iter().filter(|write| write.user.ends_with(":graylane"));
    ours.partition(|write| ["leases", "pods"].contains(&write.resource.as_str()))
}

/// A service of the same pods as all others, with its routes.
fn service(name: String) -> Vec<Value> {
    let metadata = json!({"name": name, "namespace": "shop"});
    let subset = |name: &str| json!({"name": name, "labels": {"version": name}});
    let to = |subset: &str| json!([{"destination": {"host": name, "subset": subset}}]);
    let removed = json!({"request": {"remove": ["x-graylane-route"]}});
    vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": {"app": "orders"}, "ports": [{"name": "http", "port": 80}]}}),
        json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata,
            "spec": {"host": name, "subsets": [subset("stable"), subset("canary")]}}),
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata,
        "spec": {"hosts": [name], "http": [
            {"match": [{"headers": {"x-graylane-route": {"exact": "canary"}}}], "headers": removed, "route": to("canary")},
            {"headers": removed, "route": to("stable")},
        ]}}),
    ]
}

fn release(kind: &str, index: usize, group: &str, steps: &Value) -> Value {
    json!({
        "apiVersion": "graylane.io/v1alpha1", "kind": "GrayRelease",
        "metadata": {"name": format!("{kind}-{index}"), "namespace": "shop", "labels": {"crowd": kind}},
        "spec": {
            "group": group, "carriedHeader": format!("x-{group}"), "lanes": [{"name": "canary"}],
            "members": [{"service": group}], "entry": {"gateways": [{"namespace": "edge"}]},
            "capacity": {"floor": 0}, "steps": steps,
        },
    })
}

/// Share of a core over a while.
fn rate(controller: &Instance, time: Duration) -> Result<f64> {
    let before = controller.part.usage()?.cpu;
    // Not waiting for something: this is how long it is measured.
    std::thread::sleep(time);
    Ok((controller.part.usage()?.cpu - before).as_secs_f64() / time.as_secs_f64())
}

fn memory(controller: &Instance) -> Result<String> {
    Ok(format!("{} MB", controller.part.usage()?.resident_kb / 1024))
}
