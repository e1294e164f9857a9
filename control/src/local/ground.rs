//! What runs in a folder: the Envoys and versions of `proxies.yaml`, as they answered last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::asks::Answers;
use super::proxies::{Proxies, Proxy};
use crate::build::{Side, Version};
use crate::counts::Counted;
use crate::counts::prometheus::Questions;
use crate::counts::question::Asked;
use crate::counts::scrape::{Form, Scraper, Target};
use crate::engine::seams::{Ground, Place, SeamError, Template};
use crate::engine::seen::{Arrival, Replicas, Workload};
use crate::release::finding::Finding;
use crate::release::{Release, STABLE};

/// A proxy is wounded once it has run with too few workers for this long.
const WOUNDED: Duration = Duration::from_secs(6);

/// What runs in a folder.
#[derive(Clone, Debug)]
pub struct Machines {
    proxies: Arc<Proxies>,
    answers: Answers,
    scraper: Scraper,
    questions: Questions,
    /// Since when a proxy that was whole has had too few workers.
    wounds: Arc<Mutex<BTreeMap<String, Wound>>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wound {
    was_whole: bool,
    since: Option<Instant>,
}

// === impl Machines ===

impl Machines {
    /// The proxies and what they answer.
    pub fn new(proxies: Arc<Proxies>, answers: Answers) -> Self {
        Self { proxies, answers, scraper: Scraper::default(), questions: Questions::default(), wounds: Arc::default() }
    }

    /// Of a version by its `service` label, which is the name of the service before the last dot.
    fn probed(&self, label: &str, lane: &str) -> Replicas {
        let name = label.rsplit_once('.').map_or(label, |(name, _)| name);
        let mine = |service: &str| service == name || service == label;
        let probes = self.proxies.probes.iter().filter(|probe| mine(&probe.service) && probe.lane == lane);
        let probes: Vec<_> = probes.collect();
        if probes.is_empty() {
            // Nobody said how to ask.
            return Replicas { ready: 1, wanted: 1 };
        }
        let ready = probes.iter().filter(|probe| self.answers.is_ready(probe)).count();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Replicas { ready: count(ready), wanted: count(probes.len()) }
    }

    /// Whether a proxy runs these generations, on every worker.
    fn runs(&self, proxy: &Proxy, generations: &BTreeMap<Place, u64>) -> bool {
        let mut wanted = generations.iter().filter(|(place, _)| self.has(proxy, place));
        wanted.all(|(place, generation)| {
            let runs = self.answers.runs(&proxy.name, place.side).unwrap_or_default();
            runs.generation >= *generation && runs.workers > u64::from(proxy.concurrency)
        })
    }

    fn has(&self, proxy: &Proxy, place: &Place) -> bool {
        proxy.filters.iter().any(|filter| filter.side == place.side)
    }

    /// Whether a proxy has lost workers for a while. One that does not answer is away, not wounded.
    fn is_wounded(&self, proxy: &Proxy) -> bool {
        let mut wounds = self.wounds.lock().unwrap_or_else(PoisonError::into_inner);
        let wound = wounds.entry(proxy.name.clone()).or_default();
        let runs: Option<Vec<_>> =
            proxy.filters.iter().map(|filter| self.answers.runs(&proxy.name, filter.side)).collect();
        let Some(runs) = runs else {
            *wound = Wound::default();
            return false;
        };
        if runs.iter().all(|runs| runs.generation > 0 && runs.workers > u64::from(proxy.concurrency)) {
            *wound = Wound { was_whole: true, since: None };
            return false;
        }
        let since = *wound.since.get_or_insert_with(Instant::now);
        wound.was_whole && since.elapsed() >= WOUNDED
    }
}

impl Ground for Machines {
    fn problems(&self, _: &Release) -> Vec<Finding> {
        Vec::new()
    }

    fn versions(&self, release: &Release) -> BTreeMap<Version, Replicas> {
        let lanes = release.members.iter().flat_map(|member| member.lanes.iter().map(move |lane| (member, lane)));
        lanes
            .map(|(member, lane)| {
                let version = Version { service: member.label.clone(), lane: lane.clone() };
                (version, self.probed(&member.label, lane))
            })
            .collect()
    }

    fn probes(&self) -> bool {
        true
    }

    fn replicas(&self, versions: &BTreeSet<Version>) -> BTreeMap<Version, Replicas> {
        versions.iter().map(|version| (version.clone(), self.probed(&version.service, &version.lane))).collect()
    }

    fn stable(&self, release: &Release) -> BTreeMap<String, Replicas> {
        release.members.iter().map(|member| (member.label.clone(), self.probed(&member.label, STABLE))).collect()
    }

    fn workloads(&self, release: &Release, _: Template<'_>) -> BTreeMap<String, Workload> {
        // Whether stable has the version, only the person who brings it there can say.
        let workload = Workload { revision: String::new(), has_template: false, rolled_out: true };
        release.members.iter().map(|member| (member.service.clone(), workload.clone())).collect()
    }

    fn arrival(&self, _: &Release, generations: &BTreeMap<Place, u64>) -> Arrival {
        let all: Vec<&Proxy> = self.proxies.proxies.iter().filter(|proxy| !proxy.filters.is_empty()).collect();
        let missing: Vec<String> =
            all.iter().filter(|proxy| !self.runs(proxy, generations)).map(|proxy| proxy.name.clone()).collect();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Arrival { expected: count(all.len()), acknowledged: count(all.len() - missing.len()), missing, known: true }
    }

    fn wounded(&self, _: &Release) -> BTreeSet<String> {
        let wounded = self.proxies.proxies.iter().any(|proxy| self.is_wounded(proxy));
        wounded.then(String::new).into_iter().collect()
    }

    fn counts(&self, release: &Release) -> Counted {
        let targets: Vec<Target> = self.proxies.proxies.iter().map(|proxy| target(proxy, release)).collect();
        self.scraper.look(&release.id(), &targets)
    }

    fn asked(&self, release: &Release) -> Asked {
        self.questions.look(release)
    }

    async fn copy_template(&self, _: &Release, service: &str, _: &str) -> Result<(), SeamError> {
        Err(no_workload(service))
    }

    async fn restore(&self, _: &Release, service: &str, _: &str) -> Result<(), SeamError> {
        Err(no_workload(service))
    }
}

/// What a proxy counts is on its admin interface. A gateway is beside nobody's pod.
fn target(proxy: &Proxy, release: &Release) -> Target {
    let is_gateway = proxy.filters.iter().any(|filter| filter.side == Side::Gateway);
    let beside = release.members.iter().find(|member| {
        let mine = [proxy.service.as_deref().unwrap_or(&proxy.name)];
        !is_gateway && mine.iter().any(|name| *name == member.service || *name == member.label)
    });
    Target {
        proxy: proxy.name.clone(),
        beside: beside.map(|member| member.label.clone()),
        address: Some(proxy.admin.clone()),
        form: Form::Admin,
    }
}

fn no_workload(service: &str) -> SeamError {
    SeamError::Gone { what: format!("the workload of {service}: a folder has none, so its") }
}
