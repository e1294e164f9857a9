//! The query string.
//!
//! Grammar, the one of the WHATWG URL standard (`application/x-www-form-urlencoded` parsing):
//! - the query is what follows the first `?` of the path, up to a `#` if there is one;
//! - pairs are parted by `&` alone; empty pairs are passed over; `;` is an ordinary character;
//! - the first `=` of a pair ends its key; a pair without one is a key with an empty value;
//! - keys and values are decoded once, after they were parted: `%26` never parts a pair;
//!   `+` is a space, and `%` without two hex digits stands for itself;
//! - keys are compared byte for byte; of repeated keys the **first** wins.
//!
//! Beyond the standard: only the first [`MAX_BYTES`] bytes of a query are read, so that a hostile
//! one costs a bounded time. Values are bytes; they need not be UTF-8.

use std::borrow::Cow;

use crate::bytes;
use crate::percent::decode;

/// How much of a query is read.
pub const MAX_BYTES: usize = 16 * 1024;

/// The query of a `:path`, without `?` and fragment; `None` when there is none.
pub fn of_path(path: &[u8]) -> Option<&[u8]> {
    let path = without_fragment(path);
    bytes::cut(path, b'?').1
}

/// The path of a `:path`, without query and fragment.
pub fn path_only(path: &[u8]) -> &[u8] {
    path.split(|&byte| byte == b'?' || byte == b'#').next().unwrap_or(path)
}

/// The first value of `key` in a query; `None` when the key is not there.
pub fn first<'q>(query: &'q [u8], key: &[u8]) -> Option<Cow<'q, [u8]>> {
    let query = query.get(..MAX_BYTES).unwrap_or(query);
    bytes::split(query, b'&').filter(|pair| !pair.is_empty()).find_map(|pair| {
        let (name, value) = split_pair(pair);
        (*decode(name, true) == *key).then(|| decode(value, true))
    })
}

fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let (name, value) = bytes::cut(pair, b'=');
    (name, value.unwrap_or(b""))
}

fn without_fragment(path: &[u8]) -> &[u8] {
    bytes::cut(path, b'#').0
}
