//! Filter configs as files: what Envoy's `path_config_source` reads.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use graylane_policy::raw::RawConfig;
use serde_json::{Value, json};

/// Type of the config that does nothing: an RBAC filter without rules.
const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";

/// Changes the filter document inside an ECDS file and puts the file back in one rename, as
/// `graylane push` does.
///
/// # Errors
/// When the file does not hold a filter document.
pub fn change(file: &Path, edit: impl FnOnce(&mut RawConfig)) -> Result<()> {
    let mut document: RawConfig = serde_json::from_str(&document(file)?)?;
    document.generation += 1;
    edit(&mut document);
    change_text(file, &serde_json::to_string(&document)?)
}

/// Puts any text in the place of the filter document.
///
/// # Errors
/// When the file cannot be read or written.
pub fn change_text(file: &Path, document: &str) -> Result<()> {
    let mut response = read(file)?;
    *slot(&mut response)? = json!(document);
    write(file, response)
}

/// Takes the filter away by pushing a config that does nothing.
///
/// # Errors
/// When the file cannot be read or written.
pub fn make_inert(file: &Path) -> Result<()> {
    let mut response = read(file)?;
    let config = response.pointer_mut("/resources/0/typed_config").context("no typed_config")?;
    *config = json!({ "@type": RBAC });
    write(file, response)
}

/// The filter document inside an ECDS file.
///
/// # Errors
/// When there is none.
pub fn document(file: &Path) -> Result<String> {
    let mut response = read(file)?;
    Ok(slot(&mut response)?.as_str().context("the document is no text")?.to_owned())
}

fn read(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

fn slot(response: &mut Value) -> Result<&mut Value> {
    response
        .pointer_mut("/resources/0/typed_config/config/configuration/value")
        .context("no filter document in the ECDS file")
}

fn write(file: &Path, mut response: Value) -> Result<()> {
    let text = response.to_string();
    if let Some(version) = response.get_mut("version_info") {
        *version = json!(format!("{:x}", text.len()));
    }
    let fresh = file.with_extension("json.new");
    fs::write(&fresh, serde_json::to_string_pretty(&response)?)?;
    fs::rename(&fresh, file)?;
    Ok(())
}
