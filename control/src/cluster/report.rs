//! What a proxy says on its metrics port about the config it runs. Pure.

use std::collections::BTreeMap;

use super::healing::Wound;
use crate::build::Side;
use crate::counts::page::whole;

/// The generation of a role's config, and how many workers run it.
const GENERATION: &str = "graylane_config_generation";
/// See [`GENERATION`].
const WORKERS: &str = "graylane_config_workers";
/// Envoy's own number of workers, the main thread not counted.
const CONCURRENCY: &str = "envoy_server_concurrency";

/// A proxy's page, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Workers of the proxy.
    pub concurrency: Option<u64>,
    /// By role.
    pub roles: BTreeMap<&'static str, Standing>,
    /// True when labels came inside of names: then counts cannot be told apart by lane.
    pub is_untagged: bool,
}

/// How a role stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Newest generation.
    pub generation: u64,
    /// Workers that run it, the main thread included.
    pub workers: u64,
}

/// How a proxy stands with what it shall run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every worker runs it.
    Acknowledged,
    /// It does not, in this way and for this reason.
    Missing(Wound, String),
}

// === impl Report ===

impl Report {
    /// Reads a page in the text format of Prometheus. Lines that make no sense are passed over.
    pub fn read(page: &str) -> Self {
        let mut report = Self::default();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Some(value) = whole(value) else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            if name == CONCURRENCY {
                report.concurrency = Some(value);
            } else if let Some((is_generation, rest)) = gauge(name) {
                report.is_untagged |= !rest.is_empty();
                let label =
                    if rest.is_empty() { role_of(labels, "role=\"", '"') } else { role_of(rest, "_role___", '_') };
                let Some(role) = label else { continue };
                let standing = report.roles.entry(role).or_default();
                *(if is_generation { &mut standing.generation } else { &mut standing.workers }) = value;
            }
        }
        report
    }

    /// How the proxy stands with a generation on each of these sides.
    pub fn verdict(&self, wanted: impl IntoIterator<Item = (Side, u64)>) -> Verdict {
        let Some(concurrency) = self.concurrency else {
            return Verdict::Missing(Wound::Silence, format!("does not report {CONCURRENCY}"));
        };
        // The main thread runs the filter too, and says so.
        let all = concurrency.saturating_add(1);
        for (side, generation) in wanted {
            let Some(standing) = self.roles.get(side.label()) else {
                return Verdict::Missing(Wound::Silence, format!("does not run {}", side.filter_name()));
            };
            if standing.generation < generation {
                return Verdict::Missing(Wound::Silence, format!("runs an older {}", side.filter_name()));
            }
            if standing.workers < all {
                return Verdict::Missing(
                    Wound::Loss,
                    format!("{} of {all} workers run {}", standing.workers, side.filter_name()),
                );
            }
        }
        Verdict::Acknowledged
    }
}

/// Whether a name is one of the two gauges, and what is left of it when labels came inside.
fn gauge(name: &str) -> Option<(bool, &str)> {
    let generation = name.strip_prefix(GENERATION).map(|rest| (true, rest));
    generation.or_else(|| name.strip_prefix(WORKERS).map(|rest| (false, rest)))
}

fn role_of(text: &str, before: &str, after: char) -> Option<&'static str> {
    let value = text.split_once(before)?.1.split(after).next()?;
    Side::ALL.into_iter().map(Side::label).find(|label| *label == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE graylane_config_generation gauge\n\
        graylane_config_generation{role=\"gateway\"} 7\n\
        graylane_config_workers{role=\"gateway\"} 3\n\
        # TYPE envoy_server_concurrency gauge\nenvoy_server_concurrency{} 2\nnonsense\nx{} NaN\n";

    fn missing(report: &Report, side: Side, generation: u64) -> String {
        match report.verdict([(side, generation)]) {
            Verdict::Acknowledged => String::new(),
            Verdict::Missing(_, why) => why,
        }
    }

    #[test]
    fn a_generation_counts_when_every_worker_and_the_main_thread_run_it() {
        let mut report = Report::read(PAGE);
        assert_eq!(missing(&report, Side::Gateway, 7), "");
        assert_eq!(
            missing(&report, Side::Gateway, 6),
            "",
            "a newer one was built from the same statuses or later ones"
        );
        assert_eq!(missing(&report, Side::Gateway, 8), "runs an older graylane.gateway");
        assert_eq!(missing(&report, Side::Inbound, 1), "does not run graylane.inbound");
        report.roles.get_mut("gateway").unwrap().workers = 2;
        assert_eq!(missing(&report, Side::Gateway, 7), "2 of 3 workers run graylane.gateway");
        report.concurrency = None;
        assert!(missing(&report, Side::Gateway, 7).contains(CONCURRENCY));
    }

    #[test]
    fn labels_inside_of_names_are_understood_and_told() {
        let page = "graylane_config_generation_role___outbound____{} 4\n\
            graylane_config_workers_role___outbound____{} 2\nenvoy_server_concurrency{} 1\n";
        let report = Report::read(page);
        assert!(report.is_untagged);
        assert_eq!(missing(&report, Side::Outbound, 4), "");
        assert!(!Report::read(PAGE).is_untagged);
    }

    #[test]
    fn hostile_pages_are_no_more_than_empty_ones() {
        for page in
            ["", "{", "graylane_config_generation{role=\"gateway\"} -1\n", "graylane_config_generation{role=\"x\"} 1"]
        {
            assert_eq!(Report::read(page), Report::default(), "{page}");
        }
        let float = Report::read("envoy_server_concurrency 2.0\nenvoy_server_concurrency 1e300\n");
        assert_eq!(float.concurrency, Some(2));
    }
}
