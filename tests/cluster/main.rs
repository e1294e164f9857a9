//! On a real API server.

mod definition;
mod outcomes;
mod refused;
mod smoke;
