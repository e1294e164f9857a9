//! Percent-decoding, once.

use std::borrow::Cow;

/// Decodes `%XX` once; a `%` that is not followed by two hex digits stands for itself, as in the
/// WHATWG URL standard. With `plus_is_space`, `+` is a space, as in form data.
pub(crate) fn decode(text: &[u8], plus_is_space: bool) -> Cow<'_, [u8]> {
    let special = |byte: &u8| *byte == b'%' || (plus_is_space && *byte == b'+');
    let Some(first) = text.iter().position(special) else {
        return Cow::Borrowed(text);
    };
    let (plain, mut rest) = text.split_at(first);
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(plain);
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) if let Some(value) = hex_pair(*high, *low) => {
                decoded.push(value);
                rest = after;
                continue;
            }
            (b'+', _) if plus_is_space => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        rest = tail;
    }
    Cow::Owned(decoded)
}

/// The value of two hex digits.
pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}
