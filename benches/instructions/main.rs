//! Instructions of the core's operations, counted by callgrind, held against their budgets.
//!
//! ```text
//! instructions                  runs itself under valgrind, twice an operation, and checks all budgets
//! instructions NAME TIMES       does one operation that many times
//! ```
//!
//! An operation is run N and 2 N times: the difference is the operation's alone, whatever the start
//! of the program costs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use graylane_benches::budget::Budgets;
use graylane_benches::operations;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => check(),
        [name, times] => repeat(name, times.parse()?),
        _ => bail!("usage: instructions [NAME TIMES]"),
    }
}

fn repeat(name: &str, times: u64) -> Result<()> {
    let operation = operations::all()
        .into_iter()
        .find(|operation| operation.name == name)
        .with_context(|| format!("no operation {name}"))?;
    let mut run = (operation.prepare)();
    (0..times).for_each(|_| run());
    Ok(())
}

fn check() -> Result<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        let told = "valgrind is missing, so instructions are not counted. Debian: apt-get install valgrind";
        ensure!(std::env::var_os("CI").is_none(), "{told}. In CI this must not be skipped.");
        println!("skipped: {told}");
        return Ok(());
    }
    let budgets = Budgets::read()?;
    let mut gate = budgets.gate();
    for operation in operations::all() {
        let times =
            if operation.name.starts_with("configure/") || operation.name.starts_with("slots/") { 2 } else { 200 };
        let once = counted(&operation.name, times)?;
        let twice = counted(&operation.name, 2 * times)?;
        gate.hold(&format!("instructions/{}", operation.name), twice.saturating_sub(once) / times);
    }
    gate.end("instructions/")
}

fn counted(name: &str, times: u64) -> Result<u64> {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--callgrind-out-file={}", out.display())])
        .arg(std::env::current_exe()?)
        .args([name, &times.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind on {name}: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).context("valgrind says no count")?.1;
    Ok(collected.trim().parse()?)
}
