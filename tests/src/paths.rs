//! Where the built parts are, and which Envoy binaries the tests run on.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The Envoy releases the filter is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The newest supported one.
    Newest,
    /// The oldest supported one.
    Oldest,
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// The shipped module; `GRAYLANE_FILTER` names another one.
///
/// # Errors
/// When it has not been built.
pub fn filter() -> Result<PathBuf> {
    module("GRAYLANE_FILTER", "target/filter/graylane_filter.wasm", "make filter")
}

/// The module that panics when a request asks it to; `GRAYLANE_FILTER_TRAP` names another one.
///
/// # Errors
/// When it has not been built.
pub fn filter_that_traps() -> Result<PathBuf> {
    module("GRAYLANE_FILTER_TRAP", "target/filter/graylane_filter_trap.wasm", "make filter")
}

/// The module that only shows which weights it was given; `GRAYLANE_PROBE` names another one.
///
/// # Errors
/// When it has not been built.
pub fn probe() -> Result<PathBuf> {
    module("GRAYLANE_PROBE", "target/bench/modules/probe.wasm", "scripts/build-bench-modules.sh")
}

/// The folder of the `graylane` binary, built beside this test binary; `GRAYLANE_DIR` names another one.
///
/// # Errors
/// When it has not been built.
pub fn graylane_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("GRAYLANE_DIR") {
        return Ok(dir.into());
    }
    let test = env::current_exe().context("the path of this test")?;
    let dir = test.ancestors().nth(2).context("the test is in no target folder")?;
    if !dir.join("graylane").is_file() {
        bail!("{} is missing: run `cargo build -p graylane`", dir.join("graylane").display());
    }
    Ok(dir.to_path_buf())
}

/// The Envoy binary of a release: `ENVOY_BIN` or `ENVOY_OLDEST_BIN`, else what `scripts/envoy.sh`
/// prints, which installs it when needed.
///
/// # Errors
/// When neither gives a path.
pub fn envoy(release: Release) -> Result<PathBuf> {
    let (variable, argument) = match release {
        Release::Newest => ("ENVOY_BIN", None),
        Release::Oldest => ("ENVOY_OLDEST_BIN", Some("oldest")),
    };
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    let script = root().join("scripts/envoy.sh");
    let output = Command::new(&script)
        .args(argument)
        .output()
        .with_context(|| format!("run {} (or set {variable})", script.display()))?;
    if !output.status.success() {
        bail!("{} failed: {}", script.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

fn module(variable: &str, default: &str, how: &str) -> Result<PathBuf> {
    let path = env::var_os(variable).map_or_else(|| root().join(default), PathBuf::from);
    if path.is_file() {
        return Ok(path);
    }
    bail!("{} is missing: run `{how}` (or set {variable})", path.display())
}
