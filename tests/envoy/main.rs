//! The shipped module in real Envoys, the newest and the oldest supported one.

mod configs;
mod readmes;
