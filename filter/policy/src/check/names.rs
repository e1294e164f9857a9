//! Names: what may stand in a label, a header, a cookie.

use crate::path::Path;
use crate::problem::{Problems, Shown};

/// A DNS label (RFC 1123): lower-case letters, digits, dashes inside; at most 63.
pub(super) fn is_dns_label(name: &str) -> bool {
    let ends_well = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = name.as_bytes();
    let inside = bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-');
    inside && bytes.len() <= 63 && ends_well(bytes.first()) && ends_well(bytes.last())
}

/// A token (RFC 9110, section 5.6.2), the form of header and cookie names; at most 128.
pub(super) fn is_token(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= 128 && name.bytes().all(token)
}

/// A metric label value of ours: printable, without blanks and `;`, which part labels from each other.
pub(super) fn is_label_value(value: &str) -> bool {
    !value.is_empty() && value.len() <= 253 && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
}

/// Whether a header, in lower case, means something to HTTP, to Envoy or to us, so that carrying a lane
/// in it would break requests or lose the lane.
pub(super) fn is_spoken_for(header: &str) -> bool {
    const PREFIXES: [&str; 10] =
        ["accept", "content-", "grpc-", "if-", "proxy-", "sec-", "x-b3-", "x-envoy-", "x-forwarded-", "x-graylane-"];
    const NAMES: &str = " age authorization b3 baggage cache-control connection cookie date expect forwarded from \
                         host keep-alive location origin pragma range referer server set-cookie te traceparent \
                         tracestate trailer transfer-encoding upgrade user-agent vary via x-request-id ";
    let listed = NAMES.split(' ').any(|name| name == header);
    listed || PREFIXES.iter().any(|prefix| header.starts_with(prefix))
}

/// Requires a header name that a person may configure.
pub(super) fn require_header(problems: &mut Problems, path: &Path<'_>, name: &str) -> bool {
    problems.require(
        is_token(name),
        path,
        &format_args!("`{}` is no header name", Shown(name)),
        &"write letters, digits and dashes; use path, method or host for what HTTP/2 calls pseudo headers",
    )
}

/// Requires a DNS label.
pub(super) fn require_dns_label(problems: &mut Problems, path: &Path<'_>, name: &str) -> bool {
    problems.require(
        is_dns_label(name),
        path,
        &format_args!("`{}` is no DNS label", Shown(name)),
        &"write at most 63 lower-case letters, digits and dashes, beginning and ending with a letter or digit",
    )
}
