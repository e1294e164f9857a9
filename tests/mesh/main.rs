//! On a real mesh: API server, istiod, Istio's agent, and an Envoy in every pod.

mod adoption;
mod argo;
mod asking;
mod bed;
mod control;
mod entries;
mod examples;
mod faults;
mod installed;
mod judging;
mod plugins;
mod readiness;
mod recovery;
mod releases;
mod smoke;
mod throughout;
mod traffic;
mod weights;
mod wiring;
