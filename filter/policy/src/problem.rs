//! What is wrong with a config: where, what, and how to mend it.

use std::fmt::{self, Display, Write};

use crate::path::Path;

/// One semantic problem of a document that has the right shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON path of the value, such as `groups[0].entry.rules[2].lane`.
    pub path: String,
    /// What is wrong, with the value that is wrong.
    pub message: String,
    /// What to write instead.
    pub mend: String,
}

/// Why a document was refused. The last good one keeps serving.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not JSON, or not of the document's shape. Only the first such place is known.
    #[error("config does not have the right shape: {path}: {message}")]
    Shape {
        /// JSON path of the first value that does not fit; `.` is the document itself.
        path: String,
        /// What the parser expected there, with line and column.
        message: String,
    },
    /// Values that have the right shape but make no sense; all of them.
    #[error("config has {} problem(s):{}", .0.len(), Lines(.0))]
    Semantic(Vec<Problem>),
}

struct Lines<'a>(&'a [Problem]);

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.message, self.mend)
    }
}

// === impl Lines ===

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

// === impl ConfigError ===

impl ConfigError {
    /// The semantic problems; empty for a shape error.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Shape { .. } => &[],
            Self::Semantic(problems) => problems,
        }
    }

    /// Stable label for metrics: `shape` or `semantic`.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Shape { .. } => "shape",
            Self::Semantic(_) => "semantic",
        }
    }
}

/// Collects problems while a document is checked, so that all of them are reported together.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem. Its words are only written here, so that a sound document writes none.
    #[cold]
    pub(crate) fn add(&mut self, path: &Path<'_>, message: &dyn Display, mend: &dyn Display) {
        self.0.push(Problem { path: path.to_string(), message: message.to_string(), mend: mend.to_string() });
    }

    /// Adds a problem unless `ok`; returns `ok`.
    pub(crate) fn require(&mut self, ok: bool, path: &Path<'_>, message: &dyn Display, mend: &dyn Display) -> bool {
        if !ok {
            self.add(path, message, mend);
        }
        ok
    }

    pub(crate) fn into_result<T>(self, value: T) -> Result<T, ConfigError> {
        if self.0.is_empty() { Ok(value) } else { Err(ConfigError::Semantic(self.0)) }
    }
}

/// A text of the document as it is shown in a message: control characters and quotes escaped.
pub(crate) struct Shown<'t>(pub(crate) &'t str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_default().try_for_each(|char| f.write_char(char))
    }
}
