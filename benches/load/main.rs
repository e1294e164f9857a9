//! CPU per request in Envoy: alone, with native routes, with Lua, with stock modules, with ours.
//!
//! Many short slots, the variants in turn and every other round backwards; only figures of the same
//! round are compared, so that noisy neighbours and a warming machine fall on all alike. `QUICK=1`
//! takes about a minute, the default some six.

mod cpu;
mod envoy;
mod table;
mod traffic;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graylane_benches::mix::{LANES, Mix};
use graylane_tests::envoy::Envoy;
use graylane_tests::paths;

use envoy::Variant;
use table::{Line, Rounds, Target};
use traffic::Client;

/// The core of Envoy; the client and the upstreams stay on the other one.
const ENVOY_CORE: usize = 1;
const OTHER_CORE: usize = 0;
/// Requests made up to compare decisions, for each variant.
const COMPARED: u64 = 300;

const TARGETS: [Target; 4] = [
    Target { name: "ours deciding, 10 rules", against: "lua, 10 rules", at_most: 1.0 },
    Target { name: "ours deciding, 1000 rules", against: "lua, 1000 rules", at_most: 0.2 },
    Target { name: "ours deciding, 1000 rules", against: "ours deciding, 10 rules", at_most: 1.3 },
    Target { name: "ours idle", against: "counting module", at_most: 1.15 },
];

struct Plan {
    rounds: usize,
    slot: Duration,
    warm_up: Duration,
}

fn main() -> Result<()> {
    let folder = paths::root().join("target/bench");
    fs::create_dir_all(&folder)?;
    let variants = envoy::variants(&folder.join("modules"))?;
    let mut upstreams = vec![("stable", traffic::upstream("stable")?)];
    for lane in LANES {
        upstreams.push((lane, traffic::upstream(lane)?));
    }
    let envoy = envoy::start(&folder, &variants, &upstreams)?;
    cpu::pin(envoy.id(), ENVOY_CORE);
    cpu::pin(std::process::id(), OTHER_CORE);
    for variant in &variants {
        compare_decisions(variant)?;
    }
    let rounds = measure(&envoy, &variants, &Plan::chosen())?;
    report(&variants, &rounds, &folder)
}

/// Every variant that decides must decide as the plain reading of the rules does, or it is not the
/// same work that is compared.
fn compare_decisions(variant: &Variant) -> Result<()> {
    let mix = Mix::new(variant.rules);
    let mut client = Client::connect(variant.port, Vec::new())?;
    let made_up = (0..if variant.weighted { 0 } else { COMPARED }).map(|seed| mix.any(seed));
    for request in made_up.chain([mix.last(), mix.none()]) {
        let wanted = if variant.decides { mix.lane_of(&request) } else { "stable" };
        let lane = client.ask(&request.http1("")).with_context(|| variant.name)?;
        ensure!(lane == wanted, "{} sends {request:?} to {lane} and not to {wanted}", variant.name);
    }
    Ok(())
}

fn measure(envoy: &Envoy, variants: &[Variant], plan: &Plan) -> Result<Rounds> {
    let connect = |variant: &Variant| Client::connect(variant.port, variant.requests());
    let mut clients = variants.iter().map(connect).collect::<Result<Vec<_>>>()?;
    for client in &mut clients {
        client.send_for(plan.warm_up)?;
    }
    let mut rounds = Rounds::new();
    for round in 0..plan.rounds {
        let mut figures = vec![0.0; clients.len()];
        for step in 0..clients.len() {
            let turned = (step + round / 2) % clients.len();
            let at = if round % 2 == 0 { turned } else { clients.len() - 1 - turned };
            figures[at] = slot(envoy, &mut clients[at], plan.slot)?;
        }
        rounds.push(figures);
        if (round + 1) % 10 == 0 {
            eprintln!("{} of {} rounds", round + 1, plan.rounds);
        }
    }
    Ok(rounds)
}

/// CPU microseconds of Envoy for one request, over one slot.
fn slot(envoy: &Envoy, client: &mut Client, time: Duration) -> Result<f64> {
    // What the variant before left in the caches is not this one's to pay for.
    client.send_for(time / 10)?;
    let before = cpu::used(envoy.id())?;
    let answered = client.send_for(time)?;
    let spent = cpu::used(envoy.id())?.saturating_sub(before);
    Ok(spent.as_secs_f64() * 1e6 / answered as f64)
}

fn report(variants: &[Variant], rounds: &Rounds, folder: &Path) -> Result<()> {
    let names: Vec<&str> = variants.iter().map(|variant| variant.name).collect();
    let position = |wanted: &str| names.iter().position(|name| *name == wanted).context("a target names no variant");
    let mut lines: Vec<Line> = (0..names.len()).map(|at| table::against_alone(&names, rounds, at)).collect();
    println!("\nCPU of the Envoy process, microseconds per request; medians of {} paired slots\n", rounds.len());
    println!("{:<28} {:>7} {:>7} {:>7}  95% interval of the ratio", "", "cpu", "added", "ratio");
    for line in &lines {
        let (cpu, added) = (line.cpu_us_per_request, line.added_us);
        println!("{:<28} {cpu:>7.2} {added:>7.2} {:>7.3}  [{:.3}, {:.3}]", line.name, line.ratio, line.low, line.high);
    }
    println!();
    for target in TARGETS {
        let line = table::added_against(&names, rounds, position(target.name)?, position(target.against)?);
        println!("{}", target.verdict(&line));
        lines.push(line);
    }
    let file = folder.join("load.json");
    fs::write(&file, serde_json::to_string_pretty(&lines)? + "\n")?;
    println!("\nwritten: target/bench/load.json");
    Ok(())
}

// === impl Plan ===

impl Plan {
    fn chosen() -> Self {
        if std::env::var_os("QUICK").is_some_and(|value| !value.is_empty() && value != "0") {
            return Self { rounds: 16, slot: Duration::from_millis(200), warm_up: Duration::from_millis(500) };
        }
        Self { rounds: 60, slot: Duration::from_millis(400), warm_up: Duration::from_secs(1) }
    }
}

// === impl Variant ===

impl Variant {
    /// One request that meets the last rule and one that meets none, in turn.
    fn requests(&self) -> Vec<Vec<u8>> {
        let mix = Mix::new(self.rules);
        let lane = if self.carried { format!("x-release-stage: {}\r\n", LANES[0]) } else { String::new() };
        vec![mix.last().http1(&lane), mix.none().http1("")]
    }
}
