//! Compiled conditions.

use hashbrown::HashSet;
use regex_lite::Regex;
use semver::{Version, VersionReq};

use crate::field::{FieldId, Values};
use crate::hash::slot_with_seed;
use crate::number::Number;

/// A condition whose fields and values are ready to compare.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Match { field: FieldId, test: Test },
    Percent { share: u32, seed: u64 },
}

/// A compiled operator.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<[u8]>),
    In(HashSet<Box<[u8]>>),
    Present,
    Absent,
    Regex(Regex),
    Range { min: Number, max: Number },
    Semver(VersionReq),
}

/// Longest value a regular expression is tried on; a longer one does not match. The engine is linear
/// in it, so this bounds the time a request can cost.
pub const MAX_REGEX_INPUT: usize = 4096;

/// The version a value stands for; a leading `v` is ignored and missing parts are zero.
pub(crate) fn version(value: &[u8]) -> Option<Version> {
    let text = std::str::from_utf8(value).ok()?;
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    Version::parse(text).ok().or_else(|| padded(text))
}

/// `1` and `1.4` as `1.0.0` and `1.4.0`.
fn padded(text: &str) -> Option<Version> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let missing = 2_usize.checked_sub(text.bytes().filter(|&byte| byte == b'.').count())?;
    if !digits {
        return None;
    }
    Version::parse(&format!("{text}{}", ".0".repeat(missing))).ok()
}

// === impl Condition ===

impl Condition {
    /// Whether the condition holds for a request.
    pub(crate) fn holds(&self, values: &mut Values<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(values)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(values)),
            Self::Not(part) => !part.holds(values),
            Self::Match { field, test } => test.holds(values.get(*field)),
            Self::Percent { share, seed } => {
                values.unit().is_some_and(|unit| u32::from(slot_with_seed(unit, *seed)) < *share)
            }
        }
    }

    /// Whether the condition asks for the unit.
    pub(crate) fn needs_unit(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::needs_unit),
            Self::Not(part) => part.needs_unit(),
            Self::Match { .. } => false,
            Self::Percent { .. } => true,
        }
    }
}

// === impl Test ===

impl Test {
    fn holds(&self, value: Option<&[u8]>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Absent);
        };
        match self {
            Self::Exact(wanted) => value == &**wanted,
            Self::Prefix(wanted) => value.starts_with(wanted),
            Self::Suffix(wanted) => value.ends_with(wanted),
            Self::Contains(wanted) => contains(value, wanted),
            Self::In(set) => set.contains(value),
            Self::Present => true,
            Self::Absent => false,
            Self::Regex(regex) => value.len() <= MAX_REGEX_INPUT && regex.is_match(&text_of(value)),
            Self::Range { min, max } => Number::parse(value).is_some_and(|number| (*min..=*max).contains(&number)),
            Self::Semver(wanted) => version(value).is_some_and(|version| wanted.matches(&version)),
        }
    }
}

fn contains(value: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || value.windows(wanted.len()).any(|window| window == wanted)
}

/// Bytes as text: UTF-8 where they are, else one character a byte (Latin-1), as Envoy reads headers.
fn text_of(value: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => value.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
    }
}
