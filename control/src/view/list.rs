//! Many releases, one line each.

use super::kept::Kept;
use super::mark::Mark;
use super::{columns, glance, steps, times};
use crate::engine::Millis;

/// What a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The namespace too.
    pub namespace: bool,
    /// Group, attempt and message too.
    pub wide: bool,
}

/// A table of releases, in the order given.
pub fn table(releases: &[Kept], now: Millis, columns: Columns) -> String {
    let mut header = Vec::new();
    if columns.namespace {
        header.push("NAMESPACE");
    }
    header.extend(["NAME", "STATUS", "STEP", "WEIGHTS", "PROXIES", "AGE"]);
    if columns.wide {
        header.extend(["GROUP", "ATTEMPT", "MESSAGE"]);
    }
    let mut table = columns::columns(&header);
    for kept in releases {
        table.add_row(row(kept, now, columns));
    }
    columns::text(&table)
}

/// The cells of one release.
fn row(kept: &Kept, now: Millis, columns: Columns) -> Vec<String> {
    let status = &kept.status;
    let mut row = Vec::new();
    if columns.namespace {
        row.push(kept.namespace.clone());
    }
    row.extend([
        kept.name.clone(),
        Mark::of(status.phase).with(&glance::phase(kept)),
        steps::progress(kept),
        if status.weight.is_empty() { "-".into() } else { status.weight.clone() },
        format!("{}/{}", status.proxies.acknowledged, status.proxies.expected),
        times::age(kept.created_ms, now),
    ]);
    if columns.wide {
        row.extend([kept.group().to_owned(), status.attempt.to_string(), status.message.clone()]);
    }
    row
}
