//! `:authority`, as Envoy matches it: case does not count, and the port may or may not be there.

use std::borrow::Cow;

/// Longest authority that is looked at: a DNS name (253) with a port.
const MAX_BYTES: usize = 260;

/// An authority in lower case. Nearly all come in lower case, and are not copied.
#[derive(Clone, Debug)]
pub struct Authority<'t> {
    text: Cow<'t, [u8]>,
    host_len: usize,
}

// === impl Authority ===

impl<'t> Authority<'t> {
    /// Lower-cases an authority; `None` when it is empty or longer than any name may be.
    pub fn parse(text: &'t [u8]) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_BYTES {
            return None;
        }
        let mixed = text.iter().any(u8::is_ascii_uppercase);
        let text = if mixed { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) };
        Some(Self { host_len: host_len(&text), text })
    }

    /// The whole authority.
    pub fn whole(&self) -> &[u8] {
        &self.text
    }

    /// The host without its port; an IPv6 literal keeps its brackets.
    pub fn host(&self) -> &[u8] {
        self.text.get(..self.host_len).unwrap_or(&[])
    }
}

/// Length of the part before `:port`, if what follows the last colon is a port.
fn host_len(authority: &[u8]) -> usize {
    let Some(colon) = authority.iter().rposition(|&byte| byte == b':') else {
        return authority.len();
    };
    let port = authority.get(colon.saturating_add(1)..).unwrap_or(&[]);
    let inside_brackets = port.contains(&b']');
    if inside_brackets || port.is_empty() || !port.iter().all(u8::is_ascii_digit) { authority.len() } else { colon }
}
