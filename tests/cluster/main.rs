//! On a real API server.

mod smoke;
