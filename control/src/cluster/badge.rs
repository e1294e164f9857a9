//! The label that only the leader's pod wears. Service `graylane-api` selects by it: only the leader counts, so
//! only it can answer. Others are ready all the same, or no Deployment of two would ever be rolled out.
//!
//! The pod that wears it is found and mended again and again: a leader that was killed could not take it off, and a
//! container that starts again finds its pod as it left it. Whoever is asked without leading says so by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::MANAGER;
use super::call::answer;
use crate::causes::chain;
use crate::engine::seams::SeamError;

/// The label; its value is always `true`.
pub const LEADER: &str = "graylane.io/leader";
/// Time between looks at who wears it.
const SWEEP: Duration = Duration::from_secs(10);
/// Time before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long it is tried to be taken off in the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// The label of this instance's pod.
#[derive(Debug)]
pub struct Badge {
    wanted: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What has to be done about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    PutOn(String),
    TakeOff(String),
}

// === impl Badge ===

impl Badge {
    /// For the pod of this name, which does not wear it yet. Where there is no such pod, nothing is done.
    pub fn start(client: Client, namespace: &str, identity: String) -> Self {
        let (wanted, wants) = watch::channel(false);
        let task = tokio::spawn(keep(Api::namespaced(client, namespace), identity, wants));
        Self { wanted, task }
    }

    /// Says whether the pod shall wear it; that is done in the background.
    pub fn wear(&self, wears: bool) {
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, wears) != wears);
    }

    /// Takes it off, for good.
    pub async fn take_off(self) {
        self.wear(false);
        drop(self.wanted);
        if tokio::time::timeout(FAREWELL, self.task).await.is_err() {
            tracing::warn!("the pod keeps the label {LEADER} until another one leads");
        }
    }
}

/// Keeps the label where it belongs, until nobody wants anything any more.
async fn keep(pods: Api<Pod>, identity: String, mut wants: watch::Receiver<bool>) {
    let mut told = String::new();
    loop {
        let is_last = wants.has_changed().is_err();
        let wears = *wants.borrow_and_update();
        let next = match arrange(&pods, &identity, wears).await {
            Ok(()) => {
                told.clear();
                SWEEP
            }
            Err(error) => {
                let why = chain(&error);
                if told != why {
                    tracing::warn!(why, "the Service of the analysis API may not find who leads: label {LEADER}");
                    told = why;
                }
                AGAIN
            }
        };
        if is_last {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            // An error is the end: once more, then.
            _ = wants.changed() => {}
        }
    }
}

async fn arrange(pods: &Api<Pod>, identity: &str, wears: bool) -> Result<(), SeamError> {
    let wearers = ListParams::default().labels(&format!("{LEADER}=true"));
    let found = answer("the pods of graylane", pods.list(&wearers)).await?;
    let names = found.items.iter().map(ResourceExt::name_any).collect();
    for change in changes(&names, identity, wears) {
        let (name, value) = match &change {
            Change::PutOn(name) => (name, json!("true")),
            Change::TakeOff(name) => (name, Value::Null),
        };
        let patch = Patch::Merge(json!({"metadata": {"labels": {LEADER: value}}}));
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        match answer(&format!("pod {name}"), pods.patch_metadata(name, &params, &patch)).await {
            // It has gone, or this instance runs in no pod.
            Ok(_) | Err(SeamError::Gone { .. }) => tracing::debug!(?change, "leader's label"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What to do where these pods wear the label. Nobody but the leader touches other pods; it puts its own on first.
fn changes(wearers: &BTreeSet<String>, identity: &str, wears: bool) -> Vec<Change> {
    let own = identity.to_owned();
    match (wears, wearers.contains(identity)) {
        (true, has) => {
            let others = wearers.iter().filter(|name| *name != identity);
            let others = others.map(|name| Change::TakeOff(name.clone()));
            (!has).then_some(Change::PutOn(own)).into_iter().chain(others).collect()
        }
        (false, true) => vec![Change::TakeOff(own)],
        (false, false) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes_of(wearers: &[&str], wears: bool) -> Vec<Change> {
        changes(&wearers.iter().map(|name| (*name).to_owned()).collect(), "a", wears)
    }

    #[test]
    fn the_leader_wears_it_and_takes_it_from_those_who_led_before() {
        assert_eq!(changes_of(&["b"], true), [Change::PutOn("a".into()), Change::TakeOff("b".into())]);
        assert_eq!(changes_of(&["a"], true), []);
    }

    #[test]
    fn who_does_not_lead_touches_no_pod_but_its_own() {
        assert_eq!(changes_of(&["a", "b"], false), [Change::TakeOff("a".into())]);
        assert_eq!(changes_of(&["b"], false), []);
    }
}
