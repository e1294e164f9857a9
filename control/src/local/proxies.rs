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
#[derive(Clone, Debug)]
pub struct Proxies {
    /// The filter module, as an absolute path.
    pub module: PathBuf,
    /// The Envoys.
    pub proxies: Vec<Proxy>,
}

/// A checked Envoy.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Name in messages.
    pub name: String,
    /// `host:port` of its admin interface.
    pub admin: String,
    /// Its worker threads.
    pub concurrency: u32,
    /// Its filters.
    pub filters: Vec<Filter>,
}

/// A checked filter.
#[derive(Clone, Debug)]
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
        if !proxy.admin.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
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
    problems
}

fn checked(dir: &Path, written: ProxiesFile) -> Proxies {
    let module = dir.join(written.module);
    let filter = |filter: FilterSpec| Filter { side: Side::of(filter.role, filter.entry), ecds: dir.join(filter.ecds) };
    let proxy = |proxy: ProxySpec| Proxy {
        name: proxy.name,
        admin: proxy.admin,
        concurrency: proxy.concurrency,
        filters: proxy.filters.into_iter().map(filter).collect(),
    };
    // Envoy resolves the path in its own working directory, so it must be absolute.
    let module = module.canonicalize().unwrap_or(module);
    Proxies { module, proxies: written.proxies.into_iter().map(proxy).collect() }
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
