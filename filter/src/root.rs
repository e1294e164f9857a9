//! One root context: one config document in force on one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use graylane_policy::hash::seed_of;
use graylane_policy::metric::stat_name;
use graylane_policy::vacant::Vacant;
use graylane_policy::{ConfigError, PodLane, Policy};

use crate::brake::{self, Brakes};
use crate::drain::Drain;
use crate::host::{Host, Level, MetricKind};
use crate::meter::Meter;
use crate::named::Named;
use crate::roster::{self, Entry};
use crate::units::Units;

/// Pod label with the lane of the pod.
const LANE_LABEL: &str = "graylane.io/lane";
/// Pod label with the lane group of the pod; needed only where groups share lane names.
const GROUP_LABEL: &str = "graylane.io/group";

/// A document in force, and what belongs to it. Streams hold on to the one they began with.
pub struct Active<H> {
    /// The proxy.
    pub host: Rc<H>,
    /// The compiled document.
    pub policy: Policy,
    /// Its metrics.
    pub meter: Meter,
    /// Its local brakes.
    pub brakes: Brakes,
    /// Whose requests its entries put into lanes.
    pub units: Units,
    /// When requests in trouble were named last.
    pub named: Named,
    /// Versions that Envoy had no endpoint for.
    pub vacant: RefCell<Vacant>,
    /// Its open calls in lanes, where they may have to be closed.
    pub drain: Drain,
    /// The lane of the pod this proxy belongs to.
    pub pod: Option<PodLane>,
    /// WORKLOAD_NAME of that pod, or `unknown`.
    pub workload: String,
    document: u64,
    configured_unix_ms: Cell<Option<u64>>,
    ticks: Cell<u32>,
    is_retired: Cell<bool>,
}

/// Reads the document the host holds.
///
/// Deterministic but for the node's own labels, which never decide whether a document is accepted: a
/// config that one VM takes, all take.
///
/// # Errors
/// When the document is bad. The reason is logged and counted; Envoy keeps the last good one.
pub fn configure<H: Host>(host: &Rc<H>) -> Result<Active<H>, ConfigError> {
    let json = host.configuration();
    let policy = Policy::parse(&json).inspect_err(|error| refuse(&**host, error))?;
    let pod = pod_of(&**host, &policy);
    let workload = node_text(&**host, &["WORKLOAD_NAME"]).unwrap_or_else(|| "unknown".into());
    host.set_tick_ms(roster::FIRST_TICK_MS);
    Ok(Active {
        host: Rc::clone(host),
        meter: Meter::new(&policy, &workload),
        brakes: Brakes::new(&policy),
        units: Units::default(),
        named: Named::default(),
        vacant: RefCell::default(),
        drain: Drain::default(),
        pod,
        workload,
        document: seed_of(&String::from_utf8_lossy(&json)),
        configured_unix_ms: Cell::new(None),
        ticks: Cell::new(0),
        is_retired: Cell::new(false),
        policy,
    })
}

fn refuse(host: &impl Host, error: &ConfigError) {
    host.log(Level::Error, &format!("graylane: config refused, the last good one stays in force: {error}"));
    let name = stat_name("graylane_config_errors_total", &[("reason", error.category())]);
    if let Some(id) = host.metric(MetricKind::Counter, &name) {
        host.add(id, 1);
    }
}

fn pod_of(host: &impl Host, policy: &Policy) -> Option<PodLane> {
    let lane = node_text(host, &["LABELS", LANE_LABEL])?;
    let group = node_text(host, &["LABELS", GROUP_LABEL]);
    policy.pod_lane(group.as_deref(), &lane)
}

fn node_text(host: &impl Host, path: &[&str]) -> Option<String> {
    let full: Vec<&str> = ["xds", "node", "metadata"].iter().chain(path).copied().collect();
    String::from_utf8(host.property(&full)?).ok().filter(|text| !text.is_empty())
}

// === impl Active ===

impl<H: Host> Active<H> {
    /// One tick: says that this VM runs this document. `vm` is the VM's own random number.
    pub fn tick(&self, vm: u64) {
        let now = self.host.now_ns() / 1_000_000;
        if self.configured_unix_ms.get().is_none() {
            self.configured_unix_ms.set(Some(now));
            self.host.set_tick_ms(self.tick_ms());
            self.ticks.set(0);
        }
        self.brakes.tick(&*self.host, &self.policy, now);
        let tick = self.ticks.replace(self.ticks.get().wrapping_add(1));
        if tick.is_multiple_of(roster::TICK_MS / self.tick_ms()) {
            self.sign(vm, now);
            self.units.report(&*self.host, &self.policy, &self.meter);
        }
    }

    /// Brakes want more ticks than the roster; each divides the roster's time.
    fn tick_ms(&self) -> u32 {
        if self.brakes.is_watching() { brake::TICK_MS } else { roster::TICK_MS }
    }

    fn sign(&self, vm: u64, now: u64) {
        let entry = Entry {
            vm,
            generation: self.policy.generation(),
            document: self.document,
            configured_unix_ms: self.configured_unix_ms.get().unwrap_or(now),
            seen_unix_ms: now,
        };
        roster::sign(&*self.host, &self.policy, entry);
    }

    /// This document is in force on this VM again, after another one was.
    pub fn resume(&self) {
        self.configured_unix_ms.set(None);
        self.is_retired.set(false);
        self.brakes.set_retired(false);
        self.host.set_tick_ms(roster::FIRST_TICK_MS);
    }

    /// A stream began on this document though another one is in force. Its lane may be gone: [`Self::linger`] looks.
    pub fn keep_ticking(&self) {
        self.host.set_tick_ms(roster::TICK_MS);
    }

    /// One tick of a document in whose place another one is in force, or none. It speaks for the VM no more,
    /// and is only ticked on while calls may have to be closed whose lane is gone. `root` is its own context.
    pub fn linger(&self, root: u32, in_force: Option<&Policy>) {
        let was_retired = self.is_retired.get();
        if !was_retired {
            self.retire();
        }
        let now = self.host.now_ns() / 1_000_000;
        for (stream, version) in self.drain.due(&self.policy, in_force, now) {
            self.host.close_stream(stream, root);
            self.meter.closed_stream(&*self.host, &self.policy, version);
        }
        match (was_retired, self.drain.is_empty()) {
            (false, false) => self.host.set_tick_ms(roster::TICK_MS),
            (true, true) => self.host.set_tick_ms(0),
            _ => {}
        }
    }

    /// Once it is no longer in force, its ticks are over: what a request counted is told from here.
    pub fn settle(&self) {
        if self.is_retired.get() {
            self.brakes.settle(&*self.host, &self.policy);
            self.units.report(&*self.host, &self.policy, &self.meter);
        }
    }

    /// The end of this document on this VM. The host would go on ticking a root that is gone.
    pub fn retire(&self) {
        self.is_retired.set(true);
        self.brakes.set_retired(true);
        self.settle();
        self.host.set_tick_ms(0);
    }
}
