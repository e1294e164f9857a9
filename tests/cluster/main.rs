//! On a real API server.

mod answers;
mod cli;
mod definition;
mod drift;
mod elections;
mod gates;
mod install;
mod kills;
mod outcomes;
mod refused;
mod releases;
mod scale;
mod smoke;
mod stage;
mod storms;
mod tokens;
mod town;
mod traces;
mod verbs;
mod weather;
