//! A request that still meets the document before, when its worker has read the next one already.

use std::time::{Duration, Instant};

use anyhow::Result;
use graylane_tests::client::{Ask, Connection, Protocol};
use graylane_tests::stage::{Stage, at_once};
use graylane_tests::{ecds, on_every_envoy, paths};

on_every_envoy!(a_last_request_between_two_documents_leaves_no_worker_behind);

/// Documents, each with one request that comes a little later after it than that after the one before: between
/// its reading and its use are some tenths of a millisecond, a few milliseconds after it was pushed. Eight of a
/// hundred met them when this was written.
const DOCUMENTS: u32 = 80;
/// By how much later.
const LATER: Duration = Duration::from_micros(150);

fn a_last_request_between_two_documents_leaves_no_worker_behind(stage: &Stage) -> Result<()> {
    let scenario = stage.copy_with("header", &paths::filter()?, |_, text| text)?;
    let envoy = scenario.start()?;
    let file = scenario.folder.join("ecds/gateway.json");
    at_once(async {
        let mut connection = Connection::open(scenario.port(10000), Protocol::Http1).await?;
        for number in 1..=DOCUMENTS {
            let generation = u64::from(number) + 1;
            ecds::change(&file, |document| document.generation = generation)?;
            let changed = Instant::now();
            // No timer is as exact as that.
            while changed.elapsed() < LATER * number {
                std::hint::spin_loop();
            }
            connection.send(&Ask::get("127.0.0.1", "/")).await?;
            // No other request shows this worker that it is behind.
            tokio::task::block_in_place(|| envoy.wait_for_generation("gateway", generation, 2))?;
        }
        Ok(())
    })
}
