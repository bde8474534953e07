//! Reading a file that a person named, without being held up by what is no file.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// The empty file that people name to switch a file off.
pub(crate) const NULL_DEVICE: &str = "/dev/null";

/// Reads a regular file of at most `max_bytes`, and what the system knows of it. A pipe, a terminal
/// or another device is an error: it could block for ever, or never end.
pub(crate) fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let named = std::fs::metadata(path)?;
    if named.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory",
        ));
    }
    if path == Path::new(NULL_DEVICE) {
        return Ok((Vec::new(), named));
    }
    if !named.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let file = File::open(path)?;
    // The opened file is the one that counts, whatever the name points to now.
    let opened = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {} MiB", max_bytes / (1024 * 1024)),
        ));
    }
    Ok((bytes, opened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_and_the_null_device_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(read_bounded(&file, 3).unwrap().0, b"abc");
        assert_eq!(
            read_bounded(&file, 2).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        assert!(
            read_bounded(Path::new(NULL_DEVICE), 3)
                .unwrap()
                .0
                .is_empty()
        );
        for not_a_file in [dir.path(), Path::new("/dev/zero"), Path::new("/dev/tty")] {
            assert!(read_bounded(not_a_file, 3).is_err(), "{not_a_file:?}");
        }
        let missing = read_bounded(&dir.path().join("none"), 3).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
