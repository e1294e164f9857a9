//! The Cookie header.
//!
//! Grammar (RFC 6265, sections 4.2.1 and 5.4, read as servers do):
//! - pairs are parted by `;`; blanks and tabs around a pair, its name and its value are dropped;
//! - the first `=` ends the name; a pair without `=`, or with an empty name, is passed over;
//! - names are compared byte for byte, values are taken as sent: no decoding, quotes kept;
//! - of repeated names the **first** wins;
//! - several Cookie headers (HTTP/2 crumbs, RFC 9113 section 8.2.3) are joined by `; ` before.
//!
//! Only the first [`MAX_BYTES`] bytes are read, so that a hostile header costs a bounded time.

use crate::bytes;

/// How much of the joined Cookie header is read.
pub const MAX_BYTES: usize = 64 * 1024;

/// The first value of the cookie `name`; `None` when it is not there.
pub fn first<'c>(header: &'c [u8], name: &[u8]) -> Option<&'c [u8]> {
    let header = header.get(..MAX_BYTES).unwrap_or(header);
    bytes::split(header, b';').find_map(|pair| {
        let (key, value) = bytes::cut(pair, b'=');
        let (key, value) = (trim(key), trim(value?));
        (!key.is_empty() && bytes::equal(key, name)).then_some(value)
    })
}

/// Drops blanks and tabs (the OWS of RFC 9110) on both ends.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
