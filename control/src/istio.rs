//! What graylane reads and writes of Istio's API.
//!
//! [`stanza`] is written once, by `graylane install`; [`config`] is what changes during a release, and
//! [`assign`] decides what of it is written and with which generation. All of it is pure: the cluster
//! is elsewhere.

pub mod adoption;
pub mod assign;
pub mod config;
pub mod held;
pub mod manifest;
pub mod module;
pub mod network;
pub mod object;
pub mod routes;
pub mod stanza;
pub mod stop;
pub mod types;
pub mod unserved;
mod wasmplugin;

#[cfg(test)]
mod tests;

/// The one field manager of everything that graylane writes.
pub const MANAGER: &str = "graylane";

/// The label by which a pod, or a gateway, asks for the filter; its value is `true`.
pub const OPT_IN: &str = "graylane.io/enabled";

/// The label of pods on whose inbound side lanes are chosen; only the WasmPlugin emitter needs it.
pub const ENTRY_INBOUND: &str = "graylane.io/entry-inbound";

/// The label of pods on whose outbound side lanes are chosen; only the WasmPlugin emitter needs it.
pub const ENTRY_OUTBOUND: &str = "graylane.io/entry-outbound";

/// Annotation: SHA-256 of the spec as graylane wrote it. Another spec beside it is drift.
pub const SHA256: &str = "graylane.io/sha256";

/// Annotation: the highest generation that was ever handed out in the namespace, as far as the writer
/// knew. It outlives the documents when they give way to an inert config.
pub const GENERATION: &str = "graylane.io/generation";

/// Annotation of a config that was stopped by hand: who did it, and when. While it is there, nothing is
/// written to the namespace.
pub const STOPPED: &str = "graylane.io/stopped";
