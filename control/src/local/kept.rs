//! What whoever only looks finds in a folder: release files, and one file each for what a running
//! `graylane run --local` keeps of a release and for what is asked of it. Nothing is locked.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{LocalError, PROXIES, proxies, write};
use crate::engine::request::Request;
use crate::engine::status::Status;
use crate::release::finding::Findings;
use crate::release::read;

/// The release files of a folder: every `*.yaml` and `*.yml` but `proxies.yaml`, in order of name.
///
/// # Errors
/// When it is no folder, or cannot be read.
pub fn release_files(dir: &Path) -> Result<Vec<PathBuf>, LocalError> {
    let failed = |source| LocalError::Folder { dir: dir.into(), source };
    let mut files = Vec::new();
    for entry in dir.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && path.file_name().is_some_and(|name| name != PROXIES) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The names of the proxies of a folder; none where `proxies.yaml` does not say.
pub fn proxy_names(dir: &Path) -> Vec<String> {
    let file = dir.join(PROXIES);
    let Ok(text) = std::fs::read_to_string(&file) else { return Vec::new() };
    let read = read::one::<proxies::ProxiesFile>(&file.display().to_string(), &text);
    read.map(|file| file.proxies.into_iter().map(|proxy| proxy.name).collect()).unwrap_or_default()
}

/// Where the status of a release is kept, by `namespace/name`: `status/<namespace>.<name>.json`.
pub fn status_file(dir: &Path, id: &str) -> PathBuf {
    dir.join("status").join(file_name(id))
}

/// Where a person asks something of a release: `requests/<namespace>.<name>.json`.
pub fn request_file(dir: &Path, id: &str) -> PathBuf {
    dir.join("requests").join(file_name(id))
}

/// The file of a release; a name is a DNS label, so the dot parts it from its namespace.
fn file_name(id: &str) -> String {
    format!("{}.json", id.replace('/', "."))
}

/// The status of a release; nothing before the first.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn status(dir: &Path, id: &str) -> Result<Option<Status>, LocalError> {
    json(&status_file(dir, id))
}

/// The last request to a release, handled or not.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn request(dir: &Path, id: &str) -> Result<Option<Request>, LocalError> {
    json(&request_file(dir, id))
}

/// Asks something of a release, in one step. What was asked before is forgotten.
///
/// # Errors
/// When it cannot be written.
pub fn ask(dir: &Path, id: &str, request: &Request) -> Result<(), LocalError> {
    write::json(&request_file(dir, id), request)
}

fn json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>, LocalError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LocalError::Read { file: file.into(), source }),
    };
    let bad = |error: serde_json::Error| {
        let mend = "restore it from a backup, or remove it to begin again";
        Findings::of(file.display().to_string(), format!("has the wrong shape: {error}"), mend)
    };
    Ok(Some(serde_json::from_str(&text).map_err(bad)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::request::Verb;

    #[test]
    fn what_was_asked_is_read_back_and_nothing_is_read_before() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(request(dir.path(), "shop/summer").unwrap(), None);
        let asked = Request { id: "a".into(), verb: Verb::Pause, step: Some(2) };
        ask(dir.path(), "shop/summer", &asked).unwrap();
        assert!(dir.path().join("requests/shop.summer.json").is_file());
        assert_eq!(request(dir.path(), "shop/summer").unwrap(), Some(asked));
    }

    #[test]
    fn a_file_with_something_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("status")).unwrap();
        std::fs::write(status_file(dir.path(), "shop/summer"), "{\"step\": \"three\"}").unwrap();
        let error = status(dir.path(), "shop/summer").unwrap_err().to_string();
        assert!(error.contains("shop.summer.json: has the wrong shape"), "{error}");
    }
}
