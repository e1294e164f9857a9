//! Figures that tests measure. A suite shows them as one table at its end, and keeps them as JSON.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

/// The file that figures are added to, one JSON object a line; without it they are only printed.
pub const FILE: &str = "GRAYLANE_FIGURES";

/// A measured figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure<'a> {
    /// What was measured.
    pub name: &'a str,
    /// What came out, with its unit.
    pub value: String,
    /// What is wanted, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<&'a str>,
    /// Whether it is as wanted.
    pub holds: bool,
}

/// Adds a figure of which nothing is wanted.
///
/// # Errors
/// When the file cannot be written.
pub fn say(name: &str, value: impl Into<String>) -> Result<()> {
    note(&Figure { name, value: value.into(), wanted: None, holds: true })
}

/// Adds a figure that has to be as wanted.
///
/// # Errors
/// When it is not, or the file cannot be written.
pub fn judge(name: &str, value: impl Into<String>, wanted: &str, holds: bool) -> Result<()> {
    let value = value.into();
    note(&Figure { name, value: value.clone(), wanted: Some(wanted), holds })?;
    ensure!(holds, "{name}: {value}; wanted {wanted}");
    Ok(())
}

/// The same for time and processor time: of a debug build, and so in CI where other things run beside it, it is only
/// told.
///
/// # Errors
/// When a release build takes more than wanted, or the file cannot be written.
pub fn judge_cost(name: &str, value: impl Into<String>, wanted: &str, holds: bool) -> Result<()> {
    if cfg!(debug_assertions) { aim(name, value, wanted, holds) } else { judge(name, value, wanted, holds) }
}

/// Adds a figure that is known to miss what is wanted: the table says so, and no test fails.
///
/// # Errors
/// When the file cannot be written.
pub fn aim(name: &str, value: impl Into<String>, wanted: &str, holds: bool) -> Result<()> {
    note(&Figure { name, value: value.into(), wanted: Some(wanted), holds })
}

/// Adds a figure, whatever it is.
///
/// # Errors
/// When the file cannot be written.
pub fn note(figure: &Figure<'_>) -> Result<()> {
    let line = serde_json::to_string(figure)?;
    println!("figure {line}");
    let Some(file) = std::env::var_os(FILE) else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(&file).context("open the file of figures")?;
    // One write, so that lines of tests that run at the same time do not mix.
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

/// Median, 90th percentile and largest of some values.
#[must_use]
pub fn spread(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    };
    [at(0.5), at(0.9), at(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_wanted_is_an_error_that_says_it_and_what_is_only_aimed_at_is_none() {
        let missed = judge("so long", "3 s", "at most 2 s", false).unwrap_err().to_string();
        assert_eq!(missed, "so long: 3 s; wanted at most 2 s");
        assert!(judge("so long", "2 s", "at most 2 s", true).is_ok());
        assert!(aim("so long", "3 s", "at most 2 s", false).is_ok());
        assert_eq!(judge_cost("so long", "3 s", "at most 2 s", false).is_ok(), cfg!(debug_assertions));
    }

    #[test]
    fn a_spread_is_median_ninth_tenth_and_largest() {
        let values: Vec<f64> = (0..=10).rev().map(f64::from).collect();
        assert_eq!(spread(&values), [5.0, 9.0, 10.0]);
    }
}
