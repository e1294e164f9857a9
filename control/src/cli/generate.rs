//! `graylane generate`: VirtualServices and DestinationRules for Git, from names or from what there is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{Exit, print};
use crate::istio::manifest::{json, objects, yaml};
use crate::istio::routes::{
    Canary, Plan, TlsMode, Version, adopt_rule, adopt_service, destination_rule, virtual_service,
};
use crate::istio::types::{DestinationRule, VirtualService};
use crate::release::STABLE;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, clap::Subcommand)]
enum Kind {
    /// Routes of a service: one for each lane, taken by the route header, and stable for all the rest
    #[command(name = "virtualservice", visible_alias = "vs")]
    VirtualService(ServiceArgs),
    /// The versions of a service as subsets
    #[command(name = "destinationrule", visible_alias = "dr")]
    DestinationRule(RuleArgs),
}

/// What both kinds are made of.
#[derive(Debug, clap::Args)]
struct CommonArgs {
    /// Name of the Kubernetes service
    service: String,
    /// Namespace of the service
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// Environment, such as `prod`: becomes the label `env` of the object and of the pods that are meant
    #[arg(long, value_name = "NAME", conflicts_with = "adopt")]
    env: Option<String>,
    /// Version of the service: its subset, and the labels of its pods, `version=NAME` if none are given.
    /// The first is where requests go that nothing else claims
    #[arg(long, value_name = "NAME[:LABEL=VALUE]", value_delimiter = ',')]
    subset: Vec<Subset>,
    /// Add lanes to the objects of a file instead of writing new ones; everything else in it is kept
    #[arg(long, requires = "file")]
    adopt: bool,
    /// File with the objects to adopt; `-` is standard input
    #[arg(short, long, value_name = "FILE", requires = "adopt")]
    file: Option<PathBuf>,
    /// Format of what is printed
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct ServiceArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Shares of the subsets in percent, in their order, for a mesh that divides by weight natively.
    /// Lanes of graylane need none
    #[arg(long, value_name = "80,20", value_delimiter = ',', conflicts_with = "adopt")]
    weight: Vec<u8>,
    /// A route for each subset after the first, taken by the route header; alone it means the subsets
    /// `stable` and `canary`
    #[arg(long)]
    canary: bool,
    /// Name of the service for clients outside the mesh; may be given several times
    #[arg(long, value_name = "HOST", conflicts_with = "adopt")]
    host: Vec<String>,
    /// Gateway that serves it besides the mesh; may be given several times
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "adopt")]
    gateway: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct RuleArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// How callers encrypt
    #[arg(long, value_enum, value_name = "MODE", conflicts_with = "adopt")]
    tls_mode: Option<TlsMode>,
    /// The subsets `stable` and `canary`, if none are given
    #[arg(long)]
    canary: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
}

/// A subset as it is typed: `canary` or `canary:track=canary`.
#[derive(Clone, Debug)]
struct Subset(Version);

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let (common, made) = match &args.kind {
        Kind::VirtualService(args) => (&args.common, service(args)?),
        Kind::DestinationRule(args) => (&args.common, rule(args)?),
    };
    print(&match common.output {
        Format::Yaml => yaml(&made),
        Format::Json => json(&made),
    })?;
    Ok(Exit::Done)
}

fn service(args: &ServiceArgs) -> anyhow::Result<Vec<Value>> {
    let common = &args.common;
    if common.adopt {
        return adopted(common);
    }
    let mut plan = plan(common, args.canary)?;
    ensure!(
        args.weight.is_empty() || args.weight.len() == plan.versions.len(),
        "--weight gives {} share(s) for {} subset(s); give one for each",
        args.weight.len(),
        plan.versions.len()
    );
    let sum: u32 = args.weight.iter().map(|weight| u32::from(*weight)).sum();
    ensure!(args.weight.is_empty() || sum == 100, "--weight adds up to {sum}; make it 100");
    for gateway in &args.gateway {
        ensure!(gateway.contains('/'), "--gateway `{gateway}` has no namespace; write `istio-ingress/{gateway}`");
    }
    plan.weights.clone_from(&args.weight);
    plan.canary = if args.canary { Canary::Lanes } else { Canary::Without };
    plan.hosts.clone_from(&args.host);
    plan.gateways.clone_from(&args.gateway);
    Ok(vec![serde_json::to_value(virtual_service(&plan))?])
}

fn rule(args: &RuleArgs) -> anyhow::Result<Vec<Value>> {
    if args.common.adopt {
        return adopted(&args.common);
    }
    let plan = Plan { tls: args.tls_mode, ..plan(&args.common, args.canary)? };
    Ok(vec![serde_json::to_value(destination_rule(&plan))?])
}

fn plan(common: &CommonArgs, canary: bool) -> anyhow::Result<Plan> {
    for (what, name) in [("the service", &common.service), ("--namespace", &common.namespace)] {
        ensure!(is_label(name), "{what} `{name}` is no name; use letters, digits and dashes, such as `orders`");
    }
    Ok(Plan {
        service: common.service.clone(),
        namespace: common.namespace.clone(),
        env: common.env.clone(),
        versions: versions(common, canary)?,
        ..Plan::default()
    })
}

fn versions(common: &CommonArgs, canary: bool) -> anyhow::Result<Vec<Version>> {
    let mut versions: Vec<Version> = common.subset.iter().map(|subset| subset.0.clone()).collect();
    if versions.is_empty() {
        versions.push(Version::named(STABLE));
        versions.extend(canary.then(|| Version::named("canary")));
    }
    for (at, version) in versions.iter().enumerate() {
        let is_new = versions.iter().take(at).all(|earlier| earlier.name != version.name);
        ensure!(is_new, "--subset `{}` is there twice; leave one out", version.name);
    }
    Ok(versions)
}

/// The objects of the file with lanes: VirtualServices and DestinationRules of the service; all others
/// stay as they are.
fn adopted(common: &CommonArgs) -> anyhow::Result<Vec<Value>> {
    let file = common.file.as_deref().context("--adopt needs -f")?;
    let versions = versions(common, true)?;
    let lanes: Vec<String> = versions.iter().filter(|one| !one.is_stable()).map(|one| one.name.clone()).collect();
    ensure!(!lanes.is_empty(), "no lane is named; add one such as `--subset stable,canary`");
    let mut made = objects(&read(file)?).with_context(|| format!("cannot read {}", file.display()))?;
    let mut found = 0;
    for object in &mut made {
        found += u32::from(adopt(object, common, &lanes, &versions)?);
    }
    if found == 0 {
        bail!(
            "{} holds no VirtualService with a route to {service}, and no DestinationRule of it in namespace {}; \
             `graylane generate` without --adopt makes them",
            file.display(),
            common.namespace,
            service = common.service,
        );
    }
    Ok(made)
}

fn adopt(object: &mut Value, common: &CommonArgs, lanes: &[String], versions: &[Version]) -> anyhow::Result<bool> {
    let is = |kind: &str| {
        object.get("kind").is_some_and(|value| value == kind)
            && object
                .get("apiVersion")
                .and_then(Value::as_str)
                .is_some_and(|one| one.starts_with("networking.istio.io/"))
    };
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if is("VirtualService") {
        let mut service: VirtualService =
            serde_path_to_error::deserialize(&*object).with_context(|| format!("VirtualService {name}"))?;
        let notes = adopt_service(&mut service, &common.namespace, &common.service, lanes);
        for note in notes.iter().flatten() {
            eprintln!("VirtualService {name}: {note}");
        }
        if notes.is_some() {
            *object = serde_json::to_value(service)?;
        }
        return Ok(notes.is_some());
    }
    if is("DestinationRule") {
        let mut rule: DestinationRule =
            serde_path_to_error::deserialize(&*object).with_context(|| format!("DestinationRule {name}"))?;
        let is_it = adopt_rule(&mut rule, &common.namespace, &common.service, versions);
        if is_it {
            *object = serde_json::to_value(rule)?;
        }
        return Ok(is_it);
    }
    Ok(false)
}

fn read(file: &Path) -> anyhow::Result<String> {
    let text =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    text.with_context(|| format!("cannot read {}", file.display()))
}

/// Whether the API server takes it as the name of a service, a namespace or a label.
fn is_label(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    name.len() <= 63
        && bytes.first().copied().is_some_and(is_plain)
        && bytes.last().copied().is_some_and(is_plain)
        && bytes.iter().all(|byte| is_plain(*byte) || *byte == b'-')
}

// === impl Subset ===

impl FromStr for Subset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, label) = text.split_once(':').map_or((text, None), |(name, label)| (name, Some(label)));
        if !is_label(name) {
            return Err(format!("`{name}` is no name of a lane; use letters, digits and dashes, such as `canary`"));
        }
        let Some(label) = label else { return Ok(Self(Version::named(name))) };
        match label.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                Ok(Self(Version::labelled(name, BTreeMap::from([(key.to_owned(), value.to_owned())]))))
            }
            _ => Err(format!("`{label}` is no label; write `{name}:version=2026-11`")),
        }
    }
}
