//! One container of a pod: a process.

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::{self, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Yard, account};
use crate::bed::network::Place;
use crate::bed::part::{Part, Recipe};
use crate::bed::proxy;
use crate::client::{Ask, At, Connection, Protocol};

pub(crate) const ADMIN: u16 = 15000;
pub(crate) const PROMETHEUS: u16 = 15090;
pub(crate) const READY: u16 = 15021;

/// Where apps listen in their pods: on the loopback address, behind the proxy.
pub(crate) const APP: u16 = 8080;

/// The first pause before a crashed container is started again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A container and its process.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) spec: v1::Container,
    part: Part,
    probe: Option<(At, String)>,
    restarts: AtomicU32,
    last_start: Mutex<Option<Instant>>,
}

// === impl Container ===

impl Container {
    pub(super) fn new(yard: &Yard, pod: &Pod, spec: v1::Container, place: &Place, folder: &Path) -> Result<Self> {
        let has_proxy = pod.spec.iter().flat_map(|spec| &spec.containers).any(is_proxy);
        let log = folder.join(format!("{}.log", spec.name));
        let recipe = Recipe::new("nsenter", folder, log).args([place.entry()]);
        let (recipe, probe) = if is_proxy(&spec) {
            (proxy::recipe(&yard.mesh, pod, place, recipe, folder)?, Some((READY, "/healthz/ready".to_owned())))
        } else {
            (app(yard, pod, &spec, recipe, folder)?, probe_of(&spec, has_proxy))
        };
        let probe = probe.map(|(port, path)| (At::from((place.ip, port)), path));
        let name = format!("{} of {}", spec.name, pod.metadata.name.as_deref().unwrap_or_default());
        let (restarts, last_start) = (AtomicU32::new(0), Mutex::default());
        Ok(Self { part: Part::new(&name, recipe, || Ok(())), spec, probe, restarts, last_start })
    }

    pub(super) fn is_proxy(&self) -> bool {
        is_proxy(&self.spec)
    }

    pub(super) fn part(&self) -> &Part {
        &self.part
    }

    pub(super) fn restarts(&self) -> u32 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(super) fn is_up(&self) -> bool {
        self.part.is_up()
    }

    /// Starts it when it does not run, after a pause when it has crashed before.
    pub(super) fn keep_running(&self) {
        if self.part.is_up() {
            return;
        }
        let mut last = self.last_start.lock().unwrap_or_else(PoisonError::into_inner);
        let restarts = self.restarts();
        let pause = FIRST_PAUSE * 2_u32.pow(restarts.min(5));
        match *last {
            Some(at) if at.elapsed() < pause => return,
            Some(_) => drop(self.restarts.fetch_add(1, Ordering::Relaxed)),
            None => {}
        }
        *last = Some(Instant::now());
        if let Err(error) = self.part.start_again() {
            eprintln!("the bed cannot start a container: {error:#}");
        }
    }

    /// True when it runs and its probe, if it has one, is content.
    pub(super) async fn is_ready(&self) -> bool {
        let Some((at, path)) = &self.probe else { return self.part.is_up() };
        self.part.is_up() && answers(*at, path).await.unwrap_or(false)
    }

    pub(super) fn pre_stop(&self) -> Duration {
        let hook = self.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let seconds = hook.and_then(|hook| hook.sleep.as_ref()).map_or(0, |sleep| sleep.seconds);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    pub(super) fn ask_to_end(&self) {
        // One that has ended cannot be asked, and need not be.
        let _ = self.part.ask_to_end();
    }

    pub(super) fn kill(&self) {
        let _ = self.part.kill();
    }
}

async fn answers(at: At, path: &str) -> Result<bool> {
    let answer = Connection::open(at, Protocol::Http1).await?.send(&Ask::get("kubelet", path)).await?;
    Ok(answer.status.is_success())
}

fn is_proxy(container: &v1::Container) -> bool {
    container.name == "istio-proxy"
}

/// A container that is no proxy: the toy service, or `graylane` itself with its service account.
fn app(yard: &Yard, pod: &Pod, spec: &v1::Container, recipe: Recipe, folder: &Path) -> Result<Recipe> {
    let image = spec.image.as_deref().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default().split([':', '@']).next().unwrap_or_default();
    let graylane = yard.graylane.as_os_str().to_owned();
    let recipe = match name {
        "graylane-app" => recipe.args([graylane, "app".into()]),
        "graylane" => account::recipe(yard, pod, recipe, folder)?.args([graylane]),
        _ => bail!(
            "the image of container {} is {image}: the bed only knows graylane-app, graylane and proxies",
            spec.name
        ),
    };
    let mut recipe = recipe.args(spec.args.iter().flatten().cloned());
    for env in spec.env.iter().flatten() {
        if let Some(value) = value_of(yard, env, pod)? {
            recipe.env.push((env.name.clone(), OsString::from(value)));
        }
    }
    Ok(recipe)
}

/// A value as written, one of the few fields that pods ask for, or that of a ConfigMap; as long as that is not there,
/// the pod waits.
fn value_of(yard: &Yard, env: &v1::EnvVar, pod: &Pod) -> Result<Option<String>> {
    let Some(from) = &env.value_from else { return Ok(env.value.clone()) };
    if let Some(map) = &from.config_map_key_ref {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let path = format!("jsonpath={{.data.{}}}", map.key);
        let value = account::kubectl(yard, &["get", "configmap", &map.name, "-n", namespace, "-o", &path])?;
        ensure!(!value.is_empty(), "ConfigMap {} has no {}", map.name, map.key);
        return Ok(Some(value));
    }
    match from.field_ref.as_ref().map(|field| field.field_path.as_str()) {
        Some("metadata.name") => Ok(pod.metadata.name.clone()),
        Some("metadata.namespace") => Ok(pod.metadata.namespace.clone()),
        _ => bail!("the bed knows no such value of {}: {from:?}", env.name),
    }
}

/// Apps listen where only their proxy reaches them; so a probe goes through a listener of the proxy,
/// as Istio's agent does it.
fn probe_of(spec: &v1::Container, has_proxy: bool) -> Option<(u16, String)> {
    let get = spec.readiness_probe.as_ref()?.http_get.as_ref()?;
    let path = get.path.as_deref().unwrap_or("/");
    if has_proxy {
        return Some((READY, format!("{}{path}", proxy::APP_HEALTH)));
    }
    Some((port_of(spec, &get.port)?, path.to_owned()))
}

/// A port by number, or by the name it has in the container.
fn port_of(spec: &v1::Container, port: &IntOrString) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = |port: &&v1::ContainerPort| port.name.as_deref() == Some(name);
            spec.ports.iter().flatten().find(named).map(|port| port.container_port)
        }
    };
    number.and_then(|number| u16::try_from(number).ok())
}
