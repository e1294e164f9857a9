//! Who leads. Only the leader changes anything; the others keep their caches warm.
//!
//! The lease is held by kube-lease-manager. Beside it we watch the lease ourselves: after a pause of the
//! whole process, or while the API server is away, a lease that has run out must count as lost before
//! anybody has answered. What a deposed leader still has on its way is refused by the fences.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Api, Client};
use kube_lease_manager::LeaseManagerBuilder;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Wake;
use super::cache::{Cache, Silence, trim_fields};

/// How long a lease holds, in seconds. Another instance takes over after this, at the latest.
const DURATION: u64 = 9;
/// The holder renews so many seconds before the end.
const GRACE: u64 = 3;
/// A lease that ends sooner than this is as good as lost: a change could come too late.
const MARGIN: SignedDuration = SignedDuration::from_millis(500);
/// Time between attempts to make the lease.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the lease is tried to be given back.
const FAREWELL: Duration = Duration::from_secs(5);

/// The part of this instance in the election.
#[derive(Debug)]
pub struct Leadership {
    identity: String,
    holds: watch::Receiver<bool>,
    lease: Arc<Cache<Lease>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

// === impl Leadership ===

impl Leadership {
    /// Takes part in the election. The loop is woken when it is won or lost.
    pub fn start(
        (calls, watches): (&Client, &Client),
        (namespace, name): (&str, &str),
        identity: String,
        wake: &Wake,
    ) -> Self {
        let only = format!("metadata.name={name}");
        let api: Api<Lease> = Api::namespaced(watches.clone(), namespace);
        let lease = Cache::start(&(), vec![api], Some(&only), wake, trim_fields, |_| Box::new(Silence));
        let wanted = Wanted {
            client: calls.clone(),
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.clone(),
        };
        let (says, holds) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(take_part(wanted, says, stopped, wake.clone()));
        Self { identity, holds, lease, stop, task }
    }

    /// Whether this instance leads at this time.
    pub fn leads(&self, now: Timestamp) -> bool {
        *self.holds.borrow() && self.lease.all().iter().any(|lease| is_held(lease, &self.identity, now))
    }

    /// Gives the lease back, so that the next one need not wait for its end.
    pub async fn resign(self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(FAREWELL, self.task).await.is_err() {
            tracing::warn!("the lease could not be given back; it runs out by itself");
        }
    }
}

/// The lease that is wanted.
struct Wanted {
    client: Client,
    namespace: String,
    name: String,
    identity: String,
}

// === impl Wanted ===

impl Wanted {
    fn builder(&self) -> LeaseManagerBuilder {
        LeaseManagerBuilder::new(self.client.clone(), &self.name)
            .with_namespace(&self.namespace)
            .with_identity(&self.identity)
            .with_field_manager(format!("graylane-{}", self.identity))
            .with_duration(DURATION)
            .with_grace(GRACE)
    }
}

/// Whether a lease is held by somebody, and not about to end. Its times are the holder's own.
fn is_held(lease: &Lease, identity: &str, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else { return false };
    let duration = SignedDuration::from_secs(i64::from(spec.lease_duration_seconds.unwrap_or(0)));
    let end = spec.renew_time.as_ref().and_then(|renewed| renewed.0.checked_add(duration).ok());
    spec.holder_identity.as_deref() == Some(identity) && end.is_some_and(|end| now.duration_until(end) > MARGIN)
}

async fn take_part(wanted: Wanted, says: watch::Sender<bool>, mut stopped: watch::Receiver<bool>, wake: Wake) {
    // Made again and again until the API server is there.
    let manager = loop {
        match wanted.builder().build().await {
            Ok(manager) => break manager,
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "no lease yet; trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    };
    let (mut holds, task) = manager.watch().await;
    loop {
        tokio::select! {
            changed = holds.changed() => {
                if changed.is_err() {
                    break;
                }
                let leads = *holds.borrow_and_update();
                tracing::info!(leads, "the lease has changed");
                says.send_replace(leads);
                wake.up();
            }
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
    says.send_replace(false);
    // The manager gives the lease back when nobody listens any more.
    drop(holds);
    match task.await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "the lease was not given back"),
        Err(error) => tracing::error!(%error, "the keeper of the lease has ended"),
    }
    wake.up();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(holder: &str) -> Lease {
        serde_json::from_value(json!({"metadata": {"name": "graylane"}, "spec": {"holderIdentity": holder,
            "renewTime": "2026-11-23T04:00:00.000000Z", "leaseDurationSeconds": 9}}))
        .unwrap()
    }

    #[test]
    fn a_lease_counts_for_its_holder_until_shortly_before_its_end() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(is_held(&lease("a"), "a", at("2026-11-23T04:00:08Z")));
        assert!(!is_held(&lease("a"), "a", at("2026-11-23T04:00:08.6Z")));
        assert!(!is_held(&lease("a"), "a", at("2026-11-23T04:03:00Z")), "after a pause of the process");
        assert!(!is_held(&lease("a"), "b", at("2026-11-23T04:00:01Z")));
        assert!(!is_held(&Lease::default(), "a", at("2026-11-23T04:00:01Z")));
    }
}
