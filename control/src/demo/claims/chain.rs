//! Claim 3: where each call's lane came from, hop by hop, for apps that forward everything, only
//! baggage, only `traceparent`, or nothing.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{CANARY, of, took};
use crate::app::Seen;
use crate::demo::console::Console;
use crate::demo::stage::Stage;
use crate::demo::traffic::ask_all;
use crate::http::Ask;
use crate::stats::Stats;

/// Requests of each kind.
const REQUESTS: usize = 20;
const CONTEXT: &str = "graylane_context_total";

/// What is expected when the apps forward this.
struct Case {
    forward: &'static str,
    what: &'static str,
    path: [&'static str; 4],
    /// Source of the lane at the calls of frontend, cart and orders.
    sources: [&'static str; 3],
    /// The service whose stable pods drop the lane.
    dropped_by: Option<&'static str>,
}

/// Cart has no canary, so its pods cannot know the lane by their own label: what cart forwards decides.
const CASES: [Case; 4] = [
    Case {
        forward: "all",
        what: "all headers",
        path: CANARY,
        sources: ["header", "header", "header"],
        dropped_by: None,
    },
    Case {
        forward: "baggage",
        what: "only baggage",
        path: CANARY,
        sources: ["baggage", "baggage", "baggage"],
        dropped_by: None,
    },
    Case {
        forward: "trace",
        what: "only traceparent",
        path: CANARY,
        sources: ["pod", "trace", "pod"],
        dropped_by: None,
    },
    Case {
        forward: "none",
        what: "nothing",
        path: ["frontend-canary", "cart-stable", "orders-stable", "payment-stable"],
        sources: ["pod", "none", "none"],
        dropped_by: Some("cart"),
    },
];

/// Checks the claim.
///
/// # Errors
/// When a request or an admin interface is not answered.
pub async fn check(stage: &Stage, console: &mut Console) -> Result<()> {
    console.claim("3", "The lane along the chain, by what the apps forward");
    for case in &CASES {
        console.progress(&format!("apps forward {}", case.what));
        let before = read(stage).await?;
        let asks = (0..REQUESTS).map(|number| ask(case.forward, number)).collect();
        let (answers, _) = ask_all(&stage.entry(true), 2, asks).await?;
        let grown = since(&read(stage).await?, &before);
        report_path(console, case, &answers);
        report_sources(console, case, &grown);
        report_drop(console, case, &grown);
    }
    Ok(())
}

/// A tester's request with a trace of its own, as a client or a gateway with tracing would send it.
fn ask(forward: &str, number: usize) -> Ask {
    let kind: u32 = forward.bytes().map(u32::from).sum();
    let trace =
        format!("00-{:016x}{:016x}-{:016x}-01", 0x6772_6179_u64 << 16 | u64::from(kind), number + 1, number + 1);
    Ask::get(format!("/?forward={forward}")).with("x-user-group", "beta").with("traceparent", trace)
}

fn report_path(console: &mut Console, case: &Case, answers: &[Seen]) {
    let right = took(answers, &case.path);
    let what = format!("apps forward {}", case.what);
    let figure = format!("{} by {}", of(right, answers.len()), case.path[2]);
    console.check(right == REQUESTS, what, figure, format!("all by {}", case.path[2]));
}

/// The calls of the chain, each with the Envoy whose outbound side made it.
fn report_sources(console: &mut Console, case: &Case, grown: &BTreeMap<String, Stats>) {
    let mut found = Vec::new();
    for caller in case.path.iter().take(3) {
        let stats = grown.get(*caller).cloned().unwrap_or_default();
        let sources = stats.by_label(CONTEXT, &[("direction", "outbound")], "source");
        let all = sources.iter().map(|(source, count)| (source.as_str(), *count));
        let words = all.map(|(source, count)| match count {
            count if count == REQUESTS as u64 => source.to_owned(),
            count => format!("{source} x{count}"),
        });
        let words: Vec<String> = words.collect();
        found.push(if words.is_empty() { "nothing counted".into() } else { words.join("+") });
    }
    let wanted = case.sources.map(str::to_owned);
    let line = |sources: &[String]| sources.join(", ");
    console.check(found == wanted, "  lane's source at frontend, cart, orders", line(&found), line(&wanted));
}

/// The meter: a workload into which more lane requests came than calls went out drops the lane.
fn report_drop(console: &mut Console, case: &Case, grown: &BTreeMap<String, Stats>) {
    let mut droppers: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for stats in grown.values() {
        for (workload, calls) in stats.by_label(CONTEXT, &[("direction", "outbound")], "workload") {
            let lane = |direction| {
                stats.sum(CONTEXT, &[("direction", direction), ("lane", "canary"), ("workload", &workload)])
            };
            let (came, went) = (lane("inbound"), lane("outbound"));
            if calls > 0 && came > went {
                droppers.insert(workload, (came, went));
            }
        }
    }
    let words = |(workload, (came, went)): (&String, &(u64, u64))| format!("{workload} (canary in {came}, out {went})");
    let figure = droppers.iter().map(words).collect::<Vec<_>>().join(", ");
    let found: Vec<&str> = droppers.keys().map(String::as_str).collect();
    let holds = found == case.dropped_by.into_iter().collect::<Vec<_>>();
    let figure = if figure.is_empty() { "nobody".into() } else { figure };
    console.check(holds, "  who drops it, by the meter", figure, case.dropped_by.unwrap_or("nobody"));
}

async fn read(stage: &Stage) -> Result<BTreeMap<String, Stats>> {
    let mut all = BTreeMap::new();
    for name in stage.running() {
        let stats = stage.stats(&name, CONTEXT).await?;
        all.insert(name, stats);
    }
    Ok(all)
}

fn since(now: &BTreeMap<String, Stats>, before: &BTreeMap<String, Stats>) -> BTreeMap<String, Stats> {
    let grown = |(name, stats): (&String, &Stats)| {
        let before = before.get(name).cloned().unwrap_or_default();
        (name.clone(), stats.since(&before))
    };
    now.iter().map(grown).collect()
}
