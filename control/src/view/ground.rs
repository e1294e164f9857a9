//! What runs behind a release, as far as somebody has looked.

use super::mark::Mark;
use crate::engine::Millis;

/// What runs behind a release.
#[derive(Clone, Debug, PartialEq)]
pub enum Ground {
    /// Nobody has looked, or nobody may.
    Unknown,
    /// The workloads of a cluster.
    Workloads(Vec<Workload>),
    /// The proxies of a folder, by name.
    Proxies(Vec<String>),
}

/// A workload behind a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Name of the service.
    pub service: String,
    /// Its lane, or `stable`.
    pub lane: String,
    /// Kind, such as `Deployment`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Replicas that are wanted, where somebody says so.
    pub wanted: Option<u32>,
    /// When it was made.
    pub created_ms: Option<Millis>,
    /// Its pods.
    pub pods: Vec<Pod>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// Containers that are ready.
    pub ready: u32,
    /// All its containers.
    pub containers: u32,
    /// Whether its endpoint may be used.
    pub serves: bool,
    /// What it does, such as `Running` or `CrashLoopBackOff`.
    pub state: String,
    /// How often its containers were started again.
    pub restarts: u32,
    /// When it was made.
    pub created_ms: Option<Millis>,
}

// === impl Workload ===

impl Workload {
    /// Pods that serve.
    pub fn serving(&self) -> u32 {
        u32::try_from(self.pods.iter().filter(|pod| pod.serves).count()).unwrap_or(u32::MAX)
    }

    /// Replicas that are wanted; as many as there are where nobody says so.
    pub fn wanted(&self) -> u32 {
        self.wanted.unwrap_or_else(|| u32::try_from(self.pods.len()).unwrap_or(u32::MAX))
    }
}

// === impl Pod ===

impl Pod {
    /// How it stands.
    pub fn mark(&self) -> Mark {
        match self.state.as_str() {
            _ if self.serves => Mark::Good,
            "Pending" | "ContainerCreating" | "PodInitializing" | "Terminating" | "Running" => Mark::Moving,
            "Succeeded" => Mark::None,
            _ => Mark::Bad,
        }
    }
}
