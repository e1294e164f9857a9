//! Requests to the shop, and who answers them.

use anyhow::{Result, ensure};
use graylane_tests::bed::Bed;
use graylane_tests::client::Ask;

/// A request of an ordinary user.
pub fn anybody() -> Ask {
    Ask::get("shop.example.com", "/")
}

/// A request that the rule of the release sends to the canary.
pub fn tester() -> Ask {
    anybody().header("x-user-group", "beta")
}

/// Checks who answers, in the order of the calls.
pub fn takes(bed: &Bed, ask: &Ask, wanted: [&str; 2]) -> Result<()> {
    let answer = bed.ask(ask)?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let mut names = Vec::new();
    let mut seen = answer.json()?;
    while let Some(at) = seen["at"].as_str() {
        names.push(at.to_owned());
        seen = seen["next"].take();
    }
    ensure!(names == wanted, "{names:?} answered, not {wanted:?}; then came {seen}");
    Ok(())
}
