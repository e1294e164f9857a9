//! Request headers: which ones a config needs, and one pass over a request that picks them out.
//!
//! Reading all headers of a request in one go costs about as much as reading one and a half of them
//! one by one (a call into the host that returns data is the price, not the bytes), so the shell
//! hands over every pair and only the interesting ones are kept, as slices of the host's buffer.
//!
//! Of a repeated header the first value wins, and it is known that there were more: a route that
//! matches the header compares all of them, joined. Cookie, baggage and our list of cohorts are lists
//! and are joined instead.

use std::borrow::Cow;

use crate::bytes;

/// A header that some part of a config reads. An index into [`Captured`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaderId(u16);

/// The header that routes one hop.
pub const ROUTE: &str = "x-graylane-route";
/// The header that carries how each group's lane was chosen: `shop=slot,pay=rule`.
pub const COHORT: &str = "x-graylane-cohort";
/// W3C baggage.
pub const BAGGAGE: &str = "baggage";
/// Where a gateway's early header mutation puts what clients sent under one of our names.
pub const UNTRUSTED_PREFIX: &str = "x-graylane-untrusted-";

/// The interesting header names, by length and then by bytes.
#[derive(Clone, Debug, Default)]
pub struct HeaderTable {
    by_len: Vec<Vec<(Box<[u8]>, HeaderId)>>,
    joins: Vec<Option<&'static [u8]>>,
}

/// The interesting headers of one request.
#[derive(Clone, Debug)]
pub struct Captured<'r> {
    values: Vec<Option<Cow<'r, [u8]>>>,
    repeated: Vec<HeaderId>,
}

// === impl HeaderTable ===

impl HeaderTable {
    /// The id of a name, in lower case; the same name always has the same id.
    pub(crate) fn intern(&mut self, name: &str) -> HeaderId {
        let name = name.to_ascii_lowercase().into_bytes().into_boxed_slice();
        if let Some(id) = self.find(&name) {
            return id;
        }
        let id = HeaderId(self.joins.len().min(usize::from(u16::MAX)) as u16);
        self.joins.push(joint_of(&name));
        if self.by_len.len() <= name.len() {
            self.by_len.resize(name.len().saturating_add(1), Vec::new());
        }
        if let Some(bucket) = self.by_len.get_mut(name.len()) {
            bucket.push((name, id));
        }
        id
    }

    /// Picks the interesting headers out of all of a request's pairs. Envoy's names are lower case.
    pub fn capture<'r>(&self, pairs: impl Iterator<Item = (&'r [u8], &'r [u8])>) -> Captured<'r> {
        let mut captured = Captured { values: vec![None; self.joins.len()], repeated: Vec::new() };
        for (name, value) in pairs {
            if let Some(id) = self.find(name) {
                let joint = self.joins.get(usize::from(id.0)).copied().flatten();
                captured.put(id, value, joint);
            }
        }
        captured
    }

    fn find(&self, name: &[u8]) -> Option<HeaderId> {
        self.by_len.get(name.len())?.iter().find(|(known, _)| bytes::equal(known, name)).map(|(_, id)| *id)
    }
}

fn joint_of(name: &[u8]) -> Option<&'static [u8]> {
    match name {
        b"cookie" => Some(b"; "),
        b"baggage" | b"x-graylane-untrusted-baggage" | b"x-graylane-cohort" => Some(b","),
        _ => None,
    }
}

// === impl Captured ===

impl<'r> Captured<'r> {
    /// The value of a header; `None` when the request has none.
    pub fn get(&self, id: HeaderId) -> Option<&[u8]> {
        self.values.get(usize::from(id.0))?.as_deref()
    }

    /// Whether the request has exactly this one value of a header.
    pub(crate) fn is_just(&self, id: HeaderId, value: &[u8]) -> bool {
        self.get(id) == Some(value) && !self.repeated.contains(&id)
    }

    fn put(&mut self, id: HeaderId, value: &'r [u8], joint: Option<&[u8]>) {
        let Some(slot) = self.values.get_mut(usize::from(id.0)) else { return };
        match (slot.as_mut(), joint) {
            (None, _) => *slot = Some(Cow::Borrowed(value)),
            (Some(first), Some(joint)) => {
                let all = first.to_mut();
                all.extend_from_slice(joint);
                all.extend_from_slice(value);
            }
            (Some(_), None) => self.repeated.push(id),
        }
    }
}
