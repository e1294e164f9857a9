//! The claims of the demo, each checked on real traffic.

pub mod chain;
pub mod faults;
pub mod judging;
pub mod routing;
pub mod storm;
pub mod weights;

use crate::app::Seen;

/// The way through the chain when every service that has a canary answers with it.
pub const CANARY: [&str; 4] = ["frontend-canary", "cart-stable", "orders-canary", "payment-stable"];
/// The way through the chain outside of every lane.
pub const STABLE: [&str; 4] = ["frontend-stable", "cart-stable", "orders-stable", "payment-stable"];

/// How many answers took this way, with no app having seen a route header.
pub fn took(answers: &[Seen], path: &[&str]) -> usize {
    let clean = |seen: &Seen| seen.hops().iter().all(|hop| hop.route.is_none());
    answers.iter().filter(|seen| seen.path() == path && clean(seen)).count()
}

/// `20 of 20`.
pub fn of(part: usize, whole: usize) -> String {
    format!("{part} of {whole}")
}
