//! What runs in the world: versions, proxies, Rollouts, and what is counted there.

use std::collections::{BTreeMap, BTreeSet};

use graylane::build::Version;
use graylane::counts::question::Asked;
use graylane::engine::documents;
use graylane::engine::rollout::{Rollout, RolloutState};
use graylane::engine::seams::{Ground, Place, SeamError, Template};
use graylane::engine::seen::{Arrival, Replicas, Workload};
use graylane::release::Release;
use graylane::release::finding::Finding;

use super::World;
use crate::traffic::Traffic;

impl Ground for World {
    fn stamp(&self) -> Option<u64> {
        let inner = self.lock();
        let mut hasher = xxhash_rust::xxh64::Xxh64::new(0);
        let answers =
            format!("{:?}{:?}{:?}{:?}{}", inner.lanes, inner.stable, inner.rollouts, inner.problems, inner.stopped);
        hasher.update(answers.as_bytes());
        hasher
            .update(format!("{:?}", inner.proxies.values().map(|proxy| proxy.crashed).collect::<Vec<_>>()).as_bytes());
        Some(hasher.digest())
    }

    fn problems(&self, _: &Release) -> Vec<Finding> {
        self.lock().problems.clone()
    }

    fn versions(&self, release: &Release) -> BTreeMap<Version, Replicas> {
        let mut inner = self.lock();
        *inner.looks.entry(release.id()).or_default() += 1;
        inner.lanes.clone()
    }

    fn probes(&self) -> bool {
        self.lock().probed
    }

    fn replicas(&self, versions: &BTreeSet<Version>) -> BTreeMap<Version, Replicas> {
        let inner = self.lock();
        versions.iter().map(|one| (one.clone(), inner.lanes.get(one).copied().unwrap_or_default())).collect()
    }

    fn stable(&self, _: &Release) -> BTreeMap<String, Replicas> {
        self.lock().stable.iter().map(|(service, one)| (service.clone(), one.replicas)).collect()
    }

    fn workloads(&self, release: &Release, template: Template<'_>) -> BTreeMap<String, Workload> {
        let inner = self.lock();
        let workload = |member: &graylane::release::Member| {
            let one = inner.stable.get(&member.label)?;
            let wanted = match template {
                Template::Lane(lane) => lane,
                Template::Revisions(revisions) => revisions.get(&member.service)?,
            };
            let (revision, has_template) = (one.template.clone(), one.template == wanted);
            Some((member.service.clone(), Workload { revision, has_template, rolled_out: !one.busy }))
        };
        release.members.iter().filter_map(workload).collect()
    }

    fn rollouts(&self, _: &Release) -> BTreeMap<String, Rollout> {
        self.lock().rollouts.clone()
    }

    fn arrival(&self, release: &Release, generations: &BTreeMap<Place, u64>) -> Arrival {
        let inner = self.lock();
        let places = documents::mesh_places(release);
        let mut arrival = Arrival { known: true, ..Arrival::default() };
        for (name, proxy) in &inner.proxies {
            let here = |place: &&Place| place.namespace == proxy.namespace && proxy.sides.contains(&place.side);
            if !places.iter().any(|place| here(&place)) {
                continue;
            }
            arrival.expected += 1;
            let mut mine = generations.iter().filter(|(place, _)| here(place));
            if mine.all(|(place, generation)| proxy.runs.get(place).is_some_and(|runs| runs >= generation)) {
                arrival.acknowledged += 1;
            } else {
                arrival.missing.push(name.clone());
            }
        }
        arrival
    }

    fn counts(&self, _: &Release) -> graylane::counts::Counted {
        self.lock().traffic.as_ref().map(Traffic::counted).unwrap_or_default()
    }

    fn asked(&self, _: &Release) -> Asked {
        self.lock().asked.clone()
    }

    fn wounded(&self, _: &Release) -> BTreeSet<String> {
        let inner = self.lock();
        inner.proxies.values().filter(|proxy| proxy.crashed).map(|proxy| proxy.namespace.clone()).collect()
    }

    async fn copy_template(&self, release: &Release, service: &str, lane: &str) -> Result<(), SeamError> {
        self.set_template(release, service, lane).await
    }

    /// As Argo Rollouts does it: subsets and replica sets are there already.
    async fn promote_rollout(&self, _: &Release, service: &str) -> Result<(), SeamError> {
        self.write_rollout(service, |rollout| {
            rollout.stable = rollout.newest.clone();
            rollout.state = RolloutState::Settled;
        })
        .await
    }

    async fn abort_rollout(&self, _: &Release, service: &str) -> Result<(), SeamError> {
        self.write_rollout(service, |rollout| rollout.state = RolloutState::Aborted).await
    }

    async fn restore(&self, release: &Release, service: &str, revision: &str) -> Result<(), SeamError> {
        self.set_template(release, service, revision).await
    }
}

impl World {
    async fn write_rollout(&self, service: &str, change: impl FnOnce(&mut Rollout)) -> Result<(), SeamError> {
        let dies = self.operate(service).await?;
        {
            let mut inner = self.lock();
            inner.writes += 1;
            change(inner.rollouts.get_mut(service).expect("a Rollout"));
        }
        self.end(dies).await;
        Ok(())
    }

    async fn set_template(&self, release: &Release, service: &str, template: &str) -> Result<(), SeamError> {
        let dies = self.operate(service).await?;
        {
            let mut inner = self.lock();
            inner.writes += 1;
            let member = release.members.iter().find(|member| member.service == service).expect("a member");
            inner.stable.get_mut(&member.label).expect("a workload").template = template.into();
        }
        self.end(dies).await;
        Ok(())
    }
}
