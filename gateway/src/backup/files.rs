//! Copies that reach the disk, owner-only, and a directory that is there whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clawline::owner_file;

use super::{BackupError, io_error};

/// A directory beside its place-to-be; dropping it removes what is in it.
#[derive(Debug)]
pub(super) struct Staged {
    path: Option<PathBuf>,
}

impl Staged {
    pub(super) fn beside(target: &Path) -> Result<Self, BackupError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let name = format!(".{name}.{}", uuid::Uuid::new_v4());
        let path = target.with_file_name(name);
        if let Some(parent) = path.parent() {
            owner_file::create_dir(parent).map_err(io_error(parent))?;
        }
        make_dir(&path)?;
        Ok(Self { path: Some(path) })
    }

    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    /// Puts it where nothing is.
    pub(super) fn put_at(self, target: &Path) -> Result<(), BackupError> {
        sync_tree(self.path())?;
        fs::rename(self.path(), target).map_err(io_error(target))?;
        self.keep();
        sync_parent(target)
    }

    /// From now on it is somebody else's.
    pub(super) fn keep(mut self) -> Option<PathBuf> {
        self.path.take()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn make_dir(path: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
        .map_err(io_error(path))
}

/// Sets the mode, whatever the umask was.
pub(super) fn close(path: &Path, mode: u32) -> Result<(), BackupError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io_error(path))
}

/// A copy that is owner-only and on the disk.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut source = File::open(from).map_err(io_error(from))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut target = options.open(to).map_err(io_error(to))?;
    std::io::copy(&mut source, &mut target).map_err(io_error(to))?;
    target.sync_all().map_err(io_error(to))?;
    close(to, 0o600)
}

/// Copies the regular files of a tree. Links, sockets and files that are just being written are left out,
/// and so is what is named, at the top alone.
pub(super) fn copy_tree(from: &Path, to: &Path, left_out: &[&str]) -> Result<(), BackupError> {
    copy_all(from, to, left_out, false)
}

/// As [`copy_tree`], of a tree that a gateway may be changing: what is gone when its turn comes is left
/// out, too.
pub(super) fn copy_living_tree(
    from: &Path,
    to: &Path,
    left_out: &[&str],
) -> Result<(), BackupError> {
    copy_all(from, to, left_out, true)
}

fn copy_all(from: &Path, to: &Path, left_out: &[&str], lives: bool) -> Result<(), BackupError> {
    if !to.exists() {
        make_dir(to)?;
    }
    for entry in fs::read_dir(from).map_err(io_error(from))? {
        let entry = entry.map_err(io_error(from))?;
        let (path, name) = (entry.path(), entry.file_name());
        if left_out.iter().any(|left| name == *left) || owner_file::is_staged(&name) {
            continue;
        }
        let target = to.join(&name);
        let copied = match entry.file_type().map_err(io_error(&path)) {
            Ok(kind) if kind.is_dir() => copy_all(&path, &target, &[], lives),
            Ok(kind) if kind.is_file() => copy_file(&path, &target),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        match copied {
            Err(BackupError::Io { path: gone, source })
                if lives && gone == path && source.kind() == ErrorKind::NotFound => {}
            copied => copied?,
        }
    }
    Ok(())
}

/// The directories reach the disk, too.
pub(super) fn sync_tree(dir: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(dir).map_err(io_error(dir))?.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => sync_tree(&path)?,
            _ => File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(io_error(&path))?,
        }
    }
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error(dir))
}

pub(super) fn sync_parent(path: &Path) -> Result<(), BackupError> {
    match path.parent() {
        Some(parent) => File::open(parent)
            .and_then(|dir| dir.sync_all())
            .map_err(io_error(parent)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_being_written_is_not_copied_and_one_that_is_gone_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("tls")).unwrap();
        for name in ["token", ".token.67e55044-10b1-426f-9247-bb680e5fe0c8"] {
            fs::write(from.join(name), "x").unwrap();
            fs::write(from.join("tls").join(name), "x").unwrap();
        }
        let to = dir.path().join("to");
        copy_living_tree(&from, &to, &[]).unwrap();
        let names = |dir: &Path| -> Vec<String> {
            let names = fs::read_dir(dir).unwrap().flatten();
            let mut names: Vec<String> = names
                .map(|entry| entry.file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&to), ["tls", "token"]);
        assert_eq!(names(&to.join("tls")), ["token"]);
    }
}
