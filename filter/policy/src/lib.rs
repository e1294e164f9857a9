//! The pure core of graylane: what a lane is, who enters it, and how it is kept.
//!
//! No host calls, clock, I/O or logging: values in, values out. The filter, the controller, the CLI
//! and the webhook all use this one crate, so a document that one of them accepts, all accept.
//!
//! [`Policy::parse`] turns a document into a compiled policy; [`Policy::decide`] turns the facts of
//! one request into its lanes and the header writes that keep it there; [`slots::evolve`] moves
//! weights while moving as few users as can be.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod authority;
pub mod baggage;
pub mod brake;
mod bytes;
mod check;
mod condition;
pub mod cookie;
pub mod decide;
pub mod explain;
pub mod field;
pub mod hash;
pub mod headers;
mod index;
pub mod lane;
pub mod metric;
pub mod number;
pub mod outcome;
mod path;
mod percent;
mod policy;
mod problem;
pub mod query;
pub mod raw;
pub mod ring;
mod shape;
pub mod slots;
pub mod specimen;
pub mod trace;
pub mod vacant;

pub use check::MAX_GROUPS;
pub use decide::{Choice, Decision, Inputs, Write};
pub use lane::{Cohort, LaneId, Reason};
pub use policy::{Destination, Group, PodLane, Policy};
pub use problem::{ConfigError, Problem};
