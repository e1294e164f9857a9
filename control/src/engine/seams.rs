//! What the engine needs of the world: where releases are kept, how config reaches proxies, and what
//! runs there. A cluster, a folder and the tests' memory each answer these traits.
//!
//! Questions (`fn`) are answered from what is at hand and never wait; only what changes the world is
//! `async`. Every change is fenced: it is refused when somebody else changed the same thing since.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use graylane_policy::raw::{RawConfig, RawGroup};

use super::Millis;
use super::documents;
use super::request::Request;
use super::rollout::Rollout;
use super::seen::{Arrival, Replicas, Workload};
use super::status::Status;
use crate::build::{Side, Version};
use crate::counts::Counted;
use crate::counts::question::Asked;
use crate::release::Release;
use crate::release::finding::{Finding, Findings};

/// A release as it is kept.
#[derive(Clone, Debug)]
pub struct Object {
    /// `namespace/name`.
    pub id: String,
    /// Unique over time, also when a release of the same name is made again.
    pub uid: String,
    /// What a change of the status must name: refused if the object has changed since.
    pub fence: String,
    /// Generation of the spec.
    pub generation: i64,
    /// When it was made.
    pub created_ms: Millis,
    /// True when it is to be deleted once its lanes have left the proxies.
    pub deleting: bool,
    /// True when it cannot disappear before the engine lets it go.
    pub held: bool,
    /// What it says, or what is wrong with it.
    pub spec: Result<Release, Findings>,
    /// `spec.paused`.
    pub paused: bool,
    /// The last request of a person.
    pub request: Option<Request>,
    /// What it has come to.
    pub status: Status,
}

/// Where documents run: one side of the opted-in proxies of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The namespace.
    pub namespace: String,
    /// The side.
    pub side: Side,
}

/// What a place shall run.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// A document with these groups. Without any it sends everything to stable, and says that it runs.
    Document(Vec<RawGroup>),
    /// The switch that needs no module: an RBAC filter without rules. It reports nothing, so it only
    /// replaces a document that was acknowledged, or one that nobody waits for.
    Inert,
}

/// Why something could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum SeamError {
    /// Somebody else has changed it since it was read.
    #[error("{what} was changed by somebody else")]
    Conflict {
        /// What.
        what: String,
    },
    /// Another instance leads by now, so it is that one's to change.
    #[error("{what} is left to the instance that leads now")]
    Deposed {
        /// What.
        what: String,
    },
    /// It is gone.
    #[error("{what} is gone")]
    Gone {
        /// What.
        what: String,
    },
    /// It would be refused again and again.
    #[error("{what} was refused")]
    Refused {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It can be tried again.
    #[error("{what} cannot be reached")]
    Away {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where releases are kept.
pub trait Store {
    /// Every release, as last heard or written. One that has not changed is best given as the same object
    /// again: then the engine sees at a glance that there is nothing new.
    fn releases(&self) -> Vec<Arc<Object>>;

    /// Replaces the status of an object and returns the object as it is then. New entries
    /// of its history become events for whoever watches.
    fn save(&self, object: &Object, status: &Status) -> impl Future<Output = Result<Object, SeamError>> + Send;

    /// Keeps the object from disappearing before [`Store::let_go`]; returns it as it is then.
    fn hold(&self, object: &Object) -> impl Future<Output = Result<Object, SeamError>> + Send;

    /// Lets a deleted object disappear.
    fn let_go(&self, object: &Object) -> impl Future<Output = Result<(), SeamError>> + Send;
}

/// How config reaches proxies.
pub trait Delivery {
    /// What brings a namespace to what it shall run, checked and not written yet.
    type Checked: Send;

    /// Makes the documents by which the places of one namespace run what they shall, and checks every one of them;
    /// whatever is not named keeps what it has. Nothing is written.
    ///
    /// The generation of a place never falls, not even when what was written is lost: `floor` is the
    /// highest that anybody remembers.
    ///
    /// # Errors
    /// [`SeamError::Refused`], with the document that no proxy would take.
    fn check(&self, namespace: &str, wanted: &BTreeMap<Place, Wanted>, floor: u64) -> Result<Self::Checked, SeamError>;

    /// Writes what was checked, as far as it differs from what is there. Returns the generation of each document
    /// that is in force; a document that is the same keeps its generation.
    fn deliver(&self, checked: Self::Checked) -> impl Future<Output = Result<BTreeMap<Place, u64>, SeamError>> + Send;

    /// Makes the next delivery to a namespace give every document a new generation, changed or not. This
    /// brings a filter back that crashed: it stays out of service until its config changes.
    fn renew(&self, namespace: &str);

    /// Whether the config of a namespace was stopped by hand; then nothing is delivered there.
    fn is_stopped(&self, namespace: &str) -> bool;

    /// The document that a place holds now: what was decided for it before, such as when its slots
    /// expire, or the groups of a release that has become unreadable since.
    fn held(&self, place: &Place) -> Option<RawConfig>;

    /// Where the documents of a release go.
    fn places_of(&self, release: &Release) -> BTreeSet<Place> {
        documents::mesh_places(release)
    }

    /// Every place that holds something.
    fn places(&self) -> Vec<Place>;

    /// Namespaces where what is held is no longer what was delivered last. Each is named once.
    fn disturbed(&self) -> Vec<String>;
}

/// A version that stable workloads shall get.
#[derive(Clone, Copy, Debug)]
pub enum Template<'a> {
    /// That of a lane.
    Lane(&'a str),
    /// The one they had, by service. The texts are those of [`Workload::revision`]; for a Deployment that
    /// is the pod-template-hash, since the number of a revision changes when it is taken up again.
    Revisions(&'a BTreeMap<String, String>),
}

/// What runs: workloads, and proxies.
pub trait Ground {
    /// A number that changes whenever an answer of this trait other than [`Ground::arrival`], or whether a
    /// namespace is stopped, may have changed. While it stays the same, a release in which nothing happens
    /// is only looked at now and then. `None` if nobody can say.
    fn stamp(&self) -> Option<u64> {
        None
    }

    /// What is wrong with what a release names.
    fn problems(&self, release: &Release) -> Vec<Finding>;

    /// The lane versions of its members.
    fn versions(&self, release: &Release) -> BTreeMap<Version, Replicas>;

    /// The same of versions that are known by name only, since the spec of their release cannot be read any more.
    /// Each of them is answered.
    fn replicas(&self, versions: &BTreeSet<Version>) -> BTreeMap<Version, Replicas>;

    /// Whether versions are what answers the probes of `proxies.yaml`; else they are the pods of a subset.
    fn probes(&self) -> bool {
        false
    }

    /// The stable versions of its members, by `service` label.
    fn stable(&self, release: &Release) -> BTreeMap<String, Replicas>;

    /// The stable workloads of its members, by service, against the version they shall get.
    fn workloads(&self, release: &Release, template: Template<'_>) -> BTreeMap<String, Workload>;

    /// The Rollouts that make pods of its members, by service.
    fn rollouts(&self, _release: &Release) -> BTreeMap<String, Rollout> {
        BTreeMap::new()
    }

    /// How the proxies of a release stand with these generations.
    fn arrival(&self, release: &Release, generations: &BTreeMap<Place, u64>) -> Arrival;

    /// Namespaces with proxies of the release that answer, but on which fewer workers run their document
    /// than did before, and not just for a moment: some have crashed.
    fn wounded(&self, release: &Release) -> BTreeSet<String>;

    /// What the proxies of a release have counted. Nothing where nobody counts.
    fn counts(&self, _release: &Release) -> Counted {
        Counted::default()
    }

    /// What Prometheus says to the questions of a release. Nothing where nobody asks.
    fn asked(&self, _release: &Release) -> Asked {
        Asked::default()
    }

    /// Gives the stable workload of a service the version of a lane.
    fn copy_template(
        &self,
        release: &Release,
        service: &str,
        lane: &str,
    ) -> impl Future<Output = Result<(), SeamError>> + Send;

    /// Gives the stable workload of a service the version it had at a revision.
    fn restore(
        &self,
        release: &Release,
        service: &str,
        revision: &str,
    ) -> impl Future<Output = Result<(), SeamError>> + Send;

    /// Makes the new version of a member's Rollout stable, whatever steps it has left.
    fn promote_rollout(&self, release: &Release, service: &str) -> impl Future<Output = Result<(), SeamError>> + Send {
        no_rollout(release, service)
    }

    /// Gives everything back to the stable version of a member's Rollout.
    fn abort_rollout(&self, release: &Release, service: &str) -> impl Future<Output = Result<(), SeamError>> + Send {
        no_rollout(release, service)
    }
}

/// Where nobody makes Rollouts, there is none to write to.
fn no_rollout(release: &Release, service: &str) -> impl Future<Output = Result<(), SeamError>> + Send + use<> {
    std::future::ready(Err(SeamError::Gone { what: format!("the Rollout of {service}.{}", release.namespace) }))
}
