//! The town of the stories: services, a gateway, and pods that nobody really runs.
//!
//! On this bed the API server is real and the proxies are not: a task gives each pod an address and
//! answers there as its Envoy would, with the generation of the documents that are held for it. The tests
//! on a mesh have real ones.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::StreamExt;
use graylane::build::Side;
use graylane::istio::config::Emitter;
use graylane::istio::held::Held;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use graylane_tests::bed::Bed;

/// Pods of all towns of this process have addresses of this network.
const NETWORK: &str = "10.77.0.1/16";
const METRICS: u16 = 15090;

static ADDRESSES: AtomicU16 = AtomicU16::new(2);

/// A town.
pub struct Town {
    tasks: Vec<AbortHandle>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Config objects by `namespace/name`.
    configs: Mutex<BTreeMap<String, DynamicObject>>,
    /// What each side was given last: a proxy keeps its config when the object goes.
    last: Mutex<BTreeMap<(String, Side), u64>>,
    /// Beginnings of names of pods that do not answer.
    cut: Mutex<BTreeSet<String>>,
}

// === impl Town ===

impl Town {
    /// Builds the town and waits until its pods run.
    pub fn build(bed: &Bed) -> Result<Self> {
        let added = Command::new("ip").args(["addr", "add", NETWORK, "dev", "lo"]).output().context("run ip")?;
        let text = String::from_utf8_lossy(&added.stderr);
        ensure!(added.status.success() || text.contains("File exists") || text.contains("already assigned"), "{text}");
        bed.apply(&std::fs::read_to_string(graylane_tests::paths::root().join("istio/install/graylane.yaml"))?)?;
        bed.apply(include_str!("town.yaml"))?;
        let state = Arc::new(State::default());
        let tasks = bed.block_on(async {
            let pods = tokio::spawn(run_pods(bed.client(), Arc::clone(&state))).abort_handle();
            let configs = tokio::spawn(hear_configs(bed.client(), Arc::clone(&state))).abort_handle();
            vec![pods, configs]
        });
        let town = Self { tasks, state };
        bed.kubectl(&["rollout", "status", "deployment", "--namespace=shop", "--timeout=90s"])?;
        bed.kubectl(&["rollout", "status", "deployment", "--namespace=edge", "--timeout=90s"])?;
        Ok(town)
    }

    /// From now on the proxies of these pods do not answer.
    pub fn cut_off(&self, beginning: &str) {
        lock(&self.state.cut).insert(beginning.into());
    }

    /// All proxies answer again.
    pub fn mend(&self) {
        lock(&self.state.cut).clear();
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Gives pods their addresses and proxies, as a kubelet would.
async fn run_pods(client: Client, state: Arc<State>) {
    let mut events = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()).boxed();
    let mut proxies: BTreeMap<String, AbortHandle> = BTreeMap::new();
    while let Some(event) = events.next().await {
        let pod = match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => pod,
            Ok(Event::Delete(pod)) => {
                proxies.remove(&pod.uid().unwrap_or_default()).iter().for_each(AbortHandle::abort);
                continue;
            }
            Ok(_) => continue,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        if pod.metadata.deletion_timestamp.is_some() {
            let now = kube::api::DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
            let _ = api.delete(&pod.name_any(), &now).await;
        } else if let Entry::Vacant(proxy) = proxies.entry(pod.uid().unwrap_or_default()) {
            let [high, low] = ADDRESSES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            let address = Ipv4Addr::new(10, 77, high, low);
            let answers = tokio::spawn(answer(address, namespace, pod.name_any(), Arc::clone(&state)));
            proxy.insert(answers.abort_handle());
            run(&api, &pod.name_any(), address).await;
        }
    }
}

/// Puts a pod on the node, and says that it runs there. A pod that has gone meanwhile is none of ours.
async fn run(api: &Api<Pod>, name: &str, address: Ipv4Addr) {
    // Endpoints are made only of pods that are on a node.
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "town"}});
    let _ = api.create_subresource::<Value, Value>("binding", name, &PostParams::default(), &binding).await;
    let ready = json!({"type": "Ready", "status": "True"});
    let status = json!({"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]});
    let patch = Patch::Merge(json!({"status": status}));
    let _ = api.patch_status(name, &PatchParams::default(), &patch).await;
}

async fn hear_configs(client: Client, state: Arc<State>) {
    let api: Api<DynamicObject> = Api::all_with(client, &Emitter::EnvoyFilter.kind());
    let mut events = watcher(api, watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let namespace = object.namespace().unwrap_or_default();
                let held = Held::read(Emitter::EnvoyFilter, [&object]);
                for side in Side::ALL.into_iter().filter(|side| held.has(*side)) {
                    let generation = held.document(side).map(|document| document.generation);
                    let mut last = lock(&state.last);
                    match generation {
                        Some(generation) => last.insert((namespace.clone(), side), generation),
                        None => last.remove(&(namespace.clone(), side)),
                    };
                }
                lock(&state.configs).insert(format!("{namespace}/{}", object.name_any()), object);
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Answers as the Envoy of a pod with two workers.
async fn answer(address: Ipv4Addr, namespace: String, pod: String, state: Arc<State>) -> Result<()> {
    let listener = TcpListener::bind((address, METRICS)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (namespace, pod, state) = (namespace.clone(), pod.clone(), Arc::clone(&state));
        let page = service_fn(move |_: Request<hyper::body::Incoming>| {
            let is_cut = lock(&state.cut).iter().any(|beginning| pod.starts_with(beginning));
            let page = page(&namespace, &state);
            async move {
                if is_cut {
                    std::future::pending::<()>().await;
                }
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(page))))
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), page));
    }
}

fn page(namespace: &str, state: &State) -> String {
    let mut page = String::from("envoy_server_concurrency{} 2\n");
    for ((_, side), generation) in lock(&state.last).iter().filter(|((at, _), _)| at == namespace) {
        let role = side.label();
        page.push_str(&format!("graylane_config_generation{{role=\"{role}\"}} {generation}\n"));
        page.push_str(&format!("graylane_config_workers{{role=\"{role}\"}} 3\n"));
    }
    page
}
