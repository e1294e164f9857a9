//! On a real API server.

mod refused;
mod smoke;
