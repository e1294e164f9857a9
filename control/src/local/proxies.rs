//! `proxies.yaml`: the Envoys of a folder, where they are asked and which files they watch.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use graylane_policy::raw::Role;
use serde::{Deserialize, Serialize};

use crate::build::Side;
use crate::release::finding::{Finding, Findings};

/// The file as written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxiesFile {
    /// The filter module, relative to the folder.
    pub module: PathBuf,
    /// The Envoys.
    pub proxies: Vec<ProxySpec>,
    /// Where versions are asked whether they can serve; one that is not listed is taken to be ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionSpec>,
}

/// One replica of a version of a service as written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VersionSpec {
    /// The service, by its name or by `<service>.<namespace>`.
    pub service: String,
    /// The lane, or `stable`.
    pub lane: String,
    /// `host:port` with an optional path. With a path it is asked by HTTP and is ready when it answers
    /// below 500; without one it is ready when it takes a connection.
    pub probe: String,
}

/// One Envoy as written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxySpec {
    /// Name in messages.
    pub name: String,
    /// `host:port` of its admin interface.
    pub admin: String,
    /// Its `--concurrency`; default 1.
    #[serde(default = "one")]
    pub concurrency: u32,
    /// The service beside whose pods it runs; default: the service that has its name, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its filters.
    pub filters: Vec<FilterSpec>,
}

/// One filter of an Envoy as written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilterSpec {
    /// Role of its documents.
    pub role: Role,
    /// Whether lanes are chosen there. A gateway always does; on a sidecar this is the additional
    /// filter `graylane.entry`, or `graylane.entry.outbound`.
    #[serde(default)]
    pub entry: bool,
    /// The file it watches, relative to the folder.
    pub ecds: PathBuf,
}

/// The checked proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxies {
    /// The filter module, as an absolute path.
    pub module: PathBuf,
    /// The Envoys.
    pub proxies: Vec<Proxy>,
    /// Where versions are asked whether they can serve.
    pub probes: Vec<Probe>,
}

/// A checked probe of one replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// The service as written.
    pub service: String,
    /// The lane, or `stable`.
    pub lane: String,
    /// `host:port`.
    pub addr: String,
    /// Path and query to ask for, if it is asked by HTTP.
    pub path: Option<String>,
}

/// A checked Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Name in messages.
    pub name: String,
    /// `host:port` of its admin interface.
    pub admin: String,
    /// Its worker threads.
    pub concurrency: u32,
    /// The service beside whose pods it runs, if the file says so.
    pub service: Option<String>,
    /// Its filters.
    pub filters: Vec<Filter>,
}

/// A checked filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Where it runs.
    pub side: Side,
    /// The file it watches.
    pub ecds: PathBuf,
}

/// Reads `proxies.yaml`.
///
/// # Errors
/// When it cannot be read, has the wrong shape, or makes no sense; every problem of the last kind.
pub fn read(file: &Path) -> Result<Proxies, Findings> {
    let name = file.display().to_string();
    let mend = "list the Envoys there: module, and proxies with name, admin and filters";
    let text =
        std::fs::read_to_string(file).map_err(|error| Findings::of(&name, format!("cannot be read: {error}"), mend))?;
    let written = crate::release::read::one::<ProxiesFile>(&name, &text).map_err(|finding| Findings(vec![finding]))?;
    let dir = file.parent().unwrap_or(Path::new("."));
    let problems = problems(&name, dir, &written);
    if problems.is_empty() { Ok(checked(dir, written)) } else { Err(Findings(problems)) }
}

fn problems(file: &str, dir: &Path, written: &ProxiesFile) -> Vec<Finding> {
    let mut problems = Vec::new();
    let mut add = |path: String, message: String, mend: &str| {
        problems.push(Finding { file: file.into(), line: None, path, message, mend: mend.into() });
    };
    let module = dir.join(&written.module);
    if !module.is_file() {
        add(
            "module".into(),
            format!("there is no file {}", module.display()),
            "build it with `make filter`, or name another",
        );
    }
    let (mut names, mut files) = (BTreeSet::new(), BTreeSet::new());
    for (index, proxy) in written.proxies.iter().enumerate() {
        let path = format!("proxies[{index}]");
        if !names.insert(&proxy.name) {
            add(format!("{path}.name"), format!("`{}` is taken", proxy.name), "give each proxy its own name");
        }
        if !is_address(&proxy.admin) {
            add(format!("{path}.admin"), format!("`{}` is no address", proxy.admin), "write it like `127.0.0.1:9901`");
        }
        if proxy.concurrency == 0 {
            add(format!("{path}.concurrency"), "0 workers cannot serve".into(), "write Envoy's --concurrency");
        }
        let mut sides = BTreeSet::new();
        for (at, filter) in proxy.filters.iter().enumerate() {
            let path = format!("{path}.filters[{at}]");
            if !files.insert(&filter.ecds) {
                let message = format!("{} is another filter's file", filter.ecds.display());
                add(format!("{path}.ecds"), message, "give each filter its own file");
            }
            if !sides.insert(Side::of(filter.role, filter.entry).filter_name()) {
                add(path, "this proxy has that filter already".into(), "list each filter of a proxy once");
            }
        }
    }
    for (index, version) in written.versions.iter().enumerate() {
        let probe = probe(version);
        if !is_address(&probe.addr) {
            let message = format!("`{}` is no address", version.probe);
            add(format!("versions[{index}].probe"), message, "write it like `127.0.0.1:8080/healthz`");
        }
    }
    problems
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn probe(written: &VersionSpec) -> Probe {
    let text = written.probe.strip_prefix("http://").unwrap_or(&written.probe);
    let (addr, path) = match text.find('/') {
        Some(at) => (text[..at].to_owned(), Some(text[at..].to_owned())),
        None => (text.to_owned(), None),
    };
    Probe { service: written.service.clone(), lane: written.lane.clone(), addr, path }
}

fn checked(dir: &Path, written: ProxiesFile) -> Proxies {
    let module = dir.join(written.module);
    let filter = |filter: FilterSpec| Filter { side: Side::of(filter.role, filter.entry), ecds: dir.join(filter.ecds) };
    let proxy = |proxy: ProxySpec| Proxy {
        name: proxy.name,
        admin: proxy.admin,
        concurrency: proxy.concurrency,
        service: proxy.service,
        filters: proxy.filters.into_iter().map(filter).collect(),
    };
    // Envoy resolves the path in its own working directory, so it must be absolute.
    let module = module.canonicalize().unwrap_or(module);
    let probes = written.versions.iter().map(probe).collect();
    Proxies { module, proxies: written.proxies.into_iter().map(proxy).collect(), probes }
}

// === impl Proxies ===

impl Proxies {
    /// The sides that occur, each once.
    pub fn sides(&self) -> Vec<Side> {
        let all = self.proxies.iter().flat_map(|proxy| &proxy.filters).map(|filter| filter.side);
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn one() -> u32 {
    1
}
