//! The pairs encoding of proxy-wasm header maps (proxy-wasm/spec, ABI 0.2.1, "serialized pairs"):
//! the number of pairs, then the lengths of each name and value, then the bytes, each followed by a
//! NUL. Numbers are 32 bits, little endian. Read in place, without a copy.

/// The pairs of an encoded map. Malformed ends are cut off rather than guessed at.
pub fn iter(encoded: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let count = number(encoded, 0).unwrap_or(0) as usize;
    let bytes_at = count.saturating_mul(8).saturating_add(4);
    let sizes = encoded.get(4..bytes_at.min(encoded.len())).unwrap_or(&[]);
    let mut rest = encoded.get(bytes_at..).unwrap_or(&[]);
    sizes.as_chunks::<8>().0.iter().map_while(move |size| {
        let name = take(&mut rest, number(size, 0)?)?;
        let value = take(&mut rest, number(size, 4)?)?;
        Some((name, value))
    })
}

/// Encodes pairs; what a host does.
pub fn encode<'p>(pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone) -> Vec<u8> {
    let mut out = (pairs.clone().count() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs.clone() {
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    }
    for text in pairs.flat_map(|(name, value)| [name, value]) {
        out.extend_from_slice(text);
        out.push(0);
    }
    out
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*word))
}

/// Takes a text and the NUL behind it.
fn take<'b>(rest: &mut &'b [u8], len: u32) -> Option<&'b [u8]> {
    let (text, after) = rest.split_at_checked(len as usize)?;
    *rest = after.get(1..)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_as_they_went_in() {
        let pairs: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"empty", b""), (b"bytes", &[0xff, 0, 0xfe])];
        let encoded = encode(pairs.into_iter());
        assert_eq!(iter(&encoded).collect::<Vec<_>>(), pairs);
    }

    #[test]
    fn a_truncated_map_yields_its_whole_pairs() {
        let pairs: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", b"2")];
        let encoded = encode(pairs.into_iter());
        for len in 0..encoded.len() {
            let read: Vec<_> = iter(&encoded[..len]).collect();
            assert!(pairs.starts_with(&read), "cut at {len}: {read:?}");
        }
    }

    #[test]
    fn a_hostile_count_is_bounded_by_the_bytes() {
        assert_eq!(iter(&[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]).count(), 0);
    }
}
