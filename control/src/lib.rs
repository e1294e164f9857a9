//! Control of gray releases: from release files to the documents that the filter runs, and back from
//! proxies to what they say they run.
//!
//! The binary `graylane` is a thin shell over this library: [`cli`] reads the command line, [`release`]
//! and [`build`] are pure, [`local`] keeps a folder, [`ack`] asks proxies.

#![forbid(unsafe_code)]

pub mod ack;
pub mod api;
pub mod app;
pub mod argo;
pub mod build;
pub mod causes;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod counts;
pub mod crd;
pub mod demo;
pub mod engine;
pub mod http;
pub mod istio;
pub mod local;
pub mod log;
pub mod notify;
pub mod release;
pub mod stats;
pub mod traces;
pub mod view;
