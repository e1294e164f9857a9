//! On a real mesh: API server, istiod, Istio's agent, and an Envoy in every pod.

mod asking;
mod bed;
mod smoke;
mod wiring;
