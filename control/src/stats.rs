//! Counters and gauges as Envoy's admin interface gives them: names, with the filter's labels inside.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::http::{Ask, Client, HttpError};

/// Metrics of one Envoy at one time.
#[derive(Clone, Debug, Default)]
pub struct Stats(BTreeMap<String, u64>);

/// Labels to look for, as name and value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// The admin interface did not answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It answered something else.
    #[error("the admin interface answered {0}")]
    Status(u16),
    /// What it answered is not what Envoy answers.
    #[error("the answer is not Envoy's statistics")]
    Shape(#[source] serde_json::Error),
}

// === impl Stats ===

impl Stats {
    /// Reads the metrics whose name matches a regular expression, by a client of the admin interface.
    ///
    /// # Errors
    /// When the Envoy does not answer as an Envoy does.
    pub async fn read(admin: &mut Client, filter: &str) -> Result<Self, StatsError> {
        #[derive(Deserialize)]
        struct Page {
            stats: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            #[serde(default)]
            name: String,
            #[serde(default)]
            value: serde_json::Value,
        }
        let answer = admin.ask(&Ask::get(format!("/stats?format=json&filter={filter}"))).await?;
        if !answer.status.is_success() {
            return Err(StatsError::Status(answer.status.as_u16()));
        }
        let page: Page = serde_json::from_slice(&answer.body).map_err(StatsError::Shape)?;
        let values = page.stats.into_iter().filter_map(|entry| Some((entry.name, entry.value.as_u64()?)));
        Ok(Self(values.collect()))
    }

    /// The sum over all series of a name that have these labels.
    pub fn sum(&self, name: &str, labels: Labels<'_>) -> u64 {
        let has = |series: &str| {
            let labelled = |(label, value): &(&str, &str)| series.contains(&format!(".{label}=.={value};.;"));
            series.contains(name) && labels.iter().all(labelled)
        };
        self.0.iter().filter(|(series, _)| has(series)).map(|(_, value)| value).sum()
    }

    /// The sum over all series whose name ends like this.
    pub fn sum_ending(&self, end: &str) -> u64 {
        self.0.iter().filter(|(series, _)| series.ends_with(end)).map(|(_, value)| value).sum()
    }

    /// How much each series has grown since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let grown = |(name, value): (&String, &u64)| {
            let before = before.0.get(name).copied().unwrap_or(0);
            (*value > before).then(|| (name.clone(), value - before))
        };
        Self(self.0.iter().filter_map(grown).collect())
    }

    /// The values of a label among the series of a name, with their sums, largest first.
    pub fn by_label(&self, name: &str, labels: Labels<'_>, label: &str) -> Vec<(String, u64)> {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (series, value) in &self.0 {
            let one = Self(BTreeMap::from([(series.clone(), *value)]));
            let found = series.split(&format!(".{label}=.=")).nth(1).and_then(|rest| rest.split(";.;").next());
            if let Some(found) = found.filter(|_| one.sum(name, labels) > 0) {
                *sums.entry(found.to_owned()).or_default() += value;
            }
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_their_labels() {
        let name = |lane, source| format!("wasmcustom.graylane_context_total.lane=.={lane};.;.source=.={source};.;");
        let stats = Stats(BTreeMap::from([
            (name("canary", "pod"), 3),
            (name("canary", "header"), 4),
            (name("stable", "none"), 9),
        ]));
        assert_eq!(stats.sum("graylane_context_total", &[("lane", "canary")]), 7);
        let sources = stats.by_label("graylane_context_total", &[("lane", "canary")], "source");
        assert_eq!(sources, [("header".to_owned(), 4), ("pod".to_owned(), 3)]);
        assert_eq!(stats.since(&stats).sum("graylane", &[]), 0);
    }
}
