//! The engine of a release, the same for a cluster and for a folder.
//!
//! [`decide`] is the pure middle: from a release, its [`status`] and what is [`seen`] at a time it makes
//! the next status and what has to be done; what a person asks has to pass [`refusal`] first.
//! [`documents`] makes the config of proxies from statuses. [`run`] is the loop around them; the world is
//! behind the traits of [`seams`].

pub mod decide;
pub mod documents;
mod healing;
pub mod judging;
mod keep;
mod memory;
mod news;
mod owners;
mod pass;
pub mod refusal;
pub mod request;
pub mod rollout;
pub mod run;
pub mod seams;
pub mod seen;
pub mod status;
pub mod streams;
pub mod verdict;

/// Milliseconds since the Unix epoch.
pub type Millis = u64;
