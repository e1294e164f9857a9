//! Applying YAML of any kind.

use std::time::Duration;

use anyhow::{Context, Result};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{self, Scope};
use kube::{Client, Error};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// A CRD is served within a second of being applied.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn apply(client: &Client, yaml: &str) -> Result<()> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).context("read the YAML")?;
    for object in objects.into_iter().filter(|object| !object.is_null()) {
        let named = format!("{}/{}", object["kind"], object["metadata"]["name"]);
        apply_one(client, object).await.with_context(|| format!("apply {named}"))?;
    }
    Ok(())
}

async fn apply_one(client: &Client, object: Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object).context("an object has kind and metadata")?;
    let kind = GroupVersionKind::try_from(object.types.as_ref().unwrap_or(&TypeMeta::default()))?;
    let name = object.metadata.name.as_deref().context("no name")?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match write(client, &kind, name, &object).await {
            Err(error) if is_unknown_kind(&error) && Instant::now() < deadline => {}
            result => return Ok(result?),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// True also while the CRD has been applied and is not served yet.
fn is_unknown_kind(error: &Error) -> bool {
    match error {
        Error::Discovery(_) => true,
        Error::Api(status) => status.code == 404,
        _ => false,
    }
}

async fn write(client: &Client, kind: &GroupVersionKind, name: &str, object: &DynamicObject) -> Result<(), Error> {
    let (resource, capabilities) = discovery::pinned_kind(client, kind).await?;
    let api: Api<DynamicObject> = match (capabilities.scope, object.metadata.namespace.as_deref()) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
    };
    api.patch(name, &PatchParams::apply("bed").force(), &Patch::Apply(object)).await.map(drop)
}
