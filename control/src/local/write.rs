//! Writes a file in one step: its readers see the old content or the new, never a part.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Serialize;

use super::LocalError;

/// Writes a value as JSON, for people to read too.
pub(super) fn json(file: &Path, value: &impl Serialize) -> Result<(), LocalError> {
    let failed = |source| LocalError::Write { file: file.into(), source };
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    atomically(file, &text).map_err(failed)
}

/// The new file is written beside the old one and moved over it. Envoy watches for exactly this move;
/// a file that is rewritten in place it would read half-written.
fn atomically(file: &Path, content: &[u8]) -> std::io::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    // Readable for all: an Envoy in a container runs as another user.
    let permissions = std::fs::Permissions::from_mode(0o644);
    let mut new = tempfile::Builder::new().prefix(".graylane-").permissions(permissions).tempfile_in(dir)?;
    new.write_all(content)?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|error| error.error)?;
    // The move itself is only durable once the folder is.
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/state.json");
        json(&file, &1).unwrap();
        json(&file, &2).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "2\n");
        assert_eq!(file.parent().unwrap().read_dir().unwrap().count(), 1);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    }
}
