//! JSON text to [`RawConfig`]: the one place that knows how shape errors are told.
//!
//! The types also have serde's derive, for tools that write them or read them in other formats. No
//! document is read by it: what serde and serde_json generate for these types takes more than 100 kB
//! of a module that has less than 300. The tests hold the two to the same answers.

mod document;
mod json;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
mod values;

use crate::problem::ConfigError;
use crate::raw::RawConfig;
use json::Json;

/// Largest document that is read. An EnvoyFilter cannot carry more than 1.5 MiB anyway.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;

/// A value that can be read in place.
trait Shape {
    /// What stands for the value while it has not been read, and in the end if it may be left out.
    fn blank() -> Self;

    /// Reads the next value of the text.
    fn read(&mut self, json: &mut Json<'_>) -> Result<(), Stop>;
}

/// Why and where reading stopped. Boxed, because every step of every read passes it on.
struct Stop(Box<Place>);

struct Place {
    /// Path below the value that is being read; each container puts its own step in front.
    path: String,
    message: String,
    /// How many bytes had been read.
    offset: usize,
}

pub(crate) fn read(text: &[u8]) -> Result<RawConfig, ConfigError> {
    if text.len() > MAX_BYTES {
        let message = format!("{} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(ConfigError::Shape { path: ".".into(), message });
    }
    let mut config = RawConfig::blank();
    let mut json = Json::new(text);
    match config.read(&mut json).and_then(|()| json.end()) {
        Ok(()) => Ok(config),
        Err(Stop(place)) => Err(place.told(text)),
    }
}

// === impl Stop ===

impl Stop {
    /// The error one level up: its path begins with this field.
    #[cold]
    fn within(mut self, name: &str) -> Self {
        let path = &mut self.0.path;
        if !path.is_empty() && !path.starts_with('[') {
            path.insert(0, '.');
        }
        path.insert_str(0, name);
        self
    }

    /// The error one level up: its path begins with this element.
    #[cold]
    fn within_at(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }
}

// === impl Place ===

impl Place {
    fn told(self, text: &[u8]) -> ConfigError {
        let read = text.get(..self.offset).unwrap_or(text);
        let line = read.iter().filter(|&&byte| byte == b'\n').count().saturating_add(1);
        let column = read.iter().rev().take_while(|&&byte| byte != b'\n').count();
        ConfigError::Shape {
            path: if self.path.is_empty() { ".".into() } else { self.path },
            message: format!("{} at line {line} column {column}", self.message),
        }
    }
}
