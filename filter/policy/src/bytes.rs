//! Byte scans and hashes by words of eight.
//!
//! The module is compiled without SIMD, and what the standard library brings for wasm looks at one
//! byte at a time. Requests are read by these instead; they are ordinary code, so the native build
//! runs and tests the same.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

/// A map that is filled from the config and read with bytes of a request.
///
/// The hash is fast and not keyed: what clients send is only looked up, never put in, so nobody can
/// make a bucket longer than the config does.
pub(crate) type ByteMap<V> = HashMap<Box<[u8]>, V, BuildHasherDefault<WordHasher>>;

/// Multiply and rotate, a word at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WordHasher(u64);

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
/// An odd constant with well spread bits: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where the first such byte is.
pub(crate) fn position(text: &[u8], wanted: u8) -> Option<usize> {
    let (words, tail) = text.as_chunks::<8>();
    let pattern = ONES.wrapping_mul(u64::from(wanted));
    for (at, word) in words.iter().enumerate() {
        // The lowest high bit that stays set marks the first byte that is equal (Mycroft's test).
        let differing = u64::from_le_bytes(*word) ^ pattern;
        let found = differing.wrapping_sub(ONES) & !differing & HIGHS;
        if found != 0 {
            return Some(at * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    let at = tail.iter().position(|&byte| byte == wanted)?;
    Some(words.len() * 8 + at)
}

/// The part before the first such byte, and the part behind it if there is one.
pub(crate) fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match position(text, at) {
        Some(at) => (text.get(..at).unwrap_or(text), text.get(at.saturating_add(1)..)),
        None => (text, None),
    }
}

/// The parts between all such bytes; what `slice::split` gives.
pub(crate) fn split(text: &[u8], at: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let (part, after) = cut(rest?, at);
        rest = after;
        Some(part)
    })
}

/// Whether two texts are equal.
pub(crate) fn equal(one: &[u8], other: &[u8]) -> bool {
    let (words, tail) = one.as_chunks::<8>();
    let (other_words, other_tail) = other.as_chunks::<8>();
    let same = |(one, other): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*one) == u64::from_le_bytes(*other);
    one.len() == other.len()
        && words.iter().zip(other_words).all(same)
        && tail.iter().zip(other_tail).all(|(one, other)| one == other)
}

// === impl WordHasher ===

impl WordHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(SPREAD).rotate_left(29);
    }
}

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, tail) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        // The length is in the first word, so a short tail needs no padding of its own.
        self.mix(tail.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        // hashbrown takes the bucket from the low bits and seven more from the high ones.
        (self.0 ^ (self.0 >> 32)).wrapping_mul(SPREAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_wherever_it_stands() {
        for len in 0..40 {
            for at in 0..len {
                let mut text = vec![b'a'; len];
                text[at] = b';';
                text[len - 1] = b';';
                assert_eq!(position(&text, b';'), Some(at), "{len} bytes, the first at {at}");
            }
            assert_eq!(position(&vec![b':'; len], b';'), None, "a byte that differs in its lowest bit");
            assert_eq!(position(&vec![0xbb; len], b';'), None, "a byte that differs in its highest bit");
        }
    }

    #[test]
    fn parts_are_those_of_the_standard_library() {
        for text in [&b""[..], b";", b"a", b"a;b", b";a;;b;", b"long enough for words;and a tail"] {
            let wanted: Vec<&[u8]> = text.split(|&byte| byte == b';').collect();
            assert_eq!(split(text, b';').collect::<Vec<_>>(), wanted);
        }
    }

    #[test]
    fn texts_are_equal_when_every_byte_is() {
        for len in 0..20 {
            let text = vec![b'x'; len];
            assert!(equal(&text, &text.clone()));
            assert!(!equal(&text, &vec![b'x'; len + 1]));
            for at in 0..len {
                let mut other = text.clone();
                other[at] = b'y';
                assert!(!equal(&text, &other), "{len} bytes, differing at {at}");
            }
        }
    }

    #[test]
    fn keys_that_are_alike_spread_over_the_buckets() {
        use std::hash::BuildHasher;
        let hasher = BuildHasherDefault::<WordHasher>::default();
        let mut buckets = vec![0; 1024];
        (0..1024).for_each(|at| buckets[hasher.hash_one(format!("user-{at:05}").as_bytes()) as usize % 1024] += 1);
        assert!(buckets.iter().max() < Some(&10), "{buckets:?}");
    }
}
