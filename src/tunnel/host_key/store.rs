//! Writing to a known_hosts file: under a lock, whole lines or nothing, everything else byte for byte.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::tunnel::host_key::MAX_FILE_BYTES;

/// How long another writer of the file is waited for.
const LOCK_DEADLINE: Duration = Duration::from_secs(2);

/// Pause between two tries to lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// An open file that no other run of ours writes to.
#[derive(Debug)]
pub(super) struct LockedFile {
    file: File,
    /// The file itself, where the name is a link.
    path: PathBuf,
    content: Vec<u8>,
}

impl LockedFile {
    /// Opens and locks a file, which is made owner-only when it is missing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let deadline = Instant::now() + LOCK_DEADLINE;
        loop {
            let file = open(path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is not a regular file"));
            }
            lock(&file, deadline)?;
            // Whoever held the lock may have put another file in its place.
            if is_still_there(&file, path)? {
                let mut content = Vec::new();
                (&file).take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
                // Only what was read whole can be written whole.
                if content.len() as u64 > MAX_FILE_BYTES {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                let path = path.canonicalize()?;
                return Ok(Self {
                    file,
                    path,
                    content,
                });
            }
            if Instant::now() >= deadline {
                return Err(busy());
            }
        }
    }

    /// What was in it when it was locked.
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    /// Adds whole lines at the end, with the line end that the last one may lack.
    pub(super) fn append(&mut self, lines: &str) -> io::Result<()> {
        let missing_end = if self.content.last().is_none_or(|last| *last == b'\n') {
            ""
        } else {
            "\n"
        };
        let text = format!("{missing_end}{lines}");
        // One write under O_APPEND: other programs that do not lock still see whole lines.
        let written = self.file.write(text.as_bytes())?;
        if written < text.len() {
            take_back(&self.file, self.content.len() + written, self.content.len());
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.sync_all()
    }

    /// Puts `content` in place of the file at once, or leaves the file as it was. The mode stays, and
    /// with `keep_old` the file of before stays beside it as `NAME.old`.
    pub(super) fn replace(self, content: &[u8], keep_old: bool) -> io::Result<()> {
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(format!(".{:08x}", rand::random::<u32>()));
        let temporary = PathBuf::from(temporary);
        let result = self.put(content, keep_old, &temporary);
        if result.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        result
    }

    fn put(&self, content: &[u8], keep_old: bool, temporary: &Path) -> io::Result<()> {
        let before = self.file.metadata()?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options.open(temporary)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            // Matters to root alone, who may write into the files of others.
            if file.metadata()?.uid() != before.uid() {
                std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))?;
            }
        }
        file.set_permissions(before.permissions())?;
        file.write_all(content)?;
        file.sync_all()?;
        // Programs that do not lock append all the same; their line is not to be lost.
        let length = usize::try_from(self.file.metadata()?.len());
        if length != Ok(self.content.len()) {
            return Err(io::Error::other(
                "another program wrote to it meanwhile; try again",
            ));
        }
        if keep_old {
            let mut old = self.path.clone().into_os_string();
            old.push(".old");
            match std::fs::remove_file(&old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => std::fs::hard_link(&self.path, &old)?,
            }
        }
        std::fs::rename(temporary, &self.path)?;
        if let Some(directory) = self.path.parent() {
            // The new name has to reach the disk, too.
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

/// False when the name stands for another file by now.
fn is_still_there(file: &File, path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let (ours, named) = (file.metadata()?, std::fs::metadata(path));
        match named {
            Ok(named) => Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        Ok(true)
    }
}

/// Removes what a full disk cut off, unless somebody has written behind it.
fn take_back(file: &File, length: usize, before: usize) {
    let is_last = file
        .metadata()
        .is_ok_and(|meta| meta.len() == length as u64);
    if is_last {
        let _ = file.set_len(before as u64);
    }
}

/// Locks the file against other runs of ours; the lock goes with the file handle.
fn lock(file: &File, deadline: Instant) -> io::Result<()> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Err(busy()),
            // Some network file systems have no locks; the single write still holds.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok(());
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn busy() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "another program keeps it locked")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_line_that_another_program_appended_meanwhile_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        std::fs::write(&path, "one\n").unwrap();
        let locked = LockedFile::open(&path).unwrap();
        std::fs::write(&path, "one\nlearned by ssh\n").unwrap();
        let refused = locked.replace(b"two\n", true).unwrap_err();
        assert!(refused.to_string().contains("meanwhile"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), b"one\nlearned by ssh\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_replaced_whole_behind_its_link_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::write(&file, "one\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        LockedFile::open(&link)
            .unwrap()
            .replace(b"two\n", true)
            .unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two\n");
        assert_eq!(
            std::fs::read(dir.path().join("real.old")).unwrap(),
            b"one\n"
        );
        assert!(link.is_symlink());
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        LockedFile::open(&link)
            .unwrap()
            .replace(b"three\n", true)
            .unwrap();
        assert_eq!(
            std::fs::read(dir.path().join("real.old")).unwrap(),
            b"two\n"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [&pipe, Path::new("/dev/full")] {
            let error = LockedFile::open(path).unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file");
        }
        assert!(LockedFile::open(dir.path()).is_err());
    }

    #[test]
    fn what_waits_for_the_lock_sees_the_file_that_took_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "one\n").unwrap();
        let first = LockedFile::open(&file).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| LockedFile::open(&file).unwrap().append("three\n"));
            // Whichever way the race goes, nothing is lost.
            first.replace(b"two\n", false).unwrap();
            second.join().unwrap().unwrap();
        });
        assert_eq!(std::fs::read(&file).unwrap(), b"two\nthree\n");
    }
}
