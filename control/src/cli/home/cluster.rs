//! Releases of a cluster.

use anyhow::Context;
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;

use super::{NoSuchRelease, ground};
use crate::cluster::gray_release;
use crate::engine::request::{ANNOTATION, Request};
use crate::view::ground::Ground;
use crate::view::kept::Kept;

/// Who writes what this command line writes.
pub(in crate::cli) const MANAGER: &str = "graylane-cli";

/// Releases of a cluster.
pub(in crate::cli) struct Cluster {
    client: Client,
    namespace: String,
    all: bool,
}

/// An error of the API server, with what to do about it where that is not plain.
pub(in crate::cli) fn told(error: kube::Error) -> anyhow::Error {
    let hint = match &error {
        kube::Error::Api(status) if status.code == 404 && status.message.contains("page not found") => {
            Some("this cluster does not know GrayRelease; `graylane crd | kubectl apply --server-side -f -` brings it")
        }
        kube::Error::Api(status) if status.code == 403 => Some("the API server does not allow it"),
        _ => None,
    };
    match hint {
        Some(hint) => anyhow::Error::new(error).context(hint),
        None => error.into(),
    }
}

// === impl Cluster ===

impl Cluster {
    pub(super) fn new(client: Client, namespace: String, all: bool) -> Self {
        Self { client, namespace, all }
    }

    fn releases(&self) -> Api<DynamicObject> {
        match self.all {
            true => Api::all_with(self.client.clone(), &gray_release()),
            false => Api::namespaced_with(self.client.clone(), &self.namespace, &gray_release()),
        }
    }

    pub(super) async fn get(&self, name: &str) -> anyhow::Result<Kept> {
        match self.releases().get_opt(name).await {
            Ok(Some(object)) => Ok(Kept::of(serde_json::to_value(object)?)?),
            // Nobody can tell a missing object from a missing kind by the answer to this question.
            Ok(None) => {
                self.releases().list(&ListParams::default().limit(1)).await.map_err(told)?;
                Err(NoSuchRelease::new(name, format!("namespace {}", self.namespace)).into())
            }
            Err(error) => Err(told(error)),
        }
    }

    /// A release that cannot be read is told of, and does not hide the others.
    pub(super) async fn list(&self, selector: Option<&str>) -> anyhow::Result<Vec<Kept>> {
        let params = ListParams { label_selector: selector.map(str::to_owned), ..ListParams::default() };
        let objects = self.releases().list(&params).await.map_err(told)?;
        let mut all = Vec::new();
        for mut object in objects {
            // Of the items of a list, the API server does not say what they are.
            object.types =
                Some(kube::core::TypeMeta { api_version: "graylane.io/v1alpha1".into(), kind: "GrayRelease".into() });
            match Kept::of(serde_json::to_value(object)?) {
                Ok(kept) => all.push(kept),
                Err(error) => eprintln!("{:#}", anyhow::Error::new(error)),
            }
        }
        Ok(all)
    }

    pub(super) async fn ground(&self, kept: &Kept) -> anyhow::Result<Ground> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), &kept.namespace);
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &kept.namespace);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &kept.namespace);
        let all = ListParams::default();
        let (services, deployments, pods) =
            futures::try_join!(services.list(&all), deployments.list(&all), pods.list(&all)).map_err(told)?;
        Ok(Ground::Workloads(ground::workloads(kept, &services.items, &deployments.items, &pods.items)))
    }

    /// A plain merge: it leaves alone what `apply` owns, and the next `apply` leaves this alone.
    pub(super) async fn ask(&self, kept: &Kept, request: &Request) -> anyhow::Result<()> {
        let text = serde_json::to_string(request)?;
        let patch = json!({"metadata": {"annotations": {ANNOTATION: text}}});
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &kept.namespace, &gray_release());
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let patched = api.patch(&kept.name, &params, &Patch::Merge(patch)).await.map_err(told);
        patched.with_context(|| format!("release `{}` cannot be asked", kept.name)).map(|_| ())
    }

    pub(super) fn changes(&self, name: Option<&str>) -> BoxStream<'static, ()> {
        let config = match name {
            Some(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
            None => watcher::Config::default(),
        };
        // A watch that breaks is begun again, later and later; meanwhile whoever waits looks now and then.
        watcher(self.releases(), config).default_backoff().map(|_| ()).boxed()
    }
}
