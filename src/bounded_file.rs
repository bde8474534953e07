//! Reading a file without being held up by what is no file, and without end.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// The empty file that people name to switch a file off.
pub const NULL_DEVICE: &str = "/dev/null";

/// Reads a regular file of at most `max_bytes`, and what the system knows of it. A pipe, a terminal
/// or another device is an error: it could block for ever, or never end.
///
/// # Errors
/// `IsADirectory`, `FileTooLarge`, and whatever the system says.
pub fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<(Vec<u8>, Metadata)> {
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
    let file = open_at_once(path)?;
    // The opened file is the one that counts, whatever the name points to now.
    let opened = file.metadata()?;
    if !opened.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {} KiB", max_bytes / 1024),
        ));
    }
    Ok((bytes, opened))
}

/// [`read_bounded`], as text.
///
/// # Errors
/// As [`read_bounded`]; `InvalidData` for what is not UTF-8.
pub fn read_text(path: &Path, max_bytes: u64) -> io::Result<String> {
    let (bytes, _) = read_bounded(path, max_bytes)?;
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Opens it for reading. A pipe that has come to its place meanwhile is not waited for.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(libc::O_NONBLOCK);
    }
    options.open(path)
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
        #[cfg(unix)]
        {
            let pipe = dir.path().join("pipe");
            nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
            assert!(read_text(&pipe, 3).is_err(), "nobody waits for its writer");
        }
        std::fs::write(&file, [0xff]).unwrap();
        let no_text = read_text(&file, 3).unwrap_err();
        assert_eq!(no_text.kind(), io::ErrorKind::InvalidData);
        let missing = read_bounded(&dir.path().join("none"), 3).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
