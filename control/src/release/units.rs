//! Weights, durations and times as people write them.
//!
//! They are kept as text until validation, so that a bad one is reported together with every other
//! problem of the file.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::rules::{self, Rule};

/// All of the weight: weights are counted in 1/10,000.
pub const WHOLE: u32 = 10_000;

/// A share of the units: `"5%"`, `"0.25%"`, or a number of 10,000 such as `500`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Weight(pub String);

/// A length of time, such as `10s` or `1m 30s`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Span(pub String);

/// A point in time in RFC 3339, such as `2027-01-31T08:00:00Z`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Time(#[schemars(extend("format" = "date-time"))] pub String);

/// Why a text is no weight, duration or time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.rule().said(&[("value", self.text())]).0)]
pub enum UnitError {
    /// Not a weight at all.
    Weight(String),
    /// More digits than 1/10,000 can hold.
    TooFine(String),
    /// More than everything.
    TooMuch(String),
    /// Not a duration.
    Span(String),
    /// Not a point in time.
    Time(String),
}

// === impl UnitError ===

impl UnitError {
    /// The rule that is broken.
    pub fn rule(&self) -> &'static Rule {
        match self {
            Self::Weight(_) => &rules::WEIGHT,
            Self::TooFine(_) => &rules::FINE_WEIGHT,
            Self::TooMuch(_) => &rules::MUCH_WEIGHT,
            Self::Span(_) => &rules::SPAN,
            Self::Time(_) => &rules::TIME,
        }
    }

    /// The text that was given.
    pub fn text(&self) -> &str {
        let (Self::Weight(text) | Self::TooFine(text) | Self::TooMuch(text) | Self::Span(text) | Self::Time(text)) =
            self;
        text
    }
}

// === impl Weight ===

impl Weight {
    /// The weight in 1/10,000. Percents are read digit by digit, so that none is rounded.
    ///
    /// # Errors
    /// When the text is no weight, is finer than 1/10,000, or is more than everything.
    pub fn parts(&self) -> Result<u32, UnitError> {
        let text = self.0.trim();
        let wrong = || UnitError::Weight(self.0.clone());
        let parts = match text.strip_suffix('%') {
            None => digits(text).ok_or_else(wrong)?,
            Some(percent) => {
                let (whole, fraction) = percent.trim_end().split_once('.').unwrap_or((percent.trim_end(), "0"));
                let fraction = match fraction.trim_end_matches('0') {
                    "" if !fraction.is_empty() => "0",
                    rest => rest,
                };
                let tenths = digits(fraction).ok_or_else(wrong)?;
                if fraction.len() > 2 {
                    return Err(UnitError::TooFine(self.0.clone()));
                }
                let hundredths = if fraction.len() == 1 { tenths * 10 } else { tenths };
                digits(whole).ok_or_else(wrong)?.saturating_mul(100).saturating_add(hundredths)
            }
        };
        if parts > WHOLE { Err(UnitError::TooMuch(self.0.clone())) } else { Ok(parts) }
    }
}

fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number too long for u32 is a number all the same: it is refused as too much.
    plain.then(|| text.parse().unwrap_or(u32::MAX))
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsText;
        impl<'de> Visitor<'de> for AsText {
            type Value = Weight;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentage such as \"5%\" or a number of 10000 such as 500")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Weight, E> {
                Ok(Weight(value.to_string()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Weight, E> {
                Ok(Weight(value.to_string()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Weight, E> {
                Ok(Weight(value.to_string()))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Weight, E> {
                Ok(Weight(value.into()))
            }
            // Of a step, where it is easily mistaken for `weights`.
            fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<Weight, A::Error> {
                Err(de::Error::custom("weights by lane stand in `weights`"))
            }
        }
        deserializer.deserialize_any(AsText)
    }
}

impl JsonSchema for Weight {
    fn schema_name() -> Cow<'static, str> {
        "Weight".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share of the units: \"5%\", \"0.25%\", or a number of 10,000 such as 500.",
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": WHOLE},
                {"type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,2}0*)? *%?$"}
            ]
        })
    }
}

/// A weight in percent, without trailing zeros: `5%`, `0.25%`.
pub fn percent(parts: u32) -> String {
    match (parts / 100, parts % 100) {
        (whole, 0) => format!("{whole}%"),
        (whole, rest) => format!("{whole}.{}%", format!("{rest:02}").trim_end_matches('0')),
    }
}

// === impl Span ===

impl Span {
    /// The length in milliseconds.
    ///
    /// # Errors
    /// When the text is no duration, or a negative one.
    pub fn millis(&self) -> Result<u64, UnitError> {
        let span: Result<jiff::SignedDuration, _> = self.0.trim().parse();
        span.ok().and_then(|span| u64::try_from(span.as_millis()).ok()).ok_or_else(|| UnitError::Span(self.0.clone()))
    }
}

// === impl Time ===

impl Time {
    /// Seconds since the Unix epoch.
    ///
    /// # Errors
    /// When the text is no RFC 3339 time, or one before 1970.
    pub fn unix(&self) -> Result<u64, UnitError> {
        let time: Result<jiff::Timestamp, _> = self.0.trim().parse();
        time.ok().and_then(|time| u64::try_from(time.as_second()).ok()).ok_or_else(|| UnitError::Time(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Result<u32, UnitError> {
        Weight(text.into()).parts()
    }

    #[test]
    fn weights_are_read_exactly() {
        for (text, expected) in [
            ("0", 0),
            ("500", 500),
            ("10000", 10_000),
            ("5%", 500),
            ("5 %", 500),
            ("0.25%", 25),
            ("0.5%", 50),
            ("12.50%", 1250),
            ("33.330%", 3333),
            ("100%", 10_000),
        ] {
            assert_eq!(parts(text), Ok(expected), "{text}");
            assert_eq!(parts(&percent(expected)), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "%", "five", "-5", "-5%", "5.%", ".5%", "1e2", "0.5", "+5%", "5%%"] {
            assert_eq!(parts(text), Err(UnitError::Weight(text.into())), "{text}");
        }
        assert_eq!(parts("0.125%"), Err(UnitError::TooFine("0.125%".into())));
        assert_eq!(parts("101%"), Err(UnitError::TooMuch("101%".into())));
        assert_eq!(parts("99999999999999"), Err(UnitError::TooMuch("99999999999999".into())));
    }

    #[test]
    fn spans_and_times_are_read() {
        assert_eq!(Span("10s".into()).millis(), Ok(10_000));
        assert_eq!(Span("1m 30s".into()).millis(), Ok(90_000));
        assert!(Span("-10s".into()).millis().is_err());
        assert!(Span("10".into()).millis().is_err());
        assert_eq!(Time("1970-01-01T00:01:00Z".into()).unix(), Ok(60));
        assert_eq!(Time("1970-01-01T02:00:00+02:00".into()).unix(), Ok(0));
        assert!(Time("tomorrow".into()).unix().is_err());
        assert!(Time("2027-01-31".into()).unix().is_err());
    }
}
