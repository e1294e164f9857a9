//! On a real mesh: API server, istiod, Istio's agent, and an Envoy in every pod.

mod smoke;
mod wiring;
