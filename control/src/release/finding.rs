//! What is wrong with a file, said so that a person can mend it at once.

use std::fmt;

use serde::Serialize;

/// One problem of a release file or of another input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, `-` for standard input, or the option that was given.
    pub file: String,
    /// Line in the file, counted from 1, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Path of the value, such as `spec.rules[2].lane`; empty when the whole file is meant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What is wrong, with the value.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mend: String,
}

/// Every problem of the inputs; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Text(.0))]
pub struct Findings(pub Vec<Finding>);

struct Text<'a>(&'a [Finding]);

// === impl Finding ===

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.mend.is_empty() {
            write!(f, "; {}", self.mend)?;
        }
        Ok(())
    }
}

// === impl Text ===

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{finding}")?;
        }
        Ok(())
    }
}

// === impl Findings ===

impl Findings {
    /// A single finding about a whole file or option.
    pub fn of(file: impl Into<String>, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self(vec![Finding {
            file: file.into(),
            line: None,
            path: String::new(),
            message: message.into(),
            mend: mend.into(),
        }])
    }
}
