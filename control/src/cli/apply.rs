//! `graylane apply -f FILE`: releases to a cluster, once nothing is wrong with any of them.

mod written;

use anyhow::{Context, bail};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::files::Files;
use super::format::{Format, full_name, one_or_many};
use super::home::{MANAGER, block_on, told};
use super::kube::Flags;
use super::lint::problems;
use super::{Exit, print};
use crate::cluster::gray_release;
use crate::release::finding::{Finding, Findings};
use crate::release::read::Source;
use crate::view::kept::Kept;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// Change nothing: `client` asks nobody, `server` lets the API server judge
    #[arg(long, value_enum, default_value_t = DryRun::None)]
    dry_run: DryRun,
    /// Take over fields that somebody else owns
    #[arg(long)]
    force_conflicts: bool,
    /// Who owns the fields
    #[arg(long, value_name = "NAME", default_value = MANAGER)]
    field_manager: String,
    /// Format of what is printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    kube: Flags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DryRun {
    None,
    Client,
    Server,
}

/// What became of a release.
struct Applied {
    object: Value,
    what: &'static str,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    block_on(async {
        let cluster = match args.dry_run {
            DryRun::Client => None,
            _ => Some(args.kube.client().await?),
        };
        let namespace = match &cluster {
            Some((_, namespace)) => namespace.clone(),
            None => args.kube.namespace.clone().unwrap_or_else(|| "default".into()),
        };
        let sources = checked(args, &namespace)?;
        let mut all = Vec::new();
        for source in &sources {
            let applied = match &cluster {
                Some((client, _)) => apply(args, client, source).await?,
                None => Applied { object: written::object(source)?, what: "checked" },
            };
            if args.output.is_text() {
                print(&format!("{}\n", line(args, &source.written.metadata.name, applied.what)))?;
            }
            all.push(applied.object);
        }
        if !args.output.is_text() {
            let all: Result<Vec<Kept>, _> = all.into_iter().map(Kept::of).collect();
            print(&one_or_many(&all?, args.output)?)?;
        }
        Ok(Exit::Done)
    })
}

fn line(args: &Args, name: &str, what: &str) -> String {
    let note = match args.dry_run {
        DryRun::None => "",
        DryRun::Client => " (dry run)",
        DryRun::Server => " (server dry run)",
    };
    format!("{} {what}{note}", full_name(name))
}

/// The releases of the files, each in its namespace, with nothing wrong with any of them.
fn checked(args: &Args, namespace: &str) -> anyhow::Result<Vec<Source>> {
    let (mut sources, mut findings) = args.files.read();
    for source in &mut sources {
        findings.extend(place(source, namespace, args.kube.namespace.as_deref()));
    }
    findings.extend(problems(sources.clone(), false));
    if findings.is_empty() { Ok(sources) } else { Err(Findings(findings).into()) }
}

/// A release without a namespace goes to the one that is meant; one with another than -n says is most
/// likely a mistake.
fn place(source: &mut Source, namespace: &str, named: Option<&str>) -> Option<Finding> {
    let written = source.untyped().and_then(|raw| raw.pointer("/metadata/namespace").cloned());
    if written.is_none() {
        source.written.metadata.namespace = namespace.to_owned();
        return None;
    }
    let own = source.written.metadata.namespace.clone();
    let named = named.filter(|named| *named != own)?;
    let mend = "leave one of the two out";
    Some(source.finding("metadata.namespace", format!("`{own}` is not `{named}`, which -n names"), mend))
}

async fn apply(args: &Args, client: &kube::Client, source: &Source) -> anyhow::Result<Applied> {
    let metadata = &source.written.metadata;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &metadata.namespace, &gray_release());
    let before = api.get_opt(&metadata.name).await.map_err(told)?;
    let params = PatchParams {
        dry_run: args.dry_run == DryRun::Server,
        force: args.force_conflicts,
        field_manager: Some(args.field_manager.clone()),
        ..PatchParams::default()
    };
    let patch = Patch::Apply(written::object(source)?);
    let after = match api.patch(&metadata.name, &params, &patch).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            bail!("{}\nsomebody else owns that; --force-conflicts takes it over", status.message)
        }
        other => other.map_err(told).with_context(|| format!("{} cannot be applied", full_name(&metadata.name)))?,
    };
    let what = match before {
        None => "created",
        Some(before) if before.metadata.generation == after.metadata.generation => "unchanged",
        Some(_) => "configured",
    };
    Ok(Applied { object: json!(after), what })
}
