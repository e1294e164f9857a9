//! `graylane install`: the plan first, then the wiring of a namespace.

use std::io::{IsTerminal, Write};

use anyhow::{Context, bail};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use super::mesh::{DryRun, DryRunArgs, Mesh, name};
use super::{Exit, kube as cluster, print};
use crate::cluster::gray_release;
use crate::istio::adoption::{Change, Facts, Installation, PodFacts, ReleaseFacts, Wish, plan};
use crate::istio::config::Emitter;
use crate::istio::manifest::{json, yaml};
use crate::istio::module::Module;
use crate::istio::object::{envoy_filter, wasm_plugin};

/// Where Istio's control plane is unless the mesh says otherwise.
const ISTIO_SYSTEM: &str = "istio-system";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The opted-in pods of the namespace are ingress gateways
    #[arg(long)]
    gateway: bool,
    /// The opted-in pods of the namespace are sidecars; the default, unless it has gateways
    #[arg(long)]
    sidecars: bool,
    /// Header that a group carries its lane in, taken away from clients at gateways; those of releases
    /// are known. Without any it is x-release-stage
    #[arg(long, value_name = "HEADER", requires = "gateway")]
    carried_header: Vec<String>,
    /// A group also carries its lane as baggage
    #[arg(long, requires = "gateway")]
    baggage: bool,
    /// Service whose inbound side chooses lanes; may be given several times
    #[arg(long, value_name = "SERVICE")]
    entry_inbound: Vec<String>,
    /// Service whose outbound side chooses lanes for what it sends; may be given several times
    #[arg(long, value_name = "SERVICE")]
    entry_outbound: Vec<String>,
    /// Kind of object that documents travel by
    #[arg(long, value_enum, default_value_t = EmitterArg::Envoyfilter)]
    emitter: EmitterArg,
    /// The filter module, for WasmPlugins: `oci://…@sha256:…` or `https://…@sha256:…`
    #[arg(long, value_name = "MODULE")]
    module: Option<Module>,
    /// Secret of the namespace that the registry asks for, for WasmPlugins
    #[arg(long, value_name = "NAME", requires = "module")]
    pull_secret: Option<String>,
    /// Install in the root namespace of the mesh, and so for opted-in proxies of every namespace
    #[arg(long)]
    root_namespace: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    dry_run: DryRunArgs,
    /// Print the objects instead of the plan
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    cluster: cluster::Flags,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum EmitterArg {
    Envoyfilter,
    Wasmplugin,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(install(args))
}

async fn install(args: &Args) -> anyhow::Result<Exit> {
    let (client, namespace) = args.cluster.client().await?;
    let mesh = Mesh { client, dry_run: args.dry_run.dry_run };
    let wish = wish(args, &namespace);
    let installation = plan(&wish, &facts(&mesh, &namespace).await?)?;
    show(args, &namespace, &installation)?;
    let changes: Vec<_> = installation.objects.iter().filter(|planned| planned.change != Change::Same).collect();
    if changes.is_empty() {
        eprintln!("everything is installed already");
        return Ok(Exit::Done);
    }
    if mesh.dry_run == DryRun::None && !confirmed(args.yes, "Install this?")? {
        return Ok(Exit::Failed);
    }
    for planned in changes {
        let object = &planned.object;
        mesh.write(&kind_of(object), object).await?;
        let done = if planned.change == Change::Added { "created" } else { "changed" };
        eprintln!("{} of {namespace} {done}{}", name(object), mesh.dry_run.suffix());
    }
    Ok(Exit::Done)
}

fn wish(args: &Args, namespace: &str) -> Wish {
    Wish {
        namespace: namespace.to_owned(),
        gateway: args.gateway,
        sidecars: args.sidecars,
        headers: args.carried_header.iter().cloned().collect(),
        baggage: args.baggage,
        inbound: args.entry_inbound.iter().cloned().collect(),
        outbound: args.entry_outbound.iter().cloned().collect(),
        emitter: match args.emitter {
            EmitterArg::Envoyfilter => Emitter::EnvoyFilter,
            EmitterArg::Wasmplugin => Emitter::WasmPlugin,
        },
        module: args.module.clone().map(|module| module.with_pull_secret(args.pull_secret.clone())),
        root: args.root_namespace,
    }
}

/// What there is in the namespace and around it.
async fn facts(mesh: &Mesh, namespace: &str) -> anyhow::Result<Facts> {
    let core =
        |kind: &str, plural: &str| ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural);
    let namespaces: kube::Api<DynamicObject> =
        kube::Api::all_with(mesh.client.clone(), &core("Namespace", "namespaces"));
    let found = namespaces.get_opt(namespace).await.context("cannot read the namespace")?;
    let Some(found) = found else { bail!("there is no namespace {namespace}; make it first, or name another by -n") };
    let pods = mesh.list(&core("Pod", "pods"), Some(namespace)).await?;
    let services = mesh.list(&core("Service", "services"), Some(namespace)).await?;
    let selector = |service: &DynamicObject| {
        let labels = service.data.pointer("/spec/selector").cloned().unwrap_or_default();
        (name(service).to_owned(), serde_json::from_value(labels).unwrap_or_default())
    };
    let labels =
        |service: &DynamicObject| (name(service).to_owned(), service.metadata.labels.clone().unwrap_or_default());
    let root_namespace = root_namespace(mesh).await;
    Ok(Facts {
        labels: found.metadata.labels.unwrap_or_default(),
        remote_clusters: has_remote_clusters(mesh, &root_namespace).await,
        root_namespace,
        pods: pods.iter().map(|pod| PodFacts::read(&serde_json::to_value(pod).unwrap_or_default())).collect(),
        services: services.iter().map(selector).collect(),
        service_labels: services.iter().map(labels).collect(),
        filters: mesh.filters(Some(namespace)).await?,
        releases: mesh.list(&gray_release(), None).await?.iter().map(ReleaseFacts::read).collect(),
    })
}

/// The root namespace of the mesh; that of Istio's control plane unless its config says otherwise.
async fn root_namespace(mesh: &Mesh) -> String {
    use k8s_openapi::api::core::v1::ConfigMap;
    let maps: kube::Api<ConfigMap> = kube::Api::namespaced(mesh.client.clone(), ISTIO_SYSTEM);
    let config = maps.get_opt("istio").await.ok().flatten().and_then(|map| map.data?.remove("mesh"));
    let mesh_config: Option<Value> = config.and_then(|text| serde_saphyr::from_str(&text).ok());
    let named = mesh_config.as_ref().and_then(|config| config.get("rootNamespace")?.as_str());
    named.filter(|name| !name.is_empty()).unwrap_or(ISTIO_SYSTEM).to_owned()
}

/// Whether istiod was given other clusters. Who may not read that is not kept from installing.
async fn has_remote_clusters(mesh: &Mesh, root: &str) -> bool {
    use k8s_openapi::api::core::v1::Secret;
    let secrets: kube::Api<Secret> = kube::Api::namespaced(mesh.client.clone(), root);
    let remote = kube::api::ListParams::default().labels("istio/multiCluster=true");
    secrets.list_metadata(&remote).await.is_ok_and(|found| !found.items.is_empty())
}

fn show(args: &Args, namespace: &str, installation: &Installation) -> anyhow::Result<()> {
    let objects: Vec<&DynamicObject> = installation.objects.iter().map(|planned| &planned.object).collect();
    match args.output {
        Some(Format::Yaml) => print(&yaml(&objects)),
        Some(Format::Json) => print(&json(&objects)),
        None => print(&words(namespace, installation)),
    }
}

fn words(namespace: &str, installation: &Installation) -> String {
    let mut text = format!("In namespace {namespace}:\n");
    for planned in &installation.objects {
        let mark = match planned.change {
            Change::Added => "+",
            Change::Changed => "~",
            Change::Same => "=",
        };
        text += &format!("  {mark} {} {}\n", kind_of(&planned.object).kind, name(&planned.object));
    }
    for (title, pods) in [("Proxies that change:", &installation.taken), ("Without the label:", &installation.left_out)]
    {
        if !pods.is_empty() {
            text += &format!("{title}\n");
            text.extend(pods.iter().map(|pod| format!("  {pod}\n")));
        }
    }
    text.extend(installation.notes.iter().map(|note| format!("- {note}\n")));
    text
}

fn kind_of(object: &DynamicObject) -> ApiResource {
    let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
    if kind == "WasmPlugin" { wasm_plugin() } else { envoy_filter() }
}

/// Asks a person, unless they said yes before. Without one nothing is done.
pub(super) fn confirmed(yes: bool, question: &str) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to ask, and nothing was changed; add --yes");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let is_yes = matches!(answer.trim(), "y" | "Y" | "yes");
    if !is_yes {
        eprintln!("nothing was changed");
    }
    Ok(is_yes)
}
