//! What became of a request, as the party that waited for the answer sees it.

use crate::authority::Authority;

/// What Envoy knows at the end of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct End<'e> {
    /// HTTP status sent downstream; 0 when none was.
    pub status: u16,
    /// Envoy's response flags (`response.flags`, the legacy bit set).
    pub flags: u64,
    /// `:authority` of the request.
    pub authority: Option<&'e [u8]>,
    /// Whether the request was gRPC.
    pub is_grpc: bool,
    /// `grpc-status` from the trailers, else from the headers.
    pub grpc_status: Option<&'e [u8]>,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Counted, and fine.
    Success,
    /// Counted, and a failure: 5xx, or a gRPC status that tells of the server.
    Failure,
    /// Not counted: the client went away before an answer, or it was a mirrored request.
    Ignored,
}

/// `DownstreamConnectionTermination` in `envoy/stream_info/stream_info.h` (`CoreResponseFlag`): bit 14
/// of the legacy bit set.
const DOWNSTREAM_CONNECTION_TERMINATION: u64 = 1 << 14;
/// `DownstreamRemoteReset`: bit 28 of the same set.
const DOWNSTREAM_REMOTE_RESET: u64 = 1 << 28;

/// Judges the end of a stream.
///
/// gRPC failures are 2 (unknown), 4 (deadline exceeded), 13 (internal), 14 (unavailable) and 15 (data
/// loss): the others are answers to the caller. A gRPC answer of HTTP 200 without any status is a
/// broken stream, and a failure.
pub fn judge(end: &End<'_>) -> Outcome {
    if is_client_abort(end) || is_mirror(end.authority) {
        return Outcome::Ignored;
    }
    let failed = end.status >= 500 || end.status == 0 || (end.is_grpc && grpc_failed(end));
    if failed { Outcome::Failure } else { Outcome::Success }
}

fn is_client_abort(end: &End<'_>) -> bool {
    end.flags & (DOWNSTREAM_CONNECTION_TERMINATION | DOWNSTREAM_REMOTE_RESET) != 0
}

/// Whether a request was mirrored: Envoy appends `-shadow` to the host of those.
fn is_mirror(authority: Option<&[u8]>) -> bool {
    authority.is_some_and(|text| {
        text.ends_with(b"-shadow") || Authority::parse(text).is_some_and(|parsed| parsed.host().ends_with(b"-shadow"))
    })
}

fn grpc_failed(end: &End<'_>) -> bool {
    match end.grpc_status {
        Some(status) => matches!(status, b"2" | b"4" | b"13" | b"14" | b"15"),
        None => end.status == 200,
    }
}
