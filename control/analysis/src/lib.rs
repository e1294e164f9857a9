//! The pure core of a release's judgement: counters in, verdict out.
//!
//! [`counts`] turns the raw counters of proxies into what happened between two moments; [`plan`] says
//! what a release is judged by; [`judge`] keeps the evidence and gives the verdict; [`locate`] names
//! the hop that failed. No I/O, no clock and no randomness: times are Unix milliseconds that the
//! caller passes in, so the controller, the tests and the virtual-time suite run the same code.
//!
//! The statistics are anytime-valid: evidence is kept as e-processes (Ramdas, Grünwald, Vovk, Shafer:
//! "Game-theoretic statistics and safe anytime-valid inference", 2023), so looking every second costs
//! nothing, and the chance that a good release is ever called bad stays under a bound fixed in advance.

#![forbid(unsafe_code)]

pub mod counts;
pub mod judge;
pub mod locate;
pub mod plan;

/// The lane that every other is compared with.
pub const STABLE: &str = "stable";

pub use counts::{Cell, Cohort, Direction, Interval, Ledger, Metric, Origin, Quit, Reading, Series, Tally};
pub use judge::{Evidence, Finding, Outcome, Verdict};
pub use locate::{Fault, FaultKind};
pub use plan::{Method, Objective, ObjectiveKind, Plan, PlanProblem, ServicePlan};
