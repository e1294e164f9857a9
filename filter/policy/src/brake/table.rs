//! The evidence of one role of a proxy as its workers share it: a table of bounded size under one key,
//! because the host never frees a key.
//!
//! Bytes: for each line the words below, 8 bytes each and little endian, then length (1) and bytes of
//! the release's name, and the same of the lane's.

use super::Evidence;
use super::evidence::RATIOS;

/// Most lines; one more takes the place of the one not seen for longest.
const MAX_LINES: usize = 64;
/// A lane that no document names any more is forgotten after this long.
const FORGET_MS: u64 = 600_000;
/// Number of words of a line.
const WORDS: usize = 9 + RATIOS.len();

/// What all workers know of one lane in one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// [`super::BrakedLane::identity`].
    pub identity: u64,
    /// When a document last named it, in Unix milliseconds, give or take a minute.
    pub seen_unix_ms: u64,
    /// When the brake tripped, in Unix milliseconds; 0 while it has not.
    pub tripped_unix_ms: u64,
    /// The evidence.
    pub evidence: Evidence,
    /// `namespace/name` of the release.
    pub rollout: String,
    /// Name of the lane.
    pub lane: String,
}

/// The lines of one role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// In no order that means anything.
    pub lines: Vec<Line>,
}

// === impl Table ===

impl Table {
    /// The line of a lane in an attempt.
    pub fn line(&self, identity: u64) -> Option<&Line> {
        self.lines.iter().find(|line| line.identity == identity)
    }

    /// The same, to be changed.
    pub fn line_mut(&mut self, identity: u64) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.identity == identity)
    }

    /// Adds a line; the dead leave, and if need be the oldest.
    pub fn add(&mut self, line: Line) {
        let now = line.seen_unix_ms;
        self.lines.retain(|old| old.seen_unix_ms.saturating_add(FORGET_MS) >= now);
        if self.lines.len() >= MAX_LINES {
            let oldest = self.lines.iter().enumerate().min_by_key(|(_, line)| line.seen_unix_ms).map(|(at, _)| at);
            oldest.map(|at| self.lines.swap_remove(at));
        }
        self.lines.push(line);
    }

    /// The bytes of the table.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for line in &self.lines {
            line.words().iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
            push_text(&mut out, &line.rollout);
            push_text(&mut out, &line.lane);
        }
        out
    }

    /// Reads a table; what does not read like one ends it.
    pub fn decode(mut bytes: &[u8]) -> Self {
        let mut lines = Vec::new();
        while let Some((line, rest)) = Line::decode(bytes) {
            lines.push(line);
            bytes = rest;
        }
        Self { lines }
    }
}

// === impl Line ===

impl Line {
    /// Whether the brake has tripped.
    pub fn is_tripped(&self) -> bool {
        self.tripped_unix_ms > 0
    }

    fn words(&self) -> [u64; WORDS] {
        let Evidence { stakes, reserve, fed_unix_ms, minute, failures, units } = self.evidence;
        let [a, b, c, d] = stakes.map(f64::to_bits);
        let failures = u64::from(failures[0]) | u64::from(failures[1]) << 32;
        [
            self.identity,
            self.seen_unix_ms,
            self.tripped_unix_ms,
            fed_unix_ms,
            minute,
            failures,
            units[0],
            units[1],
            reserve.to_bits(),
            a,
            b,
            c,
            d,
        ]
    }

    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (words, rest) = bytes.split_first_chunk::<{ WORDS * 8 }>()?;
        let mut words = words.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next().unwrap_or(0);
        let (identity, seen_unix_ms, tripped_unix_ms) = (next(), next(), next());
        let (fed_unix_ms, minute, failures) = (next(), next(), next());
        let units = [next(), next()];
        let mut float = || Some(f64::from_bits(next())).filter(|float| (0.0..=1e300).contains(float));
        let (reserve, stakes) = (float()?, [float()?, float()?, float()?, float()?]);
        let failures = [failures as u32, (failures >> 32) as u32];
        let evidence = Evidence { stakes, reserve, fed_unix_ms, minute, failures, units };
        let (rollout, rest) = take_text(rest)?;
        let (lane, rest) = take_text(rest)?;
        Some((Self { identity, seen_unix_ms, tripped_unix_ms, evidence, rollout, lane }, rest))
    }
}

/// Release and lane are checked to be shorter than 255 bytes.
fn push_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes().get(..text.len().min(255)).unwrap_or_default();
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

fn take_text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(len))?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}
