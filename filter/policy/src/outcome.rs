//! What became of a request, as the party that waited for the answer sees it.

use crate::authority::Authority;

/// What Envoy knows at the end of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// HTTP status sent downstream; 0 when none was.
    pub status: u16,
    /// Envoy's response flags (`response.flags`, the legacy bit set).
    pub flags: u64,
    /// Whether the request was gRPC.
    pub is_grpc: bool,
    /// `response.grpc_status`: from the trailers, else from the headers, else what Envoy makes of the
    /// HTTP status.
    pub grpc_status: Option<u64>,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Counted, and fine.
    Success,
    /// Counted, and a failure: 5xx, or a gRPC status that tells of the server.
    Failure,
    /// Counted apart: the client went away before an answer. Only it knows whether it was tired of waiting.
    Abandoned,
    /// Not counted: the client went away while an answer that tells of a failure was on its way.
    Ignored,
}

/// `NoHealthyUpstream` in `envoy/stream_info/stream_info.h` (`CoreResponseFlag`): bit 1 of the legacy bit set.
const NO_HEALTHY_UPSTREAM: u64 = 1 << 1;
/// `DownstreamConnectionTermination`: bit 14 of the same set.
const DOWNSTREAM_CONNECTION_TERMINATION: u64 = 1 << 14;
/// `DownstreamRemoteReset`: bit 28 of the same set.
const DOWNSTREAM_REMOTE_RESET: u64 = 1 << 28;

// === impl End ===

impl End {
    /// Whether Envoy answered because the version that was called had no endpoint it could ask.
    pub fn has_no_endpoint(&self) -> bool {
        self.flags & NO_HEALTHY_UPSTREAM != 0
    }
}

/// Judges the end of a stream.
///
/// gRPC failures are 2 (unknown), 4 (deadline exceeded), 13 (internal), 14 (unavailable) and 15 (data
/// loss): the others are answers to the caller. A gRPC answer of HTTP 200 without any status is a
/// broken stream, and a failure.
pub fn judge(end: &End) -> Outcome {
    if is_client_abort(end) {
        return if end.status == 0 { Outcome::Abandoned } else { Outcome::Ignored };
    }
    let failed = end.status >= 500 || end.status == 0 || (end.is_grpc && grpc_failed(end));
    if failed { Outcome::Failure } else { Outcome::Success }
}

fn is_client_abort(end: &End) -> bool {
    end.flags & (DOWNSTREAM_CONNECTION_TERMINATION | DOWNSTREAM_REMOTE_RESET) != 0
}

/// Whether a request was mirrored, and so never counts: Envoy appends `-shadow` to the host of those.
pub fn is_mirror(authority: &[u8]) -> bool {
    authority.ends_with(b"-shadow")
        || Authority::parse(authority).is_some_and(|parsed| parsed.host().ends_with(b"-shadow"))
}

fn grpc_failed(end: &End) -> bool {
    match end.grpc_status {
        Some(status) => matches!(status, 2 | 4 | 13 | 14 | 15),
        None => end.status == 200,
    }
}
