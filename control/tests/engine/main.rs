//! Stories of releases: the whole engine on a world in memory, with a clock that tests turn.

mod story;
mod traffic;
mod world;

mod argo;
mod astray;
mod crashes;
mod gates;
mod groups;
mod handover;
mod judging;
mod questions;
mod refusals;
mod requests;
mod settings;
mod spoilt;
mod steps;
mod withdrawals;
