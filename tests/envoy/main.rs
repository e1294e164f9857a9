//! The shipped module in real Envoys, the newest and the oldest supported one.

mod bad_config;
mod behind_apps;
mod carried_routes;
mod cart;
mod compose;
mod configs;
mod entries;
mod expiry;
mod fields;
mod forging;
mod hostile;
mod hostile_input;
mod hot_reload;
mod labels;
mod marks;
mod memory;
mod origins;
mod outcomes;
mod pushes;
mod readmes;
mod reverts;
mod sticky;
mod traces;
mod trap;
mod windows;
mod withdrawn;
