//! What graylane reads and writes of Istio's API.

pub mod types;
