//! What a person asks of a release. It travels as one annotation, so that the API server says who may
//! ask, and is handled once: its id is kept in the status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The annotation that holds a request, as JSON.
pub const ANNOTATION: &str = "graylane.io/request";

/// A request of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Unique; a request whose id is in the status is not handled again.
    pub id: String,
    /// What is asked.
    pub verb: Verb,
    /// The step that the person saw; a promotion of another step is refused, so that a double click
    /// does not skip two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// End the wait of the current step; or say that stable runs the new version.
    Promote,
    /// Go to the last weight without further waits, then hand over.
    PromoteFull,
    /// Stay at the current weight.
    Pause,
    /// End a pause.
    Resume,
    /// Return everything to stable.
    Abort,
    /// Begin again after a rollback or a success.
    Retry,
    /// Give stable back the version it had before the handover; before one, the same as abort.
    Undo,
}

// === impl Verb ===

impl Verb {
    /// The verb as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote --full",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Undo => "undo",
        }
    }
}
