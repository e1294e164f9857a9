//! A reader of JSON (RFC 8259) that is told what to expect.
//!
//! As strict as serde_json: UTF-8 only, no trailing commas, no unpaired surrogates, nothing after the
//! document, at most 127 containers inside each other. Object members are checked against a table of
//! names, so a caller only says how each known one is read.

mod scalars;

use std::fmt::Display;

use super::{Place, Stop};

/// Containers inside each other; the stack of a wasm VM is small.
const MAX_DEPTH: u32 = 127;

/// The text, and how much of it has been read.
pub(super) struct Json<'j> {
    text: &'j [u8],
    at: usize,
    depth: u32,
}

/// A member of an object, or a variant of a choice.
pub(super) struct Name {
    /// As it is written.
    pub(super) text: &'static str,
    /// A member that must be there; a variant that has a value.
    pub(super) needed: bool,
}

/// How the member or variant at a position of the table is read.
type ReadNamed<'f, 'j> = &'f mut dyn FnMut(&mut Json<'j>, usize) -> Result<(), Stop>;

// === impl Json: containers ===

impl<'j> Json<'j> {
    pub(super) fn new(text: &'j [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// An object with members of these names (32 at most), each at most once and the needed ones at
    /// least once.
    pub(super) fn object(&mut self, names: &[Name], read: ReadNamed<'_, 'j>) -> Result<(), Stop> {
        self.enter(b'{', "an object")?;
        let mut seen = 0_u32;
        while self.more(b'}', seen == 0)? {
            let text = self.string()?;
            let at = self.find(&text, names).map_err(|stop| stop.within(&text))?;
            let bit = 1_u32.checked_shl(at as u32).unwrap_or(0);
            let name = text_of(names, at);
            if seen & bit != 0 {
                return Err(self.stop(&format_args!("the field `{name}` is there twice")).within(name));
            }
            seen |= bit;
            self.colon()?;
            read(self, at).map_err(|stop| stop.within(name))?;
        }
        let absent = names.iter().enumerate().find(|(at, name)| name.needed && seen >> at & 1 == 0);
        match absent {
            Some((_, name)) => Err(self.stop(&format_args!("the field `{}` is missing", name.text))),
            None => Ok(()),
        }
    }

    /// A list; `read` is called for each of its elements.
    pub(super) fn list(&mut self, read: &mut dyn FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        self.enter(b'[', "a list")?;
        let mut index = 0_usize;
        while self.more(b']', index == 0)? {
            read(self).map_err(|stop| stop.within_at(index))?;
            index = index.saturating_add(1);
        }
        Ok(())
    }

    /// One of several variants: its name alone, or an object whose only member is the name and value.
    pub(super) fn choice(&mut self, names: &[Name], read: ReadNamed<'_, 'j>) -> Result<(), Stop> {
        if self.peek() != Some(b'{') {
            let at = self.string().and_then(|text| self.find(&text, names))?;
            let name = text_of(names, at);
            if names.get(at).is_some_and(|name| name.needed) {
                return Err(self.stop(&format_args!("`{name}` needs a value, as in {{\"{name}\": …}}")));
            }
            return read(self, at);
        }
        self.enter(b'{', "an object")?;
        let at = self.string().and_then(|text| self.find(&text, names))?;
        let name = text_of(names, at);
        self.colon()?;
        // A variant without a value may be written with null.
        let valued = names.get(at).is_some_and(|name| name.needed);
        let unit = if valued { Ok(()) } else { self.keyword("null") };
        unit.and_then(|()| read(self, at)).map_err(|stop| stop.within(name))?;
        if self.more(b'}', false)? {
            return Err(self.stop(&"one variant is expected, and here is another"));
        }
        Ok(())
    }

    /// Nothing but blanks up to the end.
    pub(super) fn end(&mut self) -> Result<(), Stop> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.stop(&"text after the end of the document")),
        }
    }

    /// An error at this place.
    #[cold]
    pub(super) fn stop(&self, message: &dyn Display) -> Stop {
        let offset = self.at.min(self.text.len());
        Stop(Box::new(Place { path: String::new(), message: message.to_string(), offset }))
    }
}

// === impl Json: marks ===

impl Json<'_> {
    fn peek(&mut self) -> Option<u8> {
        self.blanks();
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at = self.at.saturating_add(1);
        }
    }

    fn expect(&mut self, mark: u8, what: &str) -> Result<(), Stop> {
        let found = self.peek();
        self.at = self.at.saturating_add(usize::from(found.is_some()));
        match found {
            Some(found) if found == mark => Ok(()),
            Some(b'[') => Err(self.stop(&format_args!("expected {what}, found a list"))),
            Some(b'{') => Err(self.stop(&format_args!("expected {what}, found an object"))),
            Some(b'"') => Err(self.stop(&format_args!("expected {what}, found a text"))),
            Some(_) => Err(self.stop(&format_args!("expected {what}"))),
            None => Err(self.stop(&format_args!("expected {what}, found the end"))),
        }
    }

    fn colon(&mut self) -> Result<(), Stop> {
        self.expect(b':', "`:`")
    }

    fn keyword(&mut self, word: &str) -> Result<(), Stop> {
        self.blanks();
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.stop(&format_args!("expected {}", if word == "null" { word } else { "true or false" })));
        }
        self.at = self.at.saturating_add(word.len());
        Ok(())
    }

    fn enter(&mut self, mark: u8, what: &str) -> Result<(), Stop> {
        self.expect(mark, what)?;
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH { Err(self.stop(&"objects and lists nest too deep")) } else { Ok(()) }
    }

    /// Whether a container goes on: past the comma before the next element, or past its end.
    fn more(&mut self, end: u8, is_first: bool) -> Result<bool, Stop> {
        if self.peek() == Some(end) {
            self.at = self.at.saturating_add(1);
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if !is_first {
            self.expect(b',', if end == b'}' { "`,` or `}`" } else { "`,` or `]`" })?;
        }
        Ok(true)
    }

    /// The position of a name in the table.
    fn find(&self, text: &str, names: &[Name]) -> Result<usize, Stop> {
        names.iter().position(|name| name.text == text).ok_or_else(|| self.unknown(text, names))
    }

    #[cold]
    fn unknown(&self, text: &str, names: &[Name]) -> Stop {
        let mut message = format!("there is no `{}` here, only", text.escape_default());
        for name in names {
            message.push_str(" `");
            message.push_str(name.text);
            message.push('`');
        }
        self.stop(&message)
    }
}

fn text_of(names: &[Name], at: usize) -> &'static str {
    names.get(at).map_or("", |name| name.text)
}
