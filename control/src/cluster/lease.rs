//! Who leads. Only the leader changes anything; the others keep their caches warm.
//!
//! The lease is held by kube-lease-manager. Beside it we watch the lease ourselves: after a pause of the
//! whole process, or while the API server is away, a lease that has run out must count as lost before
//! anybody has answered. What a deposed leader still has on its way is refused by the fences.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::Wake;
use super::cache::{Cache, Listener, trim_fields};
use crate::engine::seams::SeamError;

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
    held: Arc<Held>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// The right to change things, for as long as the lease is held.
///
/// A fence refuses what somebody else has changed since it was read. It does not refuse what is read anew by an
/// instance that was deposed in the middle of a pass and still acts on what it had decided before: so the
/// right is looked at between the reading of a fence and the write.
#[derive(Clone, Debug)]
pub struct Term(Option<Arc<Held>>);

#[derive(Debug)]
struct Held {
    identity: String,
    holds: watch::Receiver<bool>,
    lease: Arc<Cache<Lease>>,
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
        let freed = Arc::new(Notify::new());
        let lease = Cache::start(&(), vec![api], Some(&only), wake, trim_fields, |_| Box::new(Ear(Arc::clone(&freed))));
        let wanted = Wanted {
            client: calls.clone(),
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.clone(),
        };
        let (says, holds) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(take_part(wanted, says, stopped, freed, wake.clone()));
        Self { held: Arc::new(Held { identity, holds, lease }), stop, task }
    }

    /// Until when this instance leads, if it does at this time. Each renewal moves it.
    pub fn leads_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.held.until(now)
    }

    /// Its right to change things.
    pub fn term(&self) -> Term {
        Term(Some(Arc::clone(&self.held)))
    }

    /// Gives the lease back, so that the next one need not wait for its end.
    pub async fn resign(self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(FAREWELL, self.task).await.is_err() {
            tracing::warn!("the lease could not be given back; it runs out by itself");
        }
    }
}

// === impl Term ===

impl Term {
    /// Of somebody who has no rivals.
    pub fn without_end() -> Self {
        Self(None)
    }

    /// Refuses a change of `what` once the lease is lost.
    ///
    /// # Errors
    /// [`SeamError::Deposed`].
    pub fn check(&self, what: &str) -> Result<(), SeamError> {
        if self.holds() { Ok(()) } else { Err(SeamError::Deposed { what: what.into() }) }
    }

    /// Whether the lease is held now.
    pub fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|held| held.until(Timestamp::now()).is_some())
    }
}

// === impl Held ===

impl Held {
    fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let held = || self.lease.all().iter().find_map(|lease| held_until(lease, &self.identity, now));
        self.holds.borrow().then(held).flatten()
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

    /// A manager, which needs the API server to begin.
    async fn manager(&self) -> LeaseManager {
        loop {
            match self.builder().build().await {
                Ok(manager) => return manager,
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "no lease yet; trying again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Until when a lease is held by somebody; nothing where that is over, or about to be. Its times are the holder's own.
fn held_until(lease: &Lease, identity: &str, now: Timestamp) -> Option<Timestamp> {
    let spec = lease.spec.as_ref().filter(|spec| spec.holder_identity.as_deref() == Some(identity))?;
    let duration = SignedDuration::from_secs(i64::from(spec.lease_duration_seconds.unwrap_or(0)));
    let end = spec.renew_time.as_ref()?.0.checked_add(duration).ok()?.checked_sub(MARGIN).ok()?;
    (now < end).then_some(end)
}

/// Takes part until asked to stop, then gives the lease back.
async fn take_part(
    wanted: Wanted,
    says: watch::Sender<bool>,
    mut stopped: watch::Receiver<bool>,
    freed: Arc<Notify>,
    wake: Wake,
) {
    loop {
        let manager = tokio::select! {
            manager = wanted.manager() => manager,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let stop = async {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        if follow(&manager, &says, stop, &freed, &wake).await == End::Stopped {
            says.send_replace(false);
            if let Err(error) = manager.release().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the lease was not given back");
            }
            return;
        }
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Stopped,
    /// The lease became free while somebody else had it.
    Freed,
}

/// Says who leads. A manager that waits looks at the lease only when it should have ended; when it is
/// given back before, a new one sees that at once.
async fn follow(
    manager: &LeaseManager,
    says: &watch::Sender<bool>,
    stop: impl Future<Output = ()>,
    freed: &Notify,
    wake: &Wake,
) -> End {
    tokio::pin!(stop);
    loop {
        let is_leading = *says.borrow();
        tokio::select! {
            () = &mut stop => return End::Stopped,
            () = freed.notified(), if !is_leading => return End::Freed,
            changed = manager.changed() => match changed {
                Ok(leads) => {
                    tracing::info!(leads, "the lease has changed");
                    says.send_replace(leads);
                    wake.up();
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the lease cannot be looked at");
                    tokio::time::sleep(AGAIN).await;
                }
            },
        }
    }
}

/// Hears when the lease becomes free.
struct Ear(Arc<Notify>);

impl Listener<Lease> for Ear {
    fn hear(&mut self, event: &Event<Lease>) {
        let Event::Apply(lease) = event else { return };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        if holder.is_none_or(str::is_empty) {
            self.0.notify_one();
        }
    }
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
        let held = |by: &str, now: &str| held_until(&lease("a"), by, at(now));
        assert_eq!(held("a", "2026-11-23T04:00:08Z"), Some(at("2026-11-23T04:00:08.5Z")));
        assert_eq!(held("a", "2026-11-23T04:00:08.6Z"), None);
        assert_eq!(held("a", "2026-11-23T04:03:00Z"), None, "after a pause of the process");
        assert_eq!(held("b", "2026-11-23T04:00:01Z"), None);
        assert_eq!(held_until(&Lease::default(), "a", at("2026-11-23T04:00:01Z")), None);
    }
}
