//! The trace id of a request, whichever convention its app follows.
//!
//! Read in this order: W3C `traceparent` (<https://www.w3.org/TR/trace-context/>, section 3.2), B3
//! single (`b3`), B3 multi (`x-b3-traceid`) (<https://github.com/openzipkin/b3-propagation>), and
//! Envoy's `x-request-id`. A value that breaks its convention is passed over, not repaired.

/// A trace id as a key of the ring: at most 16 bytes, compared whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId {
    bytes: [u8; 16],
}

/// Position of the version among the 32 digits of a UUID.
const VERSION_DIGIT: usize = 12;

/// The id of a valid `traceparent`: `00-<32 lower-case hex>-<16>-<2>`, neither id all zeros.
/// Versions above 00 are read by the same first four parts, and `ff` is refused.
pub fn from_traceparent(value: &[u8]) -> Option<TraceId> {
    let mut parts = value.splitn(5, |&byte| byte == b'-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let rest = parts.next();
    let well_formed = is_lower_hex(version, 2) && is_lower_hex(span, 16) && is_lower_hex(flags, 2);
    let known = version != b"ff" && (version != b"00" || rest.is_none());
    let real_span = span.iter().any(|&byte| byte != b'0');
    if !(well_formed && known && real_span && is_lower_hex(trace, 32)) {
        return None;
    }
    TraceId::from_hex(trace)
}

/// The id of a `b3` header, `<trace>-<span>[-<sampled>[-<parent>]]`; `None` for a bare sampling state.
pub fn from_b3(value: &[u8]) -> Option<TraceId> {
    let mut parts = value.split(|&byte| byte == b'-');
    let trace = parts.next()?;
    let span = parts.next()?;
    if is_hex(span, 16) { from_b3_trace_id(trace) } else { None }
}

/// The id of an `x-b3-traceid` header: 16 or 32 hex digits.
pub fn from_b3_trace_id(value: &[u8]) -> Option<TraceId> {
    if is_hex(value, 16) || is_hex(value, 32) { TraceId::from_hex(value) } else { None }
}

/// The id of an `x-request-id` header: a UUID, as Envoy writes it.
///
/// Its version digit is left out: each Envoy that traces writes there why (`pack_trace_reason` of
/// `envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig`), so it differs between the two sides of
/// one proxy.
pub fn from_request_id(value: &[u8]) -> Option<TraceId> {
    uuid(value, Some(b'0'))
}

/// The same with its version digit, for a person who looks for it in a log of this proxy.
pub fn from_request_id_as_sent(value: &[u8]) -> Option<TraceId> {
    uuid(value, None)
}

/// The digits of a UUID, another one in the place of its version where wanted.
fn uuid(value: &[u8], version: Option<u8>) -> Option<TraceId> {
    if value.len() != 36 {
        return None;
    }
    let mut digits: Vec<u8> = value.iter().copied().filter(|&byte| byte != b'-').collect();
    if let (Some(version), Some(digit)) =
        (version, digits.get_mut(VERSION_DIGIT).filter(|digit| digit.is_ascii_hexdigit()))
    {
        *digit = version;
    }
    if is_hex(&digits, 32) { TraceId::from_hex(&digits) } else { None }
}

fn is_lower_hex(text: &[u8], len: usize) -> bool {
    is_hex(text, len) && !text.iter().any(u8::is_ascii_uppercase)
}

fn is_hex(text: &[u8], len: usize) -> bool {
    text.len() == len && text.iter().all(u8::is_ascii_hexdigit)
}

// === impl TraceId ===

impl TraceId {
    /// Up to 32 hex digits, right-aligned; `None` when all zeros, which every convention forbids.
    fn from_hex(digits: &[u8]) -> Option<Self> {
        // Two halves: wasm has no 128-bit shift and would call a function for each digit.
        let (mut high, mut low) = (0_u64, 0_u64);
        for &digit in digits {
            high = high << 4 | low >> 60;
            low = low << 4 | u64::from(char::from(digit).to_digit(16)?);
        }
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        (bytes != [0; 16]).then_some(Self { bytes })
    }

    /// The 16 bytes, most significant first.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.bytes
    }

    /// An id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self { bytes }
    }
}
