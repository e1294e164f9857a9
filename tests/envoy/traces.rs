//! Lanes found again by trace id, whichever convention an application forwards.

use anyhow::{Result, ensure};
use graylane_tests::client::Ask;
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{on_every_envoy, paths};

use crate::cart::{Cart, INBOUND, OUTBOUND, received, who};

on_every_envoy!(lane_is_found_by_any_trace_id, lane_is_found_though_envoy_marks_the_request_id_as_sampled,);

/// A header that carries a trace id, and its value for an id and a span.
type Convention = (&'static str, fn(u64, u64) -> String);

const CONVENTIONS: [Convention; 6] = [
    ("traceparent", |id, span| format!("00-{id:032x}-{span:016x}-01")),
    ("b3", |id, span| format!("{id:032x}-{span:016x}-1-{id:016x}")),
    ("b3", |id, span| format!("{id:016x}-{span:016x}")),
    ("x-b3-traceid", |id, _| format!("{id:032x}")),
    ("x-b3-traceid", |id, _| format!("{id:016x}")),
    ("x-request-id", |id, _| request_id(id)),
];

fn lane_is_found_by_any_trace_id(stage: &Stage) -> Result<()> {
    let scenario = stage.copy("chain")?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        let mut found = 0.0;
        for (trace, (header, value)) in (0x4bf9_2f35_77b3_4da6_u64..).step_by(0x1_0001).zip(CONVENTIONS) {
            cart.send(INBOUND, &in_canary(header, &value(trace, 1))).await?;
            is_in_canary(&cart, header, &value(trace, 2)).await?;
            found += 1.0;
            let other = cart.send(OUTBOUND, &Ask::get("orders", "/").header(header, value(trace + 1, 2))).await?;
            ensure!(who(&other)? == "orders stable", "{header}: another trace is in no lane: {}", other.text());
        }
        let by_trace = [("workload", "cart"), ("direction", "outbound"), ("lane", "canary"), ("source", "trace")];
        cart.envoy.wait_for_sum("graylane_context_total", &by_trace, found)
    })
}

/// An Envoy that samples rewrites one digit of `x-request-id`, which then says why it is traced.
fn lane_is_found_though_envoy_marks_the_request_id_as_sampled(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("chain", &paths::filter()?, |file, text| match file {
        "cart-stable.yaml" => {
            let sampling = "tracing: {random_sampling: {value: 100}}\n          stat_prefix: outbound\n";
            text.replace("stat_prefix: outbound\n", sampling)
        }
        _ => text,
    })?;
    at_once(async {
        let cart = Cart::start(scenario).await?;
        let id = request_id(7);
        cart.send(INBOUND, &in_canary("x-request-id", &id)).await?;
        let call = cart.send(OUTBOUND, &Ask::get("orders", "/").header("x-request-id", &id)).await?;
        ensure!(received(&call, "x-request-id")? != [id.as_str()], "this Envoy did not sample: {}", call.text());
        is_in_canary(&cart, "x-request-id", &id).await
    })
}

fn in_canary(header: &str, value: &str) -> Ask {
    let lane = Ask::get("cart", "/").header("x-release-stage", "canary").header("x-graylane-cohort", "shop=slot");
    lane.header(header, value)
}

async fn is_in_canary(cart: &Cart, header: &str, value: &str) -> Result<()> {
    let call = cart.send(OUTBOUND, &Ask::get("orders", "/").header(header, value)).await?;
    ensure!(who(&call)? == "orders canary", "{header}: {value}: {}", call.text());
    ensure!(received(&call, "x-release-stage")? == ["canary"], "{header}: {}", call.text());
    ensure!(received(&call, "x-graylane-cohort")? == ["shop=slot"], "{header}: {}", call.text());
    Ok(())
}

/// A UUID of version 4, as Envoy makes them.
fn request_id(id: u64) -> String {
    format!("{:08x}-{:04x}-4a6b-8c3d-{:012x}", id >> 32, (id >> 16) & 0xffff, id & 0xffff)
}
