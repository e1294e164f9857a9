//! `graylane stop`: everything to stable, now, by nothing but the API server.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};
use kube::Client;
use kube::api::PostParams;
use kube::core::DynamicObject;
use serde_json::Value;

use super::mesh::{DryRunArgs, Mesh, name};
use super::{Exit, kube as cluster, print};
use crate::cluster::gray_release;
use crate::istio::STOPPED;
use crate::istio::object::annotation;
use crate::istio::stanza;
use crate::istio::stop::{lift, missing, stop};
use crate::local::stop as local;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Every namespace that has graylane's config
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "release"])]
    all_namespaces: bool,
    /// The namespaces of one release: its own and those of its gateways. Other releases there stop too
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    /// Folder of `graylane run --local` that is stopped, instead of a cluster's namespaces
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath,
        conflicts_with_all = ["all_namespaces", "release", "dry_run", "namespace", "context", "kubeconfig"])]
    local: Option<std::path::PathBuf>,
    /// Let the controller write again; lanes return as the releases say
    #[arg(long)]
    undo: bool,
    /// Why, for whoever finds it stopped
    #[arg(long, value_name = "TEXT", conflicts_with = "undo")]
    reason: Option<String>,
    #[command(flatten)]
    dry_run: DryRunArgs,
    #[command(flatten)]
    cluster: cluster::Flags,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(dir) = &args.local {
        return switch_folder(dir, args);
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(switch(args))
}

async fn switch(args: &Args) -> anyhow::Result<Exit> {
    let (client, namespace) = args.cluster.client().await?;
    let mesh = Mesh { client, dry_run: args.dry_run.dry_run };
    let namespaces = match &args.release {
        Some(release) => Some(namespaces_of(&mesh, &namespace, release).await?),
        None if args.all_namespaces => None,
        None => Some(BTreeSet::from([namespace])),
    };
    let found = by_namespace(&mesh, namespaces.as_ref()).await?;
    let who = match args.undo {
        false => format!("{} at {}{}", user(&mesh.client, args).await, now(), reason(args)),
        true => String::new(),
    };
    let (mut count, mut failures) = (0, Vec::new());
    for (namespace, objects) in &found {
        // The rest must be stopped even if one of them cannot be.
        let one = if args.undo {
            undo_one(&mesh, namespace, objects).await
        } else {
            stop_one(&mesh, namespace, objects, &who).await
        };
        match one {
            Ok(changed) => count += changed,
            Err(error) => failures.push(format!("{namespace}: {error:#}")),
        }
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    ensure!(count > 0 || args.undo, "nothing to stop: {} no config of graylane", place(namespaces.as_ref()));
    let dry = mesh.dry_run.suffix();
    match (args.undo, count) {
        (true, 0) => eprintln!("nothing is stopped there"),
        (true, _) => eprintln!("the controller writes the lanes of unfinished releases again{dry}"),
        (false, _) => eprintln!("every request goes to stable there until `graylane stop --undo`{dry}"),
    }
    Ok(Exit::Done)
}

/// The same for a folder: whoever runs its releases need not be there.
fn switch_folder(dir: &std::path::Path, args: &Args) -> anyhow::Result<Exit> {
    if args.undo {
        match local::lift(dir)? {
            true => eprintln!("`graylane run --local` writes the lanes of unfinished releases again"),
            false => eprintln!("nothing is stopped there"),
        }
        return Ok(Exit::Done);
    }
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".into());
    let count = local::stop(dir, &format!("{user} at {}{}", now(), reason(args)))?;
    print(&format!("{count} file{} of {} stopped\n", if count == 1 { "" } else { "s" }, dir.display()))?;
    eprintln!("every request goes to stable there until `graylane stop --undo --local {}`", dir.display());
    Ok(Exit::Done)
}

async fn stop_one(mesh: &Mesh, namespace: &str, objects: &[DynamicObject], who: &str) -> anyhow::Result<usize> {
    for object in objects {
        if let Some(before) = annotation(object, STOPPED) {
            eprintln!("{namespace}/{}: was stopped before, by {before}", name(object));
        }
    }
    let changes = stop(objects, who);
    for change in &changes {
        mesh.merge(&change.kind, namespace, &change.name, &change.patch).await?;
        say(mesh, namespace, &change.kind.kind, &change.name, "stopped")?;
    }
    // Proxies keep the last config of an object that was deleted.
    let has_stanza = objects.iter().any(|object| name(object) == stanza::NAME);
    let is_by_plugins = changes.iter().any(|change| change.kind.kind == "WasmPlugin");
    let made = if has_stanza && !is_by_plugins { missing(namespace, objects, who) } else { Vec::new() };
    for object in &made {
        mesh.write(&crate::istio::object::envoy_filter(), object).await?;
        say(mesh, namespace, "EnvoyFilter", name(object), "created, stopped")?;
    }
    Ok(changes.len() + made.len())
}

async fn undo_one(mesh: &Mesh, namespace: &str, objects: &[DynamicObject]) -> anyhow::Result<usize> {
    let stopped: Vec<DynamicObject> =
        objects.iter().filter(|object| annotation(object, STOPPED).is_some()).cloned().collect();
    let changes = lift(&stopped);
    for change in &changes {
        mesh.merge(&change.kind, namespace, &change.name, &change.patch).await?;
        say(mesh, namespace, &change.kind.kind, &change.name, "no longer stopped")?;
    }
    Ok(changes.len())
}

fn say(mesh: &Mesh, namespace: &str, kind: &str, name: &str, what: &str) -> anyhow::Result<()> {
    print(&format!("{}/{name} of {namespace} {what}{}\n", kind.to_lowercase(), mesh.dry_run.suffix()))
}

/// The filters of graylane, by namespace.
async fn by_namespace(
    mesh: &Mesh,
    namespaces: Option<&BTreeSet<String>>,
) -> anyhow::Result<BTreeMap<String, Vec<DynamicObject>>> {
    let mut found: BTreeMap<String, Vec<DynamicObject>> = BTreeMap::new();
    let objects = match namespaces {
        None => mesh.filters(None).await?,
        Some(namespaces) => {
            let mut objects = Vec::new();
            for namespace in namespaces {
                objects.extend(mesh.filters(Some(namespace)).await?);
            }
            objects
        }
    };
    for object in objects {
        found.entry(object.metadata.namespace.clone().unwrap_or_default()).or_default().push(object);
    }
    Ok(found)
}

async fn namespaces_of(mesh: &Mesh, namespace: &str, release: &str) -> anyhow::Result<BTreeSet<String>> {
    let (namespace, release) = release.split_once('/').unwrap_or((namespace, release));
    let releases = mesh.list(&gray_release(), Some(namespace)).await?;
    let Some(found) = releases.iter().find(|object| name(object) == release) else {
        bail!("there is no release {namespace}/{release}; `graylane stop -n {namespace}` stops the namespace");
    };
    let gateways = found.data.pointer("/spec/entry/gateways").and_then(Value::as_array);
    let named = gateways.into_iter().flatten().filter_map(|gateway| gateway.get("namespace")?.as_str());
    Ok(named.chain([namespace]).map(str::to_owned).collect())
}

/// Who asks, by the API server's own account. It must not be a reason for failing.
async fn user(client: &Client, args: &Args) -> String {
    use k8s_openapi::api::authentication::v1::SelfSubjectReview;
    let reviews: kube::Api<SelfSubjectReview> = kube::Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let named = review.ok().and_then(|review| review.status?.user_info?.username);
    named
        .or_else(|| args.cluster.act_as.clone())
        .or_else(|| std::env::var("USER").ok())
        .unwrap_or_else(|| "somebody".into())
}

/// To the second.
fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn reason(args: &Args) -> String {
    args.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn place(namespaces: Option<&BTreeSet<String>>) -> String {
    match namespaces {
        None => "no namespace has".to_owned(),
        Some(some) => format!("{} has", some.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")),
    }
}
