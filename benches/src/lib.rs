//! What benches, budgets and the load test share: one mix of rules in all its languages, the
//! requests that go with it, and the table of budgets.

pub mod budget;
pub mod mix;
pub mod operations;
pub mod story;
