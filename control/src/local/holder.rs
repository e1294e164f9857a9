//! Who has a folder. The kernel's list of locks knows it, so nothing has to be written that could
//! outlive whoever wrote it.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// A process that has a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub process: u32,
    /// How it was started, if that can be seen.
    pub command: String,
}

// === impl Holder ===

impl Holder {
    /// Who has a lock on an open file; nobody where the kernel does not tell, as in another container.
    pub(super) fn of(file: &File) -> Option<Self> {
        let inode = file.metadata().ok()?.ino();
        let process = holder_in(&std::fs::read_to_string("/proc/locks").ok()?, inode)?;
        let words = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        let command =
            words.trim().rsplit_once("graylane ").map_or_else(String::new, |(_, tail)| format!("graylane {tail}"));
        Some(Self { process, command })
    }

    /// Whether it stays until it is ended, rather than being done soon.
    pub fn stays(&self) -> bool {
        self.command.starts_with("graylane run") || self.command.starts_with("graylane demo")
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.command.as_str() {
            "" => write!(f, "process {}", self.process),
            command => write!(f, "`{command}` (process {})", self.process),
        }
    }
}

/// Lines look like `3: FLOCK  ADVISORY  WRITE 4711 00:2d:67890 0 EOF`; those of processes that wait have
/// an arrow after the number. The device is that of the whole file system, which `stat` may tell
/// otherwise, so only the inode is compared.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process, file, ..] = words.as_slice() else { return None };
        (file.rsplit(':').next()?.parse() == Ok(inode)).then(|| process.parse().ok())?
    };
    locks.lines().find_map(holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_by_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 1 00:2d:7 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 2 00:2d:7 0 EOF\n\
            3: FLOCK  ADVISORY  WRITE 3 00:2d:8 0 EOF\n4: FLOCK  ADVISORY  WRITE 4 00:2d:7 0 EOF\n";
        assert_eq!(holder_in(locks, 7), Some(4));
        assert_eq!(holder_in(locks, 9), None);
    }

    #[test]
    fn a_process_finds_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::open(dir.path()).unwrap();
        file.try_lock().unwrap();
        assert_eq!(Holder::of(&file).unwrap().process, std::process::id());
    }
}
