//! Where releases are kept, as the command line sees it: an API server, or a folder.

mod candidates;
mod cluster;
mod folder;
mod ground;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use futures::StreamExt;
use futures::stream::BoxStream;

pub(super) use self::candidates::candidates;
use self::cluster::Cluster;
pub(super) use self::cluster::{MANAGER, told};
use self::folder::Folder;
use super::kube::Flags;
use crate::engine::Millis;
use crate::engine::request::Request;
use crate::view::ground::Ground;
use crate::view::kept::Kept;

/// Which releases are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Place {
    /// Folder of `graylane run --local` whose releases are meant, instead of a cluster's
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    local: Option<PathBuf>,
    #[command(flatten)]
    kube: Flags,
}

/// Where releases are kept.
pub(super) enum Home {
    Cluster(Box<Cluster>),
    Folder(Folder),
}

/// Why a release cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("there is no release `{name}` in {place}; `graylane list` shows those there are")]
pub(super) struct NoSuchRelease {
    name: String,
    place: String,
}

/// Tells when something may have changed.
pub(super) struct Changes(BoxStream<'static, ()>);

/// Runs a command that talks to the world.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Now.
pub(super) fn now() -> Millis {
    crate::clock::now_ms()
}

/// The name of a release as people type or copy it: `summer`, or `grayrelease.graylane.io/summer`.
pub(super) fn name(text: &str) -> &str {
    match text.split_once('/') {
        Some((kind, name)) if kind.starts_with("grayrelease") => name,
        _ => text,
    }
}

// === impl Home ===

impl Home {
    /// Opens the place; releases of every namespace are meant where `all` says so.
    pub(super) async fn open(place: &Place, all: bool) -> anyhow::Result<Self> {
        match &place.local {
            Some(_) if place.kube.names_a_cluster() => {
                bail!("--local means a folder, which has no cluster; leave the cluster's options out")
            }
            Some(dir) => Ok(Self::Folder(Folder::new(dir.clone(), place.kube.namespace.clone().filter(|_| !all)))),
            None => {
                let (client, namespace) = place.kube.client().await?;
                Ok(Self::Cluster(Box::new(Cluster::new(client, namespace, all))))
            }
        }
    }

    /// One release, by name.
    pub(super) async fn get(&self, name: &str) -> anyhow::Result<Kept> {
        match self {
            Self::Cluster(cluster) => cluster.get(name).await,
            Self::Folder(folder) => folder.get(name),
        }
    }

    /// All releases that are meant, by namespace and name.
    /// With a selector only those whose labels it takes.
    pub(super) async fn list(&self, selector: Option<&str>) -> anyhow::Result<Vec<Kept>> {
        let mut all = match self {
            Self::Cluster(cluster) => cluster.list(selector).await?,
            Self::Folder(_) if selector.is_some() => {
                bail!("--selector is a question to an API server, which a folder has not; name a release, or use -n")
            }
            Self::Folder(folder) => folder.list()?,
        };
        all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Ok(all)
    }

    /// What runs behind a release. Not being allowed to look is no reason to show nothing.
    pub(super) async fn ground(&self, kept: &Kept) -> Ground {
        match self {
            Self::Cluster(cluster) => cluster.ground(kept).await.unwrap_or_else(|error| {
                eprintln!("workloads are not shown: {error:#}");
                Ground::Unknown
            }),
            Self::Folder(folder) => folder.ground(),
        }
    }

    /// Asks something of a release.
    pub(super) async fn ask(&self, kept: &Kept, request: &Request) -> anyhow::Result<()> {
        match self {
            Self::Cluster(cluster) => cluster.ask(kept, request).await,
            Self::Folder(folder) => folder.ask(kept, request),
        }
    }

    /// Who handles requests here, in words.
    pub(super) fn handler(&self) -> &'static str {
        match self {
            Self::Cluster(_) => "the controller",
            Self::Folder(_) => "`graylane run --local`",
        }
    }

    /// Tells when a release, or any of those that are meant, may have changed.
    pub(super) fn changes(&self, name: Option<&str>) -> Changes {
        match self {
            Self::Cluster(cluster) => Changes(cluster.changes(name)),
            Self::Folder(_) => Changes(folder::changes()),
        }
    }
}

// === impl NoSuchRelease ===

impl NoSuchRelease {
    fn new(name: &str, place: impl Into<String>) -> Self {
        Self { name: name.into(), place: place.into() }
    }
}

// === impl Changes ===

impl Changes {
    /// Waits for a change, but never longer than this.
    pub(super) async fn next(&mut self, at_most: Duration) {
        // Whoever draws has enough of five pictures a second.
        tokio::time::sleep(Duration::from_millis(200).min(at_most)).await;
        let _ = tokio::time::timeout(at_most, self.0.next()).await;
    }
}
