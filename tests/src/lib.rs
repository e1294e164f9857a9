//! What the tests are told with: real Envoys, scenario folders, toy applications, clients, test beds.
//!
//! Everything here waits by polling with a deadline and never sleeps for a fixed time; every process
//! is started in its own group and ended by its id when its owner is dropped.

pub mod admin;
pub mod app;
pub mod bed;
pub mod client;
pub mod console;
pub mod document;
pub mod ecds;
pub mod envoy;
pub mod figures;
pub mod group;
pub mod jwt;
pub mod paths;
pub mod poll;
pub mod ports;
pub mod scenario;
pub mod stage;
pub mod stats;
pub mod tls;
