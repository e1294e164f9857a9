//! What the query of a request asks of the toy services.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderMap;

/// Headers that only concern one connection, or that each call makes anew.
const PER_HOP: [&str; 5] = ["connection", "content-length", "host", "transfer-encoding", "x-envoy-attempt-count"];

/// What the query asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wish {
    pub(super) forward: Forward,
    pub(super) hops: Option<u32>,
    pub(super) fail: Option<StatusCode>,
    pub(super) delay: Duration,
    /// Whether a failure of the next service is kept from the caller.
    pub(super) swallow: bool,
    /// Whether the work is left undone although the answer says otherwise.
    pub(super) wrong: bool,
    /// How long the next service may take.
    pub(super) limit: Option<Duration>,
    pub(super) stream: Option<Duration>,
}

/// Which headers are passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Forward {
    #[default]
    All,
    Baggage,
    Trace,
    Nothing,
}

// === impl Wish ===

impl Wish {
    /// Reads the query for the service of this name. What makes no sense is left at its default: a toy
    /// has nobody to complain to.
    pub(super) fn read(query: &str, name: &str) -> Self {
        let mut wish = Self::default();
        let service = name.split('-').next().unwrap_or(name);
        let mine = |value: &str| {
            let (who, what) = value.split_once(':')?;
            (who == name || who == service).then(|| what.parse::<u16>().ok())?
        };
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "forward" => wish.forward = Forward::read(value),
                "hops" => wish.hops = value.parse().ok(),
                "fail" => wish.fail = mine(value).and_then(|status| StatusCode::from_u16(status).ok()),
                "delay" => wish.delay = Duration::from_millis(mine(value).unwrap_or(0).into()),
                "wrong" => wish.wrong |= value == name || value == service,
                "swallow" => wish.swallow |= value == name || value == service,
                "limit" => wish.limit = mine(value).map(|limit| Duration::from_millis(limit.into())).or(wish.limit),
                "stream" => wish.stream = value.parse().ok().map(Duration::from_millis),
                _ => {}
            }
        }
        wish
    }
}

// === impl Forward ===

impl Forward {
    fn read(text: &str) -> Self {
        match text {
            "baggage" => Self::Baggage,
            "trace" => Self::Trace,
            "none" => Self::Nothing,
            _ => Self::All,
        }
    }

    pub(super) fn pick(self, all: &HeaderMap) -> HeaderMap {
        let passes = |name: &str| match self {
            Self::All => !PER_HOP.contains(&name),
            Self::Baggage => name == "baggage",
            Self::Trace => matches!(name, "traceparent" | "tracestate"),
            Self::Nothing => false,
        };
        let picked = all.iter().filter(|(name, _)| passes(name.as_str()));
        picked.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_speaks_to_a_service_or_to_one_version() {
        let wish = |query| Wish::read(query, "orders-canary");
        assert_eq!(wish("").forward, Forward::All);
        assert_eq!(wish("forward=trace&hops=2").hops, Some(2));
        assert_eq!(wish("fail=orders:503").fail, Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(wish("fail=orders-canary:503").fail, Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(wish("fail=orders-stable:503").fail, None);
        assert_eq!(wish("delay=cart:50").delay, Duration::ZERO);
        assert!(wish("swallow=orders").swallow && !wish("swallow=cart").swallow);
        assert!(wish("wrong=orders-canary").wrong && !wish("wrong=orders-stable").wrong);
        assert_eq!(wish("limit=orders:500").limit, Some(Duration::from_millis(500)));
        assert_eq!(wish("limit=cart:500").limit, None);
    }
}
