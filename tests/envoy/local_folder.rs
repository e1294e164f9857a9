//! A folder with one release and one gateway, for `graylane run --local`.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use graylane_policy::hash::slot_of;
use graylane_policy::raw::{RawConfig, RawRun};
use graylane_policy::slots::SlotTable;
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::envoy::Envoy;
use graylane_tests::poll::{self, PATIENCE};
use graylane_tests::scenario::Scenario;
use graylane_tests::stage::Stage;
use graylane_tests::{ecds, paths, ports};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Worker threads of the gateway.
pub const WORKERS: u32 = 2;
/// Two shares, each with a pause after it.
pub const SHARES: &str = "[{weight: 30%}, {pause: {}}, {weight: 70%}, {pause: {}}]";

/// Users that are asked for: some are in the lane at each of the shares, and some are not.
const USERS: u32 = 32;

static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// The folder. What runs in it is started apart.
pub struct Local {
    pub scenario: Scenario,
}

/// A `graylane run --local`, killed when dropped.
pub struct Run(Child);

/// A replica that is asked whether it can serve.
pub struct Version {
    port: u16,
    listener: Option<TcpListener>,
}

/// An Envoy that stands still until this is dropped.
pub struct Still(Pid);

// === impl Local ===

impl Local {
    /// A folder whose release has these steps.
    pub fn of(stage: &Stage, steps: &str) -> Result<Self> {
        Self::with(stage, steps, &paths::filter()?)
    }

    /// The same with another module.
    pub fn with(stage: &Stage, steps: &str, module: &Path) -> Result<Self> {
        let scenario = stage.copy_with("reload", module, |file, text| match file {
            "release/proxies.yaml" => text.replace("concurrency: 1", &format!("concurrency: {WORKERS}")),
            "release/summer.yaml" => format!("{text}  steps: {steps}\n"),
            _ => text,
        })?;
        Ok(Self { scenario })
    }

    /// Starts the gateway.
    pub fn envoy(&self) -> Result<Envoy> {
        self.scenario.how("envoy.yaml", 9901, WORKERS)?.ready()
    }

    /// Starts `graylane run` on the folder; what it says goes to a log.
    pub fn run(&self) -> Result<Run> {
        let log = File::create(self.log())?;
        let mut command = self.graylane("run")?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Run(command.spawn()?))
    }

    fn graylane(&self, command: &str) -> Result<Command> {
        let mut graylane = Command::new(paths::graylane_dir()?.join("graylane"));
        graylane.args([command, "--local"]).arg(self.folder());
        Ok(graylane)
    }

    /// Runs a command on the folder, which has to end well.
    pub fn done(&self, command: &str, more: &[&str]) -> Result<()> {
        let output = self.graylane(command)?.args(more).output()?;
        ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What a command says that must not work on the folder.
    pub fn refused(&self, command: &str) -> Result<String> {
        let output = self.graylane(command)?.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{command}: {}: {said}", output.status);
        Ok(said)
    }

    /// The folder with the release.
    pub fn folder(&self) -> PathBuf {
        self.scenario.folder.join("release")
    }

    /// The release file.
    pub fn release_file(&self) -> PathBuf {
        self.folder().join("summer.yaml")
    }

    /// The file that the gateway watches.
    pub fn gateway_file(&self) -> PathBuf {
        self.scenario.folder.join("ecds/gateway.json")
    }

    fn log(&self) -> PathBuf {
        self.scenario.folder.join("run.log")
    }

    fn status_file(&self) -> PathBuf {
        self.folder().join("status/shop.summer.json")
    }

    /// The status of the release.
    pub fn status(&self) -> Result<Value> {
        let text = fs::read(self.status_file()).context("no status yet")?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Asks something of the release, as a person or `graylane promote` does. Returns the request's id.
    pub fn ask(&self, verb: &str) -> Result<String> {
        let id = format!("{}-{}", std::process::id(), REQUESTS.fetch_add(1, Ordering::Relaxed));
        let folder = self.folder().join("requests");
        fs::create_dir_all(&folder)?;
        let fresh = folder.join(".fresh");
        fs::write(&fresh, json!({"id": id, "verb": verb}).to_string())?;
        fs::rename(fresh, folder.join("shop.summer.json"))?;
        Ok(id)
    }

    /// Waits until the status is as wanted.
    pub fn until(&self, what: &str, is: impl Fn(&Value) -> Result<()>) -> Result<()> {
        poll::until(what, PATIENCE, || is(&self.status()?)).with_context(|| self.said())
    }

    /// Waits until a weight has reached every worker: the pause after it has begun.
    pub fn until_weight(&self, weight: &str) -> Result<()> {
        self.until(weight, |status| {
            ensure!(status["phase"] == "Paused" && status["weight"] == weight, "{status}");
            Ok(())
        })
    }

    /// Waits for a phase.
    pub fn until_phase(&self, phase: &str) -> Result<()> {
        self.until(phase, |status| {
            ensure!(status["phase"] == phase, "{status}");
            Ok(())
        })
    }

    /// Waits until the run has looked at the release: it answers a request that changes nothing.
    pub fn until_looked(&self) -> Result<()> {
        let id = self.ask("retry")?;
        self.until("an answer", |status| {
            ensure!(status["handledRequest"] == id.as_str(), "{status}");
            Ok(())
        })
    }

    /// Waits until the status is gone, which is when the release has left every proxy.
    pub fn until_gone(&self) -> Result<()> {
        poll::until("the release to be gone", PATIENCE, || {
            ensure!(!self.status_file().exists(), "{}", self.status()?);
            Ok(())
        })
        .with_context(|| self.said())
    }

    /// Waits until the run has said something.
    pub fn until_said(&self, text: &str) -> Result<()> {
        poll::until("it to be said", PATIENCE, || {
            ensure!(self.said().contains(text), "no {text:?} in {}", self.said());
            Ok(())
        })
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Replaces the release file as some editors do: in place.
    pub fn write_release(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.release_file(), text)?)
    }

    /// The generation in the gateway's file.
    pub fn generation(&self) -> Result<u64> {
        Ok(serde_json::from_str::<RawConfig>(&ecds::document(&self.gateway_file())?)?.generation)
    }

    /// By user, whether the canary answers. Each asks on a connection of its own, and connections are
    /// spread over the workers.
    pub async fn lanes(&self) -> Result<Vec<bool>> {
        let mut lanes = Vec::new();
        for user in 0..USERS {
            let mut connection = Connection::open(self.scenario.port(10000), Protocol::Http1).await?;
            let answer = connection.send(&Ask::get("127.0.0.1", &format!("/?user={user}"))).await?;
            ensure!(answer.status == 200, "user {user} got {}", answer.status);
            lanes.push(answer.text() == "orders canary");
        }
        Ok(lanes)
    }

    /// Whether the users are where the status says.
    pub fn agrees(&self, lanes: &[bool]) -> Result<bool> {
        let status = self.status()?;
        let runs: Vec<RawRun> = serde_json::from_value(status["slots"].clone())?;
        let table = SlotTable::from_runs(&runs)?;
        let salt = status["salt"].as_str().context("no salt")?;
        let is = |user: usize| table.lane_of(slot_of(user.to_string().as_bytes(), salt)) == "canary";
        Ok(lanes.iter().enumerate().all(|(user, lane)| is(user) == *lane))
    }

    /// Milliseconds from the decision of each weight to the end of its step.
    pub fn step_times(&self) -> Result<Vec<u64>> {
        let status = self.status()?;
        let history = status["history"].as_array().context("no history")?;
        let at = |reason: &'static str| {
            let entries = history.iter().filter(move |entry| entry["reason"] == reason);
            entries.map(|entry| entry["atMs"].as_u64().unwrap_or_default())
        };
        Ok(at("Weight").zip(at("Paused")).map(|(decided, ended)| ended - decided).collect())
    }

    /// Lets the run ask the canary whether it can serve.
    pub fn probed(&self) -> Result<Version> {
        let mut version = Version { port: ports::free(), listener: None };
        version.open()?;
        let file = self.folder().join("proxies.yaml");
        let text = fs::read_to_string(&file)?;
        let probe = format!("{{service: orders, lane: canary, probe: \"127.0.0.1:{}\"}}", version.port);
        fs::write(file, format!("{text}versions: [{probe}]\n"))?;
        Ok(version)
    }
}

// === impl Run ===

impl Run {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended by itself, which is for the test to notice.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// === impl Version ===

impl Version {
    /// Begins to take connections.
    pub fn open(&mut self) -> Result<()> {
        self.listener = Some(TcpListener::bind(("127.0.0.1", self.port))?);
        Ok(())
    }

    /// Takes none any more.
    pub fn close(&mut self) {
        self.listener = None;
    }
}

// === impl Still ===

impl Still {
    /// Lets an Envoy stand still.
    pub fn of(envoy: &Envoy) -> Result<Self> {
        let process = Pid::from_raw(i32::try_from(envoy.id())?).context("no process id")?;
        kill_process(process, Signal::STOP)?;
        Ok(Self(process))
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        // Were it gone, the test would fail by itself.
        let _ = kill_process(self.0, Signal::CONT);
    }
}
