//! `graylane uninstall`: first every proxy says that it runs nothing of a release, then the wiring goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use kube::core::DynamicObject;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::install::confirmed;
use super::kube::duration;
use super::mesh::{DryRun, DryRunArgs, Mesh, name};
use super::{Exit, kube as cluster, print};
use crate::build::Side;
use crate::cluster::asking::PAGE;
use crate::cluster::gray_release;
use crate::cluster::proxies::port;
use crate::cluster::report::{Report, Verdict};
use crate::cluster::world::{is_ending, is_opted_in};
use crate::istio::adoption::ReleaseFacts;
use crate::istio::assign::{Order, emptied};
use crate::istio::config::Emitter;
use crate::istio::held::Held;
use crate::istio::module::Module;
use crate::istio::object::envoy_filter;
use crate::istio::{STOPPED, stanza};

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(250);
/// How long one proxy may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Go on although releases are not finished, or proxies do not confirm that they run nothing of them
    #[arg(long)]
    force: bool,
    /// How long to wait for the proxies
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    timeout: Duration,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    dry_run: DryRunArgs,
    #[command(flatten)]
    cluster: cluster::Flags,
}

/// What graylane has in the namespace.
struct Found {
    stanzas: Vec<String>,
    configs: Vec<(Emitter, String)>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(uninstall(args))
}

async fn uninstall(args: &Args) -> anyhow::Result<Exit> {
    let (client, namespace) = args.cluster.client().await?;
    let mesh = Mesh { client, dry_run: args.dry_run.dry_run };
    let found = find(&mesh, &namespace).await?;
    if found.stanzas.is_empty() && found.configs.is_empty() {
        eprintln!("nothing of graylane is installed in {namespace}");
        return Ok(Exit::Done);
    }
    releases(&mesh, &namespace, args.force).await?;
    let pods = pods(&mesh, &namespace).await?;
    print(&words(&namespace, &found, &pods))?;
    if mesh.dry_run != DryRun::None {
        eprintln!("nothing was changed{}", mesh.dry_run.suffix());
        return Ok(Exit::Done);
    }
    if !confirmed(args.yes, "Uninstall this?")? {
        return Ok(Exit::Failed);
    }
    let generations = empty(&mesh, &namespace, &found).await?;
    let missing = wait(&mesh, &generations, &pods, args.timeout).await;
    if !missing.is_empty() {
        missing.iter().for_each(|line| eprintln!("not confirmed: {line}"));
        if !args.force {
            eprintln!(
                "everything goes to stable in {namespace}, but these proxies may not know it; the wiring is still \
                 there. Run it again, with --force to go on regardless, or `graylane stop --undo -n {namespace}`"
            );
            return Ok(Exit::NotInTime);
        }
    }
    remove(&mesh, &namespace, &found).await?;
    Ok(Exit::Done)
}

async fn find(mesh: &Mesh, namespace: &str) -> anyhow::Result<Found> {
    let objects = mesh.filters(Some(namespace)).await?;
    let kind = |object: &DynamicObject| object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
    let is_stanza = |name: &str| name == stanza::NAME || name.starts_with(&stanza::entry_name(""));
    let filters = objects.iter().filter(|object| kind(object) == "EnvoyFilter").map(name);
    let stanzas = filters.filter(|name| is_stanza(name)).map(str::to_owned).collect();
    let emitter = |object: &DynamicObject| {
        let known = [Emitter::EnvoyFilter, Emitter::WasmPlugin];
        known.into_iter().find(|emitter| emitter.kind().kind == kind(object) && emitter.owns(name(object)))
    };
    let configs = objects.iter().filter_map(|object| Some((emitter(object)?, name(object).to_owned()))).collect();
    Ok(Found { stanzas, configs })
}

/// A release that is not finished would send requests to lanes by proxies that know nothing of them.
async fn releases(mesh: &Mesh, namespace: &str, force: bool) -> anyhow::Result<()> {
    let all = mesh.list(&gray_release(), None).await?;
    let here = all.iter().map(ReleaseFacts::read).filter(|release| release.meets_at(namespace));
    let (finished, unfinished): (Vec<_>, Vec<_>) = here.partition(|release| release.is_finished);
    let ids = |releases: &[ReleaseFacts]| releases.iter().map(|one| one.id.clone()).collect::<Vec<_>>().join(", ");
    if !unfinished.is_empty() && !force {
        bail!(
            "releases in {namespace} are not finished: {}; promote or abort them first, or say --force",
            ids(&unfinished)
        );
    }
    if !finished.is_empty() {
        eprintln!(
            "finished releases stay: {}; nothing is written for them unless they are told to `retry`",
            ids(&finished)
        );
    }
    Ok(())
}

async fn pods(mesh: &Mesh, namespace: &str) -> anyhow::Result<Vec<Pod>> {
    let api: kube::Api<Pod> = kube::Api::namespaced(mesh.client.clone(), namespace);
    let pods = api.list(&ListParams::default()).await.context("cannot list pods")?;
    let runs = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    Ok(pods.items.into_iter().filter(|pod| is_opted_in(pod) && !is_ending(pod) && runs(pod)).collect())
}

fn words(namespace: &str, found: &Found, pods: &[Pod]) -> String {
    let mut text = format!("In namespace {namespace}, in this order:\n");
    text += "  1. documents are emptied, and proxies confirm it\n";
    text += &format!("  2. removed from listeners: {}\n", found.stanzas.join(", "));
    let configs: Vec<&str> = found.configs.iter().map(|(_, name)| name.as_str()).collect();
    text += &format!("  3. deleted: {}\n", configs.join(", "));
    if !found.stanzas.is_empty() && !pods.is_empty() {
        text += "Open connections of these proxies are drained once:\n";
        text.extend(pods.iter().map(|pod| format!("  {namespace}/{}\n", pod.name_any())));
    }
    text
}

/// Empties the documents; returns the generations that say so. From here on the controller writes
/// nothing to the namespace.
async fn empty(mesh: &Mesh, namespace: &str, found: &Found) -> anyhow::Result<BTreeMap<Side, u64>> {
    let mark =
        json!({"metadata": {"annotations": {STOPPED: format!("graylane uninstall at {}", jiff::Timestamp::now())}}});
    for (emitter, name) in &found.configs {
        mesh.merge(&emitter.kind(), namespace, name, &mark).await?;
    }
    let objects = mesh.filters(Some(namespace)).await?;
    let (renew, module) = (BTreeSet::new(), Module::File { path: String::new() });
    let mut generations = BTreeMap::new();
    for emitter in [Emitter::EnvoyFilter, Emitter::WasmPlugin] {
        let kind = emitter.kind();
        let own = objects.iter().filter(|one| one.types.as_ref().is_some_and(|types| types.kind == kind.kind));
        let order = Order { emitter, module: &module, namespace, floor: 0, renew: &renew };
        let assignment = emptied(&order, &Held::read(emitter, own));
        for object in &assignment.objects {
            mesh.write(&kind, object).await?;
        }
        generations.extend(assignment.generations.into_iter().map(|(place, generation)| (place.side, generation)));
    }
    Ok(generations)
}

/// Waits until no proxy reports an older generation; returns those that do, with what they say. A proxy
/// that reports none runs no document.
async fn wait(mesh: &Mesh, generations: &BTreeMap<Side, u64>, pods: &[Pod], timeout: Duration) -> Vec<String> {
    if generations.is_empty() {
        return Vec::new();
    }
    let deadline = Instant::now() + timeout;
    loop {
        let questions = pods.iter().map(|pod| standing(mesh, generations, pod));
        let missing: Vec<String> = futures::future::join_all(questions).await.into_iter().flatten().collect();
        if missing.is_empty() || Instant::now() >= deadline {
            return missing;
        }
        sleep(PAUSE).await;
    }
}

/// What keeps a proxy from being done, if anything.
async fn standing(mesh: &Mesh, generations: &BTreeMap<Side, u64>, pod: &Pod) -> Option<String> {
    let id = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let page = match tokio::time::timeout(PATIENCE, page(mesh, pod)).await {
        Err(_) => return Some(format!("{id} does not answer")),
        Ok(Err(error)) => return Some(format!("{id} cannot be asked: {error:#}")),
        Ok(Ok(page)) => page,
    };
    let report = Report::read(&page);
    let reported = generations.iter().filter(|(side, _)| report.roles.contains_key(side.label()));
    match report.verdict(reported.map(|(side, generation)| (*side, *generation))) {
        Verdict::Acknowledged => None,
        Verdict::Missing(_, why) => Some(format!("{id} {why}")),
    }
}

/// A proxy's page, through the API server: a person's machine is seldom in the network of pods.
async fn page(mesh: &Mesh, pod: &Pod) -> anyhow::Result<String> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{}/proxy{PAGE}", port(pod));
    Ok(mesh.client.request_text(hyper::Request::get(path).body(Vec::new())?).await?)
}

async fn remove(mesh: &Mesh, namespace: &str, found: &Found) -> anyhow::Result<()> {
    for name in &found.stanzas {
        mesh.delete(&envoy_filter(), namespace, name).await?;
        eprintln!("envoyfilter/{name} of {namespace} deleted");
    }
    for (emitter, name) in &found.configs {
        mesh.delete(&emitter.kind(), namespace, name).await?;
        eprintln!("{}/{name} of {namespace} deleted", emitter.kind().kind.to_lowercase());
    }
    Ok(())
}
