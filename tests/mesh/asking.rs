//! Requests to the shop, and who answers them.

use anyhow::{Result, ensure};
use graylane_tests::bed::Bed;
use graylane_tests::client::{Answer, Ask};

/// Who answers when no lane is taken.
pub const STABLE: [&str; 2] = ["orders-stable", "stock-stable"];
/// Who answers in the lane.
pub const CANARY: [&str; 2] = ["orders-canary", "stock-canary"];
/// Puts Istio's agent into the pods of a Deployment, as a patch.
pub const WITH_AGENT: &str =
    r#"{"spec": {"template": {"metadata": {"annotations": {"bed.graylane.io/proxy": "agent"}}}}}"#;

/// A request of an ordinary user.
pub fn anybody() -> Ask {
    Ask::get("shop.example.com", "/")
}

/// A request that the rule of the release sends to the canary.
pub fn tester() -> Ask {
    anybody().header("x-user-group", "beta")
}

/// Who answers, in the order of the calls.
pub fn path(bed: &Bed, ask: &Ask) -> Result<Vec<String>> {
    names(&bed.ask(ask)?)
}

/// Who has answered, in the order of the calls.
pub fn names(answer: &Answer) -> Result<Vec<String>> {
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let mut names = Vec::new();
    let mut seen = answer.json()?;
    while let Some(at) = seen["at"].as_str() {
        names.push(at.to_owned());
        seen = seen["next"].take();
    }
    // Whatever else came says why a call failed.
    ensure!(seen.is_null(), "{names:?} answered; then came {seen}");
    Ok(names)
}

/// Checks who answers.
pub fn takes(bed: &Bed, ask: &Ask, wanted: [&str; 2]) -> Result<()> {
    let names = path(bed, ask)?;
    ensure!(names == wanted, "{names:?} answered, not {wanted:?}");
    Ok(())
}
