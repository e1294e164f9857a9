//! Decimal numbers, compared without binary floating point.
//!
//! A number keeps its first 18 significant digits, one more than any 64-bit float tells apart, and
//! ignores the rest. Integers alone, so 0.1 is 0.1, every platform agrees to the last digit, and the
//! module goes without the 20 kB of tables that reading and printing floats would bring.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Significant digits that are kept.
const DIGITS: u32 = 18;
/// Numbers of 10 to this power and more are none, and those below the negative power are zero. Close
/// to what a 64-bit float holds, so that whoever writes documents with floats meets the same limits.
const MAX_POWER: i32 = 300;
/// Keeps every rank of a positive number positive.
const BIAS: i32 = 1_000;

/// A decimal number of a document or a request.
///
/// The value is `digits * 10^(rank - BIAS)`, and digits has exactly 18 digits (or is 0). Below zero both
/// fields are negated, which makes the derived order the order of numbers: rank is positive for
/// positive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    rank: i32,
    digits: i64,
}

// === impl Number ===

impl Number {
    /// Zero.
    pub(crate) const ZERO: Self = Self { rank: 0, digits: 0 };
    /// Below every number that can be written.
    pub(crate) const LEAST: Self = Self { rank: i32::MIN, digits: 0 };
    /// Above every number that can be written.
    pub(crate) const GREATEST: Self = Self { rank: i32::MAX, digits: 0 };

    /// Reads a decimal with an optional sign, point and exponent, and nothing around it; one digit
    /// before or after the point suffices, as in `5.` and `.5`. `None` for anything else, and for
    /// numbers of 300 digits and more.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, text) = signed(text);
        let (significant, rest) = Significant::of(text)?;
        let shift = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent(rest)?,
            _ => return None,
        };
        significant.shifted(negative, shift)
    }

    fn as_f64(self) -> Option<f64> {
        format!("{}e{}", self.digits, self.power()).parse().ok()
    }

    fn as_i64(self) -> Option<i64> {
        let unit = 10_i64.checked_pow(u32::try_from(self.power().checked_neg()?).ok()?)?;
        (self.digits % unit == 0).then_some(self.digits / unit)
    }

    /// The power of ten that digits are multiplied with.
    fn power(self) -> i32 {
        if self == Self::ZERO { 0 } else { self.rank.saturating_abs().saturating_sub(BIAS) }
    }
}

/// The first significant digits of a number, as an integer.
#[derive(Default)]
struct Significant {
    digits: i64,
    /// How many digits that are, at most [`DIGITS`].
    count: u32,
    /// The power of ten they are multiplied with.
    power: i32,
}

// === impl Significant ===

impl Significant {
    /// The digits that a text begins with, as in `12.34`, and the rest of the text.
    fn of(mut text: &[u8]) -> Option<(Self, &[u8])> {
        let mut read = Self::default();
        let (mut point, mut any) = (false, false);
        while let [byte, rest @ ..] = text {
            match byte {
                b'0'..=b'9' => {
                    any = true;
                    read.digit(byte - b'0', point);
                }
                b'.' if !point => point = true,
                _ => break,
            }
            text = rest;
        }
        any.then_some((read, text))
    }

    fn digit(&mut self, digit: u8, is_fraction: bool) {
        let kept = self.count < DIGITS;
        if kept {
            self.digits = self.digits * 10 + i64::from(digit);
            self.count += u32::from(self.digits != 0);
        }
        self.power = self.power.saturating_add(i32::from(!kept)).saturating_sub(i32::from(is_fraction));
    }

    fn shifted(self, negative: bool, shift: i32) -> Option<Number> {
        let missing = DIGITS.saturating_sub(self.count);
        let power = self.power.saturating_add(shift).saturating_sub(missing as i32);
        let exponent = power.saturating_add(DIGITS as i32 - 1);
        if self.digits == 0 || exponent < -MAX_POWER {
            return Some(Number::ZERO);
        }
        if exponent >= MAX_POWER {
            return None;
        }
        let (rank, digits) = (power + BIAS, self.digits * 10_i64.pow(missing));
        Some(if negative { Number { rank: -rank, digits: -digits } } else { Number { rank, digits } })
    }
}

fn signed(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// The number after `e`. One that no number of ours can have ends far outside, not in an overflow.
fn exponent(text: &[u8]) -> Option<i32> {
    let (negative, text) = signed(text);
    let mut value = 0_i32;
    for &byte in text {
        let digit = char::from(byte).to_digit(10)?;
        value = value.saturating_mul(10).saturating_add(digit as i32).min(1_000_000_000);
    }
    let value = if negative { -value } else { value };
    (!text.is_empty()).then_some(value)
}

// Only writers of documents, which are native, use serde on numbers; the filter reads their digits.

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.as_i64(), self.as_f64()) {
            (Some(integer), _) => serializer.serialize_i64(integer),
            (None, Some(float)) => serializer.serialize_f64(float),
            (None, None) => Err(serde::ser::Error::custom("not a number")),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a decimal number of less than 300 digits")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
        Number::parse(value.to_string().as_bytes()).ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
        Number::parse(value.to_string().as_bytes()).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
        Number::parse(format!("{value:e}").as_bytes()).ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "number"})
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn number(text: &str) -> Option<Number> {
        Number::parse(text.as_bytes())
    }

    #[test]
    fn numbers_are_in_order() {
        let ascending = [
            "-1e299",
            "-100.5",
            "-100",
            "-99.999",
            "-1e-3",
            "0",
            "1e-299",
            "0.1",
            "0.10000000000000001",
            ".2",
            "1",
            "9.99",
            "10",
            "123456789012345678",
            "123456789012345679",
            "1e18",
            "2.5e19",
        ];
        for pair in ascending.windows(2) {
            assert!(number(pair[0]).unwrap() < number(pair[1]).unwrap(), "{pair:?}");
        }
        assert!(Number::LEAST < number("-9.9e299").unwrap() && number("9.9e299").unwrap() < Number::GREATEST);
    }

    #[test]
    fn a_number_may_be_written_in_many_ways() {
        for same in ["15", "+15", "15.", "15.0", "015", "1.5e1", "0.15E2", "150e-1", "15.00000000000000000000001"] {
            assert_eq!(number(same), number("15"), "{same}");
        }
        assert_eq!(number("-0.0"), number("0"));
        assert_eq!(number("1e-301"), number("0"));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "",
            ".",
            "-",
            "+",
            "e5",
            ".e5",
            "1e",
            "1e+",
            "1.2.3",
            "--1",
            "1-",
            " 1",
            "1 ",
            "x",
            "NaN",
            "inf",
            "1_000",
            "0x10",
            "1e300",
            "-1e4000000000",
            "1e99999999999999999999",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn floats_come_through_unchanged() {
        for float in [0.1, -0.25, 1.0 / 3.0, 1e21, 123_456.789, 5e-7, f64::EPSILON, 9.007_199_254_740_993e15] {
            let read: Number = serde_json::from_str(&float.to_string()).unwrap();
            let written: f64 = serde_json::from_value(serde_json::to_value(read).unwrap()).unwrap();
            assert_eq!(written, float);
        }
        assert_eq!(serde_json::to_string(&number("-10")).unwrap(), "-10");
    }
}
