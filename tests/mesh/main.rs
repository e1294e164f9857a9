//! On a real mesh: API server, istiod, Istio's agent, and an Envoy in every pod.

mod asking;
mod bed;
mod control;
mod faults;
mod releases;
mod smoke;
mod traffic;
mod weights;
mod wiring;
