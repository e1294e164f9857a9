//! On a real API server.

mod definition;
mod refused;
mod smoke;
