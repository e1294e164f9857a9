//! The shipped module in real Envoys, the newest and the oldest supported one.

mod bad_config;
mod configs;
mod expiry;
mod forging;
mod hostile;
mod hot_reload;
mod labels;
mod readmes;
mod trap;
