//! The bed itself: real pods answer through real proxies.

use anyhow::{Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::client::Ask;
use graylane_tests::poll;

#[test]
fn smoke_the_shop_answers_through_gateway_and_sidecars() {
    bed::tell(&Bed::mesh(), |bed| {
        bed.shop()?;
        let path = poll::until("an answer", poll::PATIENCE, || path(bed, &Ask::get("shop.example.com", "/")))?;
        ensure!(path == ["orders-stable", "stock-stable"], "{path:?}");
        Ok(())
    });
}

/// Who answered, in the order of the calls.
fn path(bed: &Bed, ask: &Ask) -> Result<Vec<String>> {
    let answer = bed.ask(ask)?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let mut names = Vec::new();
    let mut seen = answer.json()?;
    while let Some(at) = seen["at"].as_str() {
        names.push(at.to_owned());
        seen = seen["next"].take();
    }
    Ok(names)
}
