//! JSON text to [`RawConfig`]: the one place that knows how shape errors are told.

use crate::problem::ConfigError;
use crate::raw::RawConfig;

/// Largest document that is read. An EnvoyFilter cannot carry more than 1.5 MiB anyway.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;

pub(crate) fn read(json: &[u8]) -> Result<RawConfig, ConfigError> {
    if json.len() > MAX_BYTES {
        let message = format!("{} bytes; at most {MAX_BYTES} are read", json.len());
        return Err(ConfigError::Shape { path: ".".into(), message });
    }
    let mut text = serde_json::Deserializer::from_slice(json);
    let raw: RawConfig = serde_path_to_error::deserialize(&mut text)
        .map_err(|error| ConfigError::Shape { path: error.path().to_string(), message: error.inner().to_string() })?;
    text.end().map_err(|error| ConfigError::Shape { path: ".".into(), message: error.to_string() })?;
    Ok(raw)
}
