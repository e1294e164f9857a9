//! Two controllers behind the Service of the analysis API. Nobody on this bed balances connections: the stories read
//! the endpoints that the Service has, and take one of them as kube-proxy would.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::figures::say;
use graylane_tests::poll;
use serde_json::{Value, json};

use crate::stage::{Instance, SOON, SUMMER, Stage};
use crate::tokens::{ACCOUNTS, Api, token};

const PORT: u16 = 8090;
/// Asked so often while nothing changes: one instance of two that cannot answer would show.
const OFTEN: usize = 40;

/// An instance in a pod of the installed Deployment.
struct Replica {
    instance: Instance,
    address: SocketAddr,
}

#[test]
fn smoke_only_the_leader_is_asked_and_a_new_one_claims_nothing_that_it_has_not_seen() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let replicas = replicas(bed, &stage)?;
        bed.apply(&format!("{SUMMER}  analysis: {{}}\n"))?;
        bed.apply(ACCOUNTS)?;
        let token = token(bed, "asker", "--audience=graylane")?;
        let leader = leader(&stage, &replicas)?;
        let follower = replicas.iter().find(|one| one.address != leader.address).context("one replica")?;
        until_found_at(bed, leader.address)?;
        for _ in 0..OFTEN {
            ensure!(through_service(bed, &token)?["verdict"] != "pass", "nobody has counted anything");
        }
        let refused = Api { at: follower.address }.answers(Some(&token), 503)?;
        ensure!(refused["error"]["reason"].as_str().is_some_and(|why| why.contains("does not lead")), "{refused}");

        let killed = Instant::now();
        leader.instance.part.kill()?;
        let next = poll::until("an answer of the other one", SOON, || {
            let answer = through_service(bed, &token)?;
            ensure!(answer["verdict"] != "pass" && answer["value"].is_null(), "{answer}");
            endpoints(bed)
        })?;
        let after = format!("{:.1} s", killed.elapsed().as_secs_f64());
        say("the analysis API answers again after its leader was killed", after)?;
        ensure!(next == [follower.address], "{next:?}");
        for _ in 0..OFTEN {
            through_service(bed, &token)?;
        }
        follower.instance.was_never_forbidden()
    });
}

#[test]
fn a_leader_that_ends_leaves_the_service_and_the_label_is_mended() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let replicas = replicas(bed, &stage)?;
        let leader = leader(&stage, &replicas)?;
        let follower = replicas.iter().find(|one| one.address != leader.address).context("one replica")?;
        until_found_at(bed, leader.address)?;
        // Whatever somebody does to the labels, the leader is found again, alone.
        label(bed, &leader.instance.name, "graylane.io/leader-")?;
        label(bed, &follower.instance.name, "graylane.io/leader=true")?;
        until_found_at(bed, leader.address)?;
        let id = leader.instance.part.id()?;
        let status = std::process::Command::new("kill").args(["-TERM", &id.to_string()]).status()?;
        ensure!(status.success(), "{status}");
        until_found_at(bed, follower.address)?;
        follower.instance.was_never_forbidden()
    });
}

fn label(bed: &Bed, pod: &str, change: &str) -> Result<()> {
    bed.kubectl(&["-n", "graylane-system", "label", "--overwrite", "pod", pod, change]).map(drop)
}

/// The pods of the Deployment, each with a controller that answers at its address.
fn replicas(bed: &Bed, stage: &Stage<'_>) -> Result<Vec<Replica>> {
    let what = ["-n", "graylane-system", "get", "pods", "-l", "app.kubernetes.io/name=graylane", "-o", "json"];
    let pods = poll::until("two pods", SOON, || {
        let list: Value = serde_json::from_str(&bed.kubectl(&what)?.stdout)?;
        let of = |pod: &Value| Some((pod["metadata"]["name"].as_str()?.to_owned(), of_port(&pod["status"]["podIP"])?));
        let pods: Vec<_> = list["items"].as_array().into_iter().flatten().filter_map(of).collect();
        ensure!(pods.len() == 2, "{pods:?}");
        Ok(pods)
    })?;
    let start = |(name, address): (String, SocketAddr)| {
        let instance = stage.controller_with(&name, &["--api-address", &address.to_string()])?;
        Ok(Replica { instance, address })
    };
    pods.into_iter().map(start).collect()
}

fn leader<'r>(stage: &Stage<'_>, replicas: &'r [Replica]) -> Result<&'r Replica> {
    let instances: Vec<&Instance> = replicas.iter().map(|one| &one.instance).collect();
    let name = &stage.until_led_by(&instances)?.name;
    replicas.iter().find(|one| one.instance.name == *name).context("somebody else leads")
}

fn until_found_at(bed: &Bed, address: SocketAddr) -> Result<()> {
    poll::until(&format!("the Service to lead to {address} alone"), SOON, || {
        let found = endpoints(bed)?;
        ensure!(found == [address], "it leads to {found:?}");
        Ok(())
    })
}

/// Ready endpoints of the Service.
fn endpoints(bed: &Bed) -> Result<Vec<SocketAddr>> {
    let which = "kubernetes.io/service-name=graylane-api";
    let said = bed.kubectl(&["-n", "graylane-system", "get", "endpointslices", "-l", which, "-o", "json"])?;
    let list: Value = serde_json::from_str(&said.stdout)?;
    let slices = list["items"].as_array().into_iter().flatten();
    let endpoints =
        slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten().cloned().collect::<Vec<_>>());
    let ready = endpoints.filter(|one| one["conditions"]["ready"] == json!(true));
    Ok(ready.filter_map(|one| of_port(&one["addresses"][0])).collect())
}

/// Where an instance answers that is at this address.
fn of_port(address: &Value) -> Option<SocketAddr> {
    Some((address.as_str()?.parse::<Ipv4Addr>().ok()?, PORT).into())
}

/// Asks whoever the Service leads to, each of them.
fn through_service(bed: &Bed, token: &str) -> Result<Value> {
    let mut last = None;
    for address in endpoints(bed)? {
        last = Some(Api { at: address }.answers(Some(token), 200)?);
    }
    match last {
        Some(answer) => Ok(answer),
        None => bail!("the Service has no endpoints"),
    }
}
