//! `:authority`, as Envoy matches it: case does not count, and the port may or may not be there.

/// Longest authority that is looked at: a DNS name (253) with a port.
const MAX_BYTES: usize = 260;

/// An authority in lower case, on the stack.
#[derive(Clone, Copy)]
pub struct Authority {
    bytes: [u8; MAX_BYTES],
    len: usize,
    host_len: usize,
}

// === impl Authority ===

impl Authority {
    /// Lower-cases an authority; `None` when it is empty or longer than any name may be.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_BYTES];
        let target = bytes.get_mut(..text.len()).filter(|target| !target.is_empty())?;
        target.copy_from_slice(text);
        target.make_ascii_lowercase();
        Some(Self { host_len: host_len(target), len: target.len(), bytes })
    }

    /// The whole authority.
    pub fn whole(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// The host without its port; an IPv6 literal keeps its brackets.
    pub fn host(&self) -> &[u8] {
        self.bytes.get(..self.host_len).unwrap_or(&[])
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
