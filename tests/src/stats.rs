//! What `/stats/prometheus` of an Envoy says.

use std::collections::BTreeMap;

use anyhow::Result;
use prometheus_parse::{Scrape, Value};

/// All samples of one scrape.
#[derive(Clone, Debug)]
pub struct Stats {
    samples: Vec<Sample>,
}

/// One series and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name of the metric.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The counter or gauge value; of a histogram its number of observations.
    pub value: f64,
}

// === impl Stats ===

impl Stats {
    /// Reads the text exposition format.
    ///
    /// # Errors
    /// When a line cannot be read.
    pub fn parse(text: &str) -> Result<Self> {
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned())))?;
        let samples = scrape.samples.into_iter().map(Sample::from).collect();
        Ok(Self { samples })
    }

    /// Sum of all series of `name` whose labels include `labels`.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name).filter(|sample| sample.has(labels)).map(|sample| sample.value).sum()
    }

    /// Every series of `name`.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// How many series have a name that begins so.
    #[must_use]
    pub fn series(&self, prefix: &str) -> usize {
        self.samples.iter().filter(|sample| sample.name.starts_with(prefix)).count()
    }
}

impl Sample {
    /// True when each of these labels is there with this value.
    #[must_use]
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|have| have == value))
    }
}

impl From<prometheus_parse::Sample> for Sample {
    fn from(sample: prometheus_parse::Sample) -> Self {
        let value = match &sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
            Value::Histogram(buckets) => buckets.last().map_or(0.0, |bucket| bucket.count),
            Value::Summary(quantiles) => quantiles.last().map_or(0.0, |quantile| quantile.count),
        };
        let labels = sample.labels.iter().map(|(name, value)| (name.clone(), value.clone()));
        Self { name: sample.metric, labels: labels.collect(), value }
    }
}
