//! Texts, numbers, `true`, `false` and `null`.

use super::super::Stop;
use super::Json;

// === impl Json ===

impl<'j> Json<'j> {
    /// A text.
    pub(in super::super) fn string(&mut self) -> Result<String, Stop> {
        self.expect(b'"', "a text")?;
        let mut bytes = Vec::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.iter().take_while(|&&byte| byte >= b' ' && byte != b'"' && byte != b'\\').count();
            bytes.extend_from_slice(rest.get(..plain).unwrap_or_default());
            self.at = self.at.saturating_add(plain).saturating_add(1);
            match rest.get(plain) {
                Some(b'"') => break,
                Some(b'\\') => self.escape(&mut bytes)?,
                Some(_) => return Err(self.stop(&"control characters in a text must be escaped")),
                None => return Err(self.stop(&"the text does not end")),
            }
        }
        String::from_utf8(bytes).map_err(|_| self.stop(&"the text is not UTF-8"))
    }

    /// A non-negative integer, without fraction and exponent.
    pub(in super::super) fn integer(&mut self) -> Result<u64, Stop> {
        let digits = self.number()?;
        let value = digits.iter().try_fold(0_u64, |value, &byte| {
            let digit = char::from(byte).to_digit(10)?;
            value.checked_mul(10)?.checked_add(u64::from(digit))
        });
        value.ok_or_else(|| self.stop(&"expected a non-negative integer"))
    }

    /// The text of a number.
    pub(in super::super) fn number(&mut self) -> Result<&'j [u8], Stop> {
        self.blanks();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let number = number_in(rest);
        self.at = self.at.saturating_add(number.len());
        if number.is_empty() { Err(self.stop(&"expected a number")) } else { Ok(number) }
    }

    /// `true` or `false`.
    pub(in super::super) fn boolean(&mut self) -> Result<bool, Stop> {
        let value = self.peek() == Some(b't');
        self.keyword(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// Whether the next value is `null`, which is then read.
    pub(in super::super) fn is_null(&mut self) -> bool {
        self.peek() == Some(b'n') && self.keyword("null").is_ok()
    }

    /// What follows a backslash.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        let mark = self.text.get(self.at).copied();
        self.at = self.at.saturating_add(1);
        out.push(match mark {
            Some(mark @ (b'"' | b'\\' | b'/')) => mark,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let Some(char) = self.unicode() else {
                    return Err(self.stop(&"\\u must name a character by 4 hex digits, or a pair of surrogates"));
                };
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.stop(&"no such escape")),
        });
        Ok(())
    }

    fn unicode(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        let rest = self.text.get(self.at..)?;
        self.at = self.at.saturating_add(2);
        let second = if rest.starts_with(b"\\u") { self.hex4()? } else { return None };
        let low = second.checked_sub(0xdc00).filter(|&low| low < 0x400)?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + low)
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..)?.get(..4)?;
        self.at = self.at.saturating_add(4);
        digits.iter().try_fold(0, |value, &byte| Some(value << 4 | char::from(byte).to_digit(16)?))
    }
}

/// The number that a text begins with; empty when there is none.
fn number_in(text: &[u8]) -> &[u8] {
    let digits = |at: usize| text.iter().skip(at).take_while(|byte| byte.is_ascii_digit()).count();
    let is = |at: usize, marks: &[u8]| text.get(at).is_some_and(|byte| marks.contains(byte));
    let start = usize::from(is(0, b"-"));
    let whole = digits(start);
    if whole == 0 || (whole > 1 && is(start, b"0")) {
        return &[];
    }
    let mut end = start.saturating_add(whole);
    if is(end, b".") {
        let fraction = digits(end.saturating_add(1));
        end = if fraction == 0 { 0 } else { end.saturating_add(fraction).saturating_add(1) };
    }
    if end > 0 && is(end, b"eE") {
        let first = end.saturating_add(1).saturating_add(usize::from(is(end.saturating_add(1), b"+-")));
        let exponent = digits(first);
        end = if exponent == 0 { 0 } else { first.saturating_add(exponent) };
    }
    text.get(..end).unwrap_or_default()
}
