//! Releases of a folder. Nothing is locked: `graylane run --local` has the lock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;

use super::NoSuchRelease;
use crate::engine::request::Request;
use crate::local::kept;
use crate::local::store::modified_ms;
use crate::release::read::{Source, read_file};
use crate::view::ground::Ground;
use crate::view::kept::Kept;

/// A folder with releases.
pub(in crate::cli) struct Folder {
    dir: PathBuf,
    /// The only namespace that is meant, if not all of them.
    namespace: Option<String>,
}

/// Tells over and over that a file may have changed: looking at a folder costs next to nothing.
pub(super) fn changes() -> BoxStream<'static, ()> {
    futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some(((), ()))
    })
    .boxed()
}

// === impl Folder ===

impl Folder {
    pub(super) fn new(dir: PathBuf, namespace: Option<String>) -> Self {
        Self { dir, namespace }
    }

    pub(super) fn get(&self, name: &str) -> anyhow::Result<Kept> {
        let mut found: Vec<Kept> = self.list()?.into_iter().filter(|kept| kept.name == name).collect();
        if found.len() > 1 {
            let places: Vec<_> = found.iter().map(|kept| kept.namespace.as_str()).collect();
            bail!("there is a release `{name}` in several namespaces; name one by -n: {}", places.join(", "));
        }
        found.pop().ok_or_else(|| NoSuchRelease::new(name, self.dir.display().to_string()).into())
    }

    /// Files that cannot be read are told of, and do not hide the others.
    pub(super) fn list(&self) -> anyhow::Result<Vec<Kept>> {
        let mut all = Vec::new();
        for file in kept::release_files(&self.dir)? {
            match read_file(&file) {
                Ok(sources) => {
                    let is_meant = |source: &Source| self.is_meant(&source.written.metadata.namespace);
                    for source in sources.into_iter().filter(is_meant) {
                        all.push(self.kept(&file, &source)?);
                    }
                }
                Err(findings) => eprintln!("{findings}"),
            }
        }
        Ok(all)
    }

    fn is_meant(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|meant| meant == namespace)
    }

    fn kept(&self, file: &Path, source: &Source) -> anyhow::Result<Kept> {
        let metadata = &source.written.metadata;
        let id = format!("{}/{}", metadata.namespace, metadata.name);
        let status = kept::status(&self.dir, &id)?;
        let mut object = serde_json::to_value(&source.written)?;
        if let Some(status) = &status {
            object["status"] = json!(status);
        }
        let mut kept = Kept::of(object)?;
        let changed_ms = modified_ms(file);
        let began_ms = status.and_then(|status| status.history.first().map(|entry| entry.at_ms));
        kept.created_ms = Some(began_ms.unwrap_or(changed_ms));
        kept.generation = i64::try_from(changed_ms).ok();
        kept.asked = kept::request(&self.dir, &id)?;
        Ok(kept)
    }

    pub(super) fn ground(&self) -> Ground {
        Ground::Proxies(kept::proxy_names(&self.dir))
    }

    pub(super) fn ask(&self, kept: &Kept, request: &Request) -> anyhow::Result<()> {
        let id = format!("{}/{}", kept.namespace, kept.name);
        kept::ask(&self.dir, &id, request).with_context(|| format!("{id} cannot be asked"))
    }
}
