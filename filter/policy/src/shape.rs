//! JSON text to [`RawConfig`]: the one place that knows how shape errors are told.

mod position;

use crate::problem::ConfigError;
use crate::raw::RawConfig;

/// Largest document that is read. An EnvoyFilter cannot carry more than 1.5 MiB anyway.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;

pub(crate) fn read(json: &[u8]) -> Result<RawConfig, ConfigError> {
    if json.len() > MAX_BYTES {
        let message = format!("{} bytes; at most {MAX_BYTES} are read", json.len());
        return Err(ConfigError::Shape { path: ".".into(), message });
    }
    serde_json::from_slice(json).map_err(|error| ConfigError::Shape {
        path: position::path_at(json, error.line(), error.column()),
        message: error.to_string(),
    })
}
