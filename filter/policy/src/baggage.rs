//! W3C baggage (<https://www.w3.org/TR/baggage/>): reading our member and replacing it, and nothing
//! else. Other members pass through byte for byte, in their order.
//!
//! A member is `key=value` with optional `;property` parts; members are parted by `,`. Of repeated
//! keys the first wins. Our member is `graylane.<group>=<lane>;cohort=<cohort>`.

use std::borrow::Cow;

use crate::cookie::trim;
use crate::percent::decode;

/// How much of a baggage header is read (the standard asks for 8,192 bytes at least).
pub const MAX_BYTES: usize = 16 * 1024;

/// The value of a member, decoded, and its properties as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'b> {
    /// Percent-decoded value.
    pub value: Cow<'b, [u8]>,
    properties: &'b [u8],
}

/// The first member with this key.
pub fn first<'b>(header: &'b [u8], key: &[u8]) -> Option<Member<'b>> {
    let header = header.get(..MAX_BYTES).unwrap_or(header);
    members(header).find_map(|member| {
        let (name, value, properties) = parts(member)?;
        (name == key).then(|| Member { value: decode(value, false), properties })
    })
}

/// The header without any member of this key and with `member` at its end; empty when nothing is left.
///
/// The new member comes last: the standard lets intermediaries drop from either end, and appending
/// keeps everybody else's bytes where they were.
pub fn replace(header: &[u8], key: &[u8], member: Option<&str>) -> Vec<u8> {
    let others = members(header).filter(|other| !trim(other).is_empty() && key_of(other) != Some(key));
    let mut out: Vec<u8> = Vec::with_capacity(header.len().saturating_add(64));
    for part in others.chain(member.map(str::as_bytes)) {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(trim(part));
    }
    out
}

fn members(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    header.split(|&byte| byte == b',')
}

fn key_of(member: &[u8]) -> Option<&[u8]> {
    parts(member).map(|(key, _, _)| key)
}

/// Key, value and properties of a member; `None` when it has no `=`.
fn parts(member: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut halves = member.splitn(2, |&byte| byte == b';');
    let pair = halves.next()?;
    let properties = halves.next().unwrap_or(b"");
    let at = pair.iter().position(|&byte| byte == b'=')?;
    Some((trim(pair.get(..at)?), trim(pair.get(at.saturating_add(1)..)?), properties))
}

// === impl Member ===

impl<'b> Member<'b> {
    /// The value of a `key=value` property.
    pub fn property(&self, key: &[u8]) -> Option<&'b [u8]> {
        self.properties.split(|&byte| byte == b';').find_map(|property| {
            let at = property.iter().position(|&byte| byte == b'=')?;
            (trim(property.get(..at)?) == key).then(|| trim(property.get(at.saturating_add(1)..).unwrap_or(b"")))
        })
    }
}
