//! On a real mesh: API server, istiod, Istio's agent, and an Envoy in every pod.

mod adoption;
mod asking;
mod bed;
mod control;
mod examples;
mod faults;
mod plugins;
mod releases;
mod smoke;
mod traffic;
mod weights;
mod wiring;
