//! The words of a decision: lane, cohort, reason.

/// A lane of one group, by position; 0 is `stable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u16);

/// `stable`, which every group has.
pub const STABLE: LaneId = LaneId(0);

/// How a request came to its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cohort {
    /// By weight. Also every stable request that no rule asked for: the baseline.
    Slot,
    /// Explicitly: testers.
    Rule,
    /// Without a unit to be sticky to.
    Random,
    /// It wanted a lane that the destination does not have ready; stable serves.
    Fallback,
    /// The lane is known, but not how it was chosen.
    Unknown,
}

/// Which evidence a lane came from; the `reason` label of `graylane_lane_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A verified tag.
    Tag,
    /// A rule of the entry.
    Rule,
    /// The slot of the unit, or a random draw where the policy says so.
    Slot,
    /// The carried header.
    Header,
    /// The baggage member.
    Baggage,
    /// The calling pod's own lane.
    Pod,
    /// The trace id, found in the ring.
    Trace,
    /// The slot table has lapsed, so weights pick nobody.
    Expired,
    /// The lane's brake has tripped on this proxy, so weights send nobody there.
    Brake,
    /// Nothing names a lane.
    None,
}

// === impl LaneId ===

impl LaneId {
    /// Whether this is `stable`.
    pub fn is_stable(self) -> bool {
        self == STABLE
    }
}

// === impl Cohort ===

impl Cohort {
    /// Every cohort, in the order of [`Cohort::index`].
    pub const ALL: [Self; 5] = [Self::Slot, Self::Rule, Self::Random, Self::Fallback, Self::Unknown];

    /// The metric label, and the value that travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Rule => "rule",
            Self::Random => "random",
            Self::Fallback => "fallback",
            Self::Unknown => "unknown",
        }
    }

    /// Position in [`Cohort::ALL`].
    pub fn index(self) -> u8 {
        self as u8
    }

    /// The cohort of a travelling value; anything else is [`Cohort::Unknown`]. A fallback is of one
    /// hop and never travels.
    pub fn parse(text: &[u8]) -> Self {
        let travelling = Self::ALL.into_iter().filter(|cohort| *cohort != Self::Fallback);
        travelling.into_iter().find(|cohort| cohort.as_str().as_bytes() == text).unwrap_or(Self::Unknown)
    }
}

// === impl Reason ===

impl Reason {
    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Rule => "rule",
            Self::Slot => "slot",
            Self::Header => "header",
            Self::Baggage => "baggage",
            Self::Pod => "pod",
            Self::Trace => "trace",
            Self::Expired => "expired",
            Self::Brake => "brake",
            Self::None => "none",
        }
    }
}
