//! Reading and writing objects for commands that a person waits for.

use anyhow::Context;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::Value;

use crate::istio::MANAGER;
use crate::istio::object::{envoy_filter, wasm_plugin};

/// What a command changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum DryRun {
    /// Everything that it says.
    None,
    /// Nothing; nothing is sent.
    Client,
    /// Nothing; the API server is asked whether it would take it.
    Server,
}

/// The flag `--dry-run`, with kubectl's values.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct DryRunArgs {
    /// Say what would be done and do nothing; `server` has the API server check it
    #[arg(long, value_enum, value_name = "MODE", num_args = 0..=1, require_equals = true,
        default_value = "none", default_missing_value = "client")]
    pub(super) dry_run: DryRun,
}

/// The objects of one cluster.
#[derive(Clone)]
pub(super) struct Mesh {
    pub(super) client: Client,
    pub(super) dry_run: DryRun,
}

// === impl Mesh ===

impl Mesh {
    /// The objects of a kind, of one namespace or of all. A kind that the cluster does not know has none.
    pub(super) async fn list(&self, kind: &ApiResource, namespace: Option<&str>) -> anyhow::Result<Vec<DynamicObject>> {
        let api = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, kind),
            None => Api::all_with(self.client.clone(), kind),
        };
        let listed = match api.list(&ListParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
            listed => listed.with_context(|| format!("cannot list {}", kind.plural))?,
        };
        // Items of a list do not say what they are.
        let typed = |mut object: DynamicObject| {
            object.types =
                Some(kube::core::TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() });
            object
        };
        Ok(listed.items.into_iter().map(typed).collect())
    }

    /// EnvoyFilters and WasmPlugins of a namespace, or of all.
    pub(super) async fn filters(&self, namespace: Option<&str>) -> anyhow::Result<Vec<DynamicObject>> {
        let mut objects = self.list(&envoy_filter(), namespace).await?;
        objects.extend(self.list(&wasm_plugin(), namespace).await?);
        Ok(objects)
    }

    /// Writes an object whole: replaces the version that it names, or creates it where it names none.
    pub(super) async fn write(&self, kind: &ApiResource, object: &DynamicObject) -> anyhow::Result<()> {
        let name = name(object);
        let api = self.api(kind, object.metadata.namespace.as_deref().unwrap_or_default());
        if self.dry_run == DryRun::Client {
            return Ok(());
        }
        let written = if object.metadata.resource_version.is_some() {
            let mut params = PatchParams::apply(MANAGER).force();
            params.dry_run = self.dry_run == DryRun::Server;
            api.patch(name, &params, &Patch::Apply(object)).await
        } else {
            let params =
                PostParams { dry_run: self.dry_run == DryRun::Server, field_manager: Some(MANAGER.to_owned()) };
            api.create(&params, object).await
        };
        written.map(drop).with_context(|| format!("cannot write {} {name}", kind.kind))
    }

    /// Merges a patch into an object.
    pub(super) async fn merge(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> anyhow::Result<()> {
        if self.dry_run == DryRun::Client {
            return Ok(());
        }
        let params = PatchParams {
            dry_run: self.dry_run == DryRun::Server,
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let merged = self.api(kind, namespace).patch(name, &params, &Patch::Merge(patch)).await;
        merged.map(drop).with_context(|| format!("cannot change {} {name} of {namespace}", kind.kind))
    }

    /// Deletes an object; one that is gone already is fine.
    pub(super) async fn delete(&self, kind: &ApiResource, namespace: &str, name: &str) -> anyhow::Result<()> {
        if self.dry_run == DryRun::Client {
            return Ok(());
        }
        let params = DeleteParams { dry_run: self.dry_run == DryRun::Server, ..DeleteParams::default() };
        match self.api(kind, namespace).delete(name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted.map(drop).with_context(|| format!("cannot delete {} {name} of {namespace}", kind.kind)),
        }
    }

    fn api(&self, kind: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, kind)
    }
}

/// Name of an object; empty if it has none.
pub(super) fn name(object: &DynamicObject) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

// === impl DryRun ===

impl DryRun {
    /// What kubectl adds to a line that was not meant.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}
