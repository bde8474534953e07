//! Files that only their owner may read: 0600, in directories of 0700, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// Creates a file that must not exist yet, and the directories above it.
///
/// # Errors
/// `AlreadyExists`, or whatever the system says.
pub fn create_new(path: &Path, content: &Secret) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    let staged = stage(path, content)?;
    // A hard link fails when the name is taken, and never shows half a file.
    let linked = fs::hard_link(&staged, path);
    let removed = fs::remove_file(&staged);
    linked.and(removed)?;
    sync_parent(path)
}

/// Replaces a file, or creates it, in one step that a crash cannot tear.
///
/// # Errors
/// Whatever the system says; the old file is then still there.
pub fn replace(path: &Path, content: &Secret) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    let staged = stage(path, content)?;
    fs::rename(&staged, path).inspect_err(|_| {
        let _ = fs::remove_file(&staged);
    })?;
    sync_parent(path)
}

/// Removes a file, so that it does not come back when the power goes.
///
/// # Errors
/// `NotFound`, or whatever the system says.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_parent(path)
}

/// Creates a directory and those above it; new ones are 0700 and stay when the power goes, existing ones are
/// left as they are.
///
/// # Errors
/// Whatever the system says.
pub fn create_dir(path: &Path) -> io::Result<()> {
    let holders = holders_of_new(path);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)?;
    for holder in holders {
        match sync_dir(&holder) {
            // Who may put a name into a directory may not always read it: then it is as sure as before.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// The directories that get a new name when this one is created with those above it: each has to reach the
/// disk, because what lies below a name that is lost is lost with it.
fn holders_of_new(path: &Path) -> Vec<PathBuf> {
    path.ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        .filter_map(holder)
        .collect()
}

/// Whether others than the owner may read or write the file.
///
/// # Errors
/// Whatever the system says, `NotFound` above all.
pub fn is_open_to_others(path: &Path) -> io::Result<bool> {
    let metadata = fs::metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        Ok(metadata.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        Ok(false)
    }
}

fn stage(path: &Path, content: &Secret) -> io::Result<std::path::PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let staged = path.with_file_name(format!(".{name}.{}", uuid::Uuid::new_v4()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&staged)?;
    let written = file
        .write_all(content.expose().as_bytes())
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(&staged);
        return Err(error);
    }
    Ok(staged)
}

/// Whether this is the name of a file that is being written, and not there yet under its own name.
pub fn is_staged(name: &std::ffi::OsStr) -> bool {
    let parts = name
        .to_str()
        .and_then(|name| name.strip_prefix('.')?.rsplit_once('.'));
    parts.is_some_and(|(of, id)| {
        !of.is_empty() && id.len() == 36 && uuid::Uuid::parse_str(id).is_ok()
    })
}

/// Makes sure of the names in the directory that holds this path.
///
/// # Errors
/// Whatever the system says.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    holder(path).map_or(Ok(()), |holder| sync_dir(&holder))
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The directory that holds this name; the root is in none.
fn holder(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    let is_here = parent.as_os_str().is_empty();
    Some(if is_here { ".".into() } else { parent.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_being_written_has_a_name_that_no_other_has() {
        let dir = tempfile::tempdir().expect("directory");
        let staged = stage(&dir.path().join("token"), &Secret::new("one")).expect("staged");
        assert!(is_staged(staged.file_name().expect("named")));
        for other in [
            "token",
            ".token",
            ".token.old",
            ".",
            "x.67e55044-10b1-426f-9247-bb680e5fe0c8",
        ] {
            assert!(!is_staged(other.as_ref()), "{other}");
        }
    }

    #[test]
    fn every_directory_with_a_new_name_in_it_reaches_the_disk() {
        let dir = tempfile::tempdir().expect("directory");
        let top = dir.path().to_owned();
        let new = top.join("a/b/c");
        assert_eq!(
            holders_of_new(&new),
            [top.join("a/b"), top.join("a"), top.clone()]
        );
        create_dir(&new).expect("created");
        assert!(holders_of_new(&new).is_empty());
        assert_eq!(holders_of_new(&top.join("a/d")), [top.join("a")]);
        let here = Path::new("not-there-of-owner-file");
        assert_eq!(holders_of_new(here), [Path::new(".")]);
        assert_eq!(holder(Path::new("/")), None);
    }

    #[test]
    fn a_removed_file_is_gone_and_one_that_is_not_there_is_told() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("note");
        replace(&path, &Secret::new("one")).expect("written");
        remove(&path).expect("removed");
        let again = remove(&path).expect_err("gone");
        assert_eq!(again.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_taken_name_is_not_overwritten_and_replace_leaves_no_debris() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("a/token");
        create_new(&path, &Secret::new("one")).expect("created");
        let again = create_new(&path, &Secret::new("two")).expect_err("taken");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("there"), "one");
        replace(&path, &Secret::new("three")).expect("replaced");
        assert_eq!(fs::read_to_string(&path).expect("there"), "three");
        let names = fs::read_dir(dir.path().join("a")).expect("listed").count();
        assert_eq!(names, 1);
        assert!(!is_open_to_others(&path).expect("there"));
    }
}
