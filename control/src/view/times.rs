//! Times as people read them: `3m10s` rather than milliseconds.

use crate::engine::Millis;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// A length of time in the manner of kubectl's AGE: at most two units, the coarser the longer.
pub fn span(millis: u64) -> String {
    match millis {
        0..=119_999 => format!("{}s", millis / SECOND),
        _ if millis < 10 * MINUTE => two(millis, (MINUTE, "m"), (SECOND, "s")),
        _ if millis < 3 * HOUR => format!("{}m", millis / MINUTE),
        _ if millis < 8 * HOUR => two(millis, (HOUR, "h"), (MINUTE, "m")),
        _ if millis < 2 * DAY => format!("{}h", millis / HOUR),
        _ if millis < 8 * DAY => two(millis, (DAY, "d"), (HOUR, "h")),
        _ if millis < 2 * YEAR => format!("{}d", millis / DAY),
        _ => two(millis, (YEAR, "y"), (DAY, "d")),
    }
}

/// How long ago something was; nothing for what has not happened.
pub fn age(since: Option<Millis>, now: Millis) -> String {
    since.filter(|since| *since > 0).map(|since| span(now.saturating_sub(since))).unwrap_or_default()
}

/// A length of time as somebody would write it in a release: `5m`, `1h30m`, `250ms`.
pub fn exact(millis: u64) -> String {
    let units = [(HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (1, "ms")];
    let mut rest = millis;
    let mut text = String::new();
    for (size, unit) in units {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// A point in time in RFC 3339, to the second.
pub fn at(millis: Millis) -> String {
    let seconds = i64::try_from(millis / SECOND).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

fn two(millis: u64, (coarse, coarse_unit): (u64, &str), (fine, fine_unit): (u64, &str)) -> String {
    match millis % coarse / fine {
        0 => format!("{}{coarse_unit}", millis / coarse),
        rest => format!("{}{coarse_unit}{rest}{fine_unit}", millis / coarse),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_like_kubectls_ages() {
        for (millis, expected) in [
            (999, "0s"),
            (119_999, "119s"),
            (120_000, "2m"),
            (190_000, "3m10s"),
            (2 * HOUR, "120m"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (30 * HOUR, "30h"),
            (3 * DAY + 4 * HOUR, "3d4h"),
            (90 * DAY, "90d"),
            (3 * YEAR, "3y"),
        ] {
            assert_eq!(span(millis), expected, "{millis}");
        }
    }

    #[test]
    fn exact_spans_lose_nothing() {
        assert_eq!(exact(0), "0s");
        assert_eq!(exact(300_000), "5m");
        assert_eq!(exact(5_400_000), "1h30m");
        assert_eq!(exact(1_250), "1s250ms");
    }

    #[test]
    fn what_has_not_happened_has_no_age() {
        assert_eq!(age(None, 5), "");
        assert_eq!(age(Some(0), 5), "");
        assert_eq!(age(Some(1_000), 6_000), "5s");
        assert_eq!(age(Some(9_000), 6_000), "0s");
    }
}
