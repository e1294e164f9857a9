//! Good and bad releases in virtual time.
//!
//! A seed tells one release: its traffic, what goes wrong, which readings get lost. [`run::run`] lets
//! the shipped engine and the other rules judge it on the same users. `make bench-release` runs seeds that no
//! setting was chosen by ([`suite::HELD_OUT`]); the tests run others.

#![forbid(unsafe_code)]

pub mod brake;
pub mod draw;
pub mod figures;
pub mod others;
pub mod pilot;
pub mod proxies;
pub mod real;
pub mod record;
pub mod rivals;
pub mod run;
pub mod scenario;
pub mod share;
pub mod suite;
pub mod table;
pub mod trace;
mod truth;
pub mod units;
pub mod users;
pub mod world;
