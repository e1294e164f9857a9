//! Streams that are open in lanes, from the gauges of a page. Pure.

use std::collections::BTreeMap;

use super::page::Line;

/// The gauge (`filter/src/meter.rs`).
const NAME: &str = "graylane_open_streams";

/// Open streams by service, all lanes together.
pub type Open = BTreeMap<String, u64>;

/// The streams of a page by release (`namespace/name`), as callers see them: who is called sees the same
/// streams again.
#[derive(Debug, Default)]
pub struct Streams(pub BTreeMap<String, Open>);

// === impl Streams ===

impl Streams {
    /// Takes a line if it is about open streams.
    pub fn take(&mut self, line: &Line<'_>) -> bool {
        if line.name != NAME {
            return false;
        }
        let label = |name: &str| line.labels.get(name).cloned().unwrap_or_default();
        if label("direction") != "inbound" && line.value > 0 {
            let open = self.0.entry(label("rollout")).or_default();
            *open.entry(label("service")).or_default() += line.value;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::text_lines;
    use super::*;

    #[test]
    fn streams_are_counted_by_their_callers_and_by_service() {
        let line = |direction: &str, lane: &str, count: u32| {
            let labels = format!("service=\"orders.shop\",rollout=\"shop/summer\",lane=\"{lane}\"");
            format!("{NAME}{{{labels},direction=\"{direction}\"}} {count}\n")
        };
        let page = [line("gateway", "canary", 2), line("outbound", "blue", 3), line("inbound", "canary", 5)].concat();
        let mut streams = Streams::default();
        assert!(text_lines(&page).all(|line| streams.take(&line)));
        assert_eq!(streams.0["shop/summer"], Open::from([("orders.shop".to_owned(), 5)]));
        assert!(!text_lines("graylane_requests_total{} 1\n").any(|line| streams.take(&line)));
    }
}
