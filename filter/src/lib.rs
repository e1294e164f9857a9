//! The graylane filter: the thin shell between Envoy and [`graylane_policy`].
//!
//! The shell gathers the facts of a request from the [`host::Host`], lets the policy decide, and
//! carries the decision out. It knows no rules, and the policy knows no host. Only `wasm` knows
//! proxy-wasm, and it exists on wasm32 alone, so everything else compiles and is tested natively on
//! `fake::FakeHost`.
//!
//! Whatever fails in here, the request goes to stable: there is no path that blocks or answers one.

#![deny(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod brake;
pub mod cookie;
pub mod drain;
#[cfg(any(test, feature = "fake"))]
#[allow(clippy::indexing_slicing)]
pub mod fake;
pub mod force;
pub mod host;
pub mod meter;
pub mod named;
pub mod pairs;
pub mod ring;
pub mod root;
pub mod roster;
#[cfg(test)]
mod stories;
pub mod stream;
pub mod units;
#[cfg(target_arch = "wasm32")]
pub mod wasm;
