//! `graylane render argo`: a release file in, what Argo Rollouts needs beside it out.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::argo::Plan;
use crate::build::Side;
use crate::cli::{Exit, print};
use crate::istio::manifest::yaml;
use crate::release::Release;
use crate::release::plan::PromotionStrategy;
use crate::release::read::read_file;
use crate::release::validate::check;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Release file with one release whose promotion is `argo`; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Service of the Rollout's pods; needed where the release has several members and none is named like
    /// the Rollout
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Name of the Rollout. Default: that of `spec.argo`, else the service's
    #[arg(long, value_name = "NAME")]
    rollout: Option<String>,
    /// Weights of the steps in percent, where Argo Rollouts leads
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_value = "5,20,50",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    weights: Vec<u8>,
    /// Where Argo Rollouts asks for verdicts
    #[arg(long, value_name = "URL", default_value = "http://graylane-api.graylane-system.svc:8090/metrics/analysis")]
    api: String,
    /// Secret in the release's namespace whose key `token` holds the token to ask with
    #[arg(long, value_name = "NAME", default_value = "graylane-token")]
    token_secret: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut checked = check(read_file(&args.file)?, &Side::ALL)?;
    let (Some(one), true) = (checked.pop(), checked.is_empty()) else {
        bail!("{} holds several releases; give one", args.file.display());
    };
    let release = one.release;
    if release.plan.promotion != PromotionStrategy::Argo {
        bail!("release {} is not promoted by Argo Rollouts; write `promotion: {{strategy: argo}}`", release.id());
    }
    let leader = release.plan.leader.clone();
    if leader.is_some() && release.plan.analysis.is_none() {
        let id = release.id();
        bail!("release {id} is not judged, so Argo Rollouts would ask for verdicts in vain; write `analysis: {{}}`");
    }
    let rollout = args.rollout.clone().or(leader);
    let service = service(&release, args.service.as_deref(), rollout.as_deref())?;
    let rollout = rollout.as_deref().unwrap_or(service);
    let (weights, api, secret) = (args.weights.as_slice(), args.api.as_str(), args.token_secret.as_str());
    let plan = Plan { release: &release, rollout, service, weights, api, secret };
    print(&yaml(&plan.objects()))?;
    Ok(Exit::Done)
}

fn service<'a>(release: &'a Release, asked: Option<&str>, rollout: Option<&str>) -> anyhow::Result<&'a str> {
    let find = |name: &str| release.members.iter().find(|member| member.service == name);
    if let Some(asked) = asked {
        let found = find(asked).with_context(|| format!("`{asked}` is no member of release {}", release.id()))?;
        return Ok(&found.service);
    }
    match (rollout.and_then(find), release.members.as_slice()) {
        (Some(found), _) => Ok(&found.service),
        (None, [only]) => Ok(&only.service),
        _ => bail!("the release has several members; say by --service whose pods the Rollout makes"),
    }
}
