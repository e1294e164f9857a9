//! Which pods are to run: the API server says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, ResourceExt};
use tokio::sync::watch as channel;
use tokio::task::JoinSet;

use super::{Table, Yard};

/// What is known of a pod: its newest version, or none when it is gone.
type Known = Option<Pod>;

struct Pods {
    yard: Arc<Yard>,
    table: Arc<Table>,
    tasks: JoinSet<()>,
    wanted: BTreeMap<String, channel::Sender<Known>>,
    /// Of the list that is being read after a connection was lost.
    listed: BTreeSet<String>,
}

/// Follows the pods of the node for ever.
pub(super) async fn run(yard: Arc<Yard>, table: Arc<Table>) {
    let api: Api<Pod> = Api::all(yard.client.clone());
    let mut pods = Pods { yard, table, tasks: JoinSet::new(), wanted: BTreeMap::new(), listed: BTreeSet::new() };
    let config = watcher::Config::default().fields("spec.nodeName=bed");
    let mut events = std::pin::pin!(watch(api, config).default_backoff());
    loop {
        // The stream lists and watches again after each error.
        if let Ok(Some(event)) = events.try_next().await {
            pods.take(event);
        }
    }
}

// === impl Pods ===

impl Pods {
    fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(pod.uid());
                self.apply(pod);
            }
            Event::Apply(pod) => self.apply(pod),
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone: Vec<String> = self.wanted.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                gone.iter().for_each(|uid| self.remove(uid));
            }
            Event::Delete(pod) => {
                if let Some(uid) = pod.uid() {
                    self.remove(&uid);
                }
            }
        }
    }

    fn apply(&mut self, pod: Pod) {
        let Some(uid) = pod.uid() else { return };
        match self.wanted.get(&uid) {
            Some(sender) => drop(sender.send(Some(pod))),
            None => self.begin(uid, pod),
        }
    }

    fn remove(&mut self, uid: &str) {
        if let Some(sender) = self.wanted.remove(uid) {
            let _ = sender.send(None);
        }
    }

    fn begin(&mut self, uid: String, pod: Pod) {
        let (sender, newest) = channel::channel(Some(pod));
        self.wanted.insert(uid.clone(), sender);
        let (yard, table) = (self.yard.clone(), self.table.clone());
        self.tasks.spawn(async move { super::pod::live(yard, &table, uid, newest).await });
        // Tasks that have ended need no place.
        while self.tasks.try_join_next().is_some() {}
    }
}
