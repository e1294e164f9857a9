//! The shipped module in wasmtime: fuel per request, linear memory, growth over a million requests.
//!
//! Fuel is one unit a wasm instruction: exact and the same on every machine, where time is not. The
//! engine is not Envoy's, but the instructions are the module's own.

mod host;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use graylane_benches::budget::{Budgets, Gate};
use graylane_benches::mix::Mix;
use graylane_benches::story::{self, Story};

use host::Vm;

/// Requests before anything is counted: metrics are defined, tables have their size.
const WARM_UP: u64 = 1_000;
/// Requests that fuel is averaged over.
const COUNTED: u64 = 1_000;
/// Requests over which memory must not grow.
const MANY: u64 = 1_000_000;

fn main() -> Result<()> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/filter/graylane_filter.wasm");
    let code = std::fs::read(&module).with_context(|| format!("{}: run `make filter`", module.display()))?;
    let budgets = Budgets::read()?;
    let mut gate = budgets.gate();
    for story in story::all().iter().chain(&of_sizes()) {
        gate.hold(&format!("fuel/{}", story.name), fuel(&code, story)?);
    }
    gate.end("fuel/")?;
    let mut gate = budgets.gate();
    memory(&code, &mut gate)?;
    gate.end("memory/")
}

/// The same decision with more rules.
fn of_sizes() -> Vec<Story> {
    let story = |name, mix: &Mix, request: graylane_benches::mix::Request| Story {
        name,
        document: mix.deciding(),
        headers: request.headers(),
    };
    let (few, many) = (Mix::new(1), Mix::new(1000));
    vec![
        story("deciding-1/none", &few, few.none()),
        story("deciding-1/last", &few, few.last()),
        story("deciding-1000/none", &many, many.none()),
        story("deciding-1000/last", &many, many.last()),
    ]
}

fn fuel(code: &[u8], story: &Story) -> Result<u64> {
    let mut vm = Vm::start(code, story)?;
    (0..WARM_UP).try_for_each(|_| vm.request())?;
    let before = vm.fuel_used()?;
    (0..COUNTED).try_for_each(|_| vm.request())?;
    Ok((vm.fuel_used()? - before) / COUNTED)
}

fn memory(code: &[u8], gate: &mut Gate<'_>) -> Result<()> {
    let mix = Mix::new(1000);
    let story = Story { name: "whole-1000/last", document: mix.whole(), headers: mix.last().headers() };
    let mut vm = Vm::start(code, &story)?;
    gate.hold("memory/1000-rules", vm.memory_bytes());
    (0..WARM_UP).try_for_each(|_| vm.request())?;
    let warm = vm.memory_bytes();
    (0..MANY).try_for_each(|_| vm.request())?;
    ensure!(vm.memory_bytes() == warm, "memory grew from {warm} to {} bytes over {MANY} requests", vm.memory_bytes());
    println!("linear memory did not grow over {MANY} requests: {warm} bytes");
    (0..20).try_for_each(|_| vm.reload())?;
    gate.hold("memory/after-20-reloads", vm.memory_bytes());
    Ok(())
}
