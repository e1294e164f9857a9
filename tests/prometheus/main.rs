//! Releases that are judged by the answers of a real Prometheus.

mod business;
mod questions;
mod server;
