//! Ids of single requests on their way from proxies to the controller, which reads nothing but numbers.
//!
//! An id travels as four gauges of 32 bits, so that a float on the way loses nothing, and a fifth with a
//! check: several workers write the same five, and a reader may meet parts of two ids. Parts that do not
//! belong together do not match their check, and are no id.

use core::fmt;

use xxhash_rust::xxh64::xxh64;

use crate::trace::{self, TraceId};

/// Numbers that an id travels as; the last one is the check.
pub const PARTS: usize = 5;
/// Seeds of the checks, which tell the two kinds of ids apart too.
const TRACE_SEED: u64 = 0x6772_6179;
const REQUEST_SEED: u64 = 0x6c61_6e65;

/// By what a person finds a single request: its trace, or where it has none, Envoy's id of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Specimen {
    id: TraceId,
    is_trace: bool,
}

// === impl Specimen ===

impl Specimen {
    /// The id of a request, from all of its headers: `traceparent`, `b3`, `x-b3-traceid`, `x-request-id`,
    /// in this order, as they were sent.
    pub fn of_headers<'p>(headers: impl Iterator<Item = (&'p [u8], &'p [u8])>) -> Option<Self> {
        // The rank among conventions, and what was found.
        let mut best: Option<(u8, TraceId)> = None;
        for (name, value) in headers {
            let found = match name {
                b"traceparent" => (0, trace::from_traceparent(value)),
                b"b3" => (1, trace::from_b3(value)),
                b"x-b3-traceid" => (2, trace::from_b3_trace_id(value)),
                b"x-request-id" => (3, trace::from_request_id_as_sent(value)),
                _ => continue,
            };
            if let (rank, Some(id)) = found
                && best.is_none_or(|(other, _)| rank < other)
            {
                best = Some((rank, id));
            }
        }
        best.map(|(rank, id)| Self { id, is_trace: rank < 3 })
    }

    /// What it travels as.
    pub fn to_parts(&self) -> [u32; PARTS] {
        let [a, b, c, d] = words(self.id.as_bytes());
        let seed = if self.is_trace { TRACE_SEED } else { REQUEST_SEED };
        [a, b, c, d, check(self.id.as_bytes(), seed)]
    }

    /// What travelled so; `None` when the parts do not belong together.
    pub fn from_parts(parts: &[u32; PARTS]) -> Option<Self> {
        let [words @ .., mark] = parts;
        let mut bytes = [0; 16];
        for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *bytes = word.to_be_bytes();
        }
        let is_trace = *mark == check(&bytes, TRACE_SEED);
        let is_known = is_trace || *mark == check(&bytes, REQUEST_SEED);
        is_known.then(|| Self { id: TraceId::from_bytes(bytes), is_trace })
    }
}

/// A trace in hex, 16 digits where it has no more, or a request id as Envoy writes it.
impl fmt::Display for Specimen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u128::from_be_bytes(*self.id.as_bytes());
        if self.is_trace {
            return if id >> 64 == 0 { write!(f, "{id:016x}") } else { write!(f, "{id:032x}") };
        }
        let digits = format!("{id:032x}");
        let part = |from: usize, until: usize| digits.get(from..until).unwrap_or_default();
        write!(f, "{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}

fn words(bytes: &[u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

/// The low half of a hash.
fn check(bytes: &[u8; 16], seed: u64) -> u32 {
    (xxh64(bytes, seed) & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const REQUEST: &[u8] = b"8f3c1d2e-5b6a-9c7d-8e9f-0a1b2c3d4e5f";

    fn of(headers: &[(&str, &[u8])]) -> Option<Specimen> {
        Specimen::of_headers(headers.iter().map(|(name, value)| (name.as_bytes(), *value)))
    }

    #[test]
    fn an_id_arrives_as_a_person_would_look_for_it() {
        for (headers, shown) in [
            (&[("x-request-id", REQUEST), ("traceparent", PARENT)][..], "0af7651916cd43dd8448eb211c80319c"),
            (&[("b3", b"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")], "80f198ee56343ba864fe8b2a57d3eff7"),
            (&[("x-b3-traceid", b"64fe8b2a57d3eff7")], "64fe8b2a57d3eff7"),
            // The version digit, which tells why Envoy traces, stays as it was sent.
            (&[("traceparent", b"broken"), ("x-request-id", REQUEST)], "8f3c1d2e-5b6a-9c7d-8e9f-0a1b2c3d4e5f"),
        ] {
            let sent = of(headers).unwrap();
            let arrived = Specimen::from_parts(&sent.to_parts()).unwrap();
            assert_eq!((arrived, arrived.to_string().as_str()), (sent, shown));
        }
        assert_eq!(of(&[("traceparent", b"00-0-0-0"), ("host", b"a")]), None);
    }

    #[test]
    fn parts_of_two_ids_are_none() {
        let one = of(&[("traceparent", PARENT)]).unwrap().to_parts();
        let other = of(&[("x-request-id", REQUEST)]).unwrap().to_parts();
        for mask in 1..(1_u32 << PARTS) - 1 {
            let torn = std::array::from_fn(|at| if mask >> at & 1 == 0 { one[at] } else { other[at] });
            assert_eq!(Specimen::from_parts(&torn), None, "{mask:05b}");
        }
        assert_eq!(Specimen::from_parts(&[0; PARTS]), None, "gauges that nobody has set");
    }
}
