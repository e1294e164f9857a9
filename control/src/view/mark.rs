//! The one sign that says how something stands, the same as in Argo Rollouts.

use crate::engine::status::Phase;

/// How something stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Nothing to say.
    #[default]
    None,
    /// As it should be, or done.
    Good,
    /// On its way.
    Moving,
    /// Stands still on purpose.
    Paused,
    /// Has failed.
    Bad,
    /// Works, but not as it should.
    Warning,
}

/// All signs, for whoever gives them colours.
pub const ALL: [Mark; 5] = [Mark::Good, Mark::Moving, Mark::Paused, Mark::Bad, Mark::Warning];

// === impl Mark ===

impl Mark {
    /// The sign; empty for nothing.
    pub fn sign(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Good => "✔",
            Self::Moving => "◌",
            Self::Paused => "॥",
            Self::Bad => "✖",
            Self::Warning => "⚠",
        }
    }

    /// Its colour as the number of an ANSI escape (SGR).
    pub fn colour(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Good => 32,
            Self::Moving => 36,
            Self::Paused | Self::Warning => 33,
            Self::Bad => 31,
        }
    }

    /// The sign before a word.
    pub fn with(self, word: &str) -> String {
        match (self.sign(), word) {
            ("", word) => word.to_owned(),
            (sign, "") => sign.to_owned(),
            (sign, word) => format!("{sign} {word}"),
        }
    }

    /// The sign of a phase.
    pub fn of(phase: Phase) -> Self {
        match phase {
            Phase::Pending | Phase::Progressing | Phase::Promoting => Self::Moving,
            Phase::Paused => Self::Paused,
            Phase::RollingBack => Self::Warning,
            Phase::Invalid | Phase::RolledBack => Self::Bad,
            Phase::Succeeded => Self::Good,
        }
    }
}
