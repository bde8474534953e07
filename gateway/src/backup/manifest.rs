//! What a backup holds, so that a restore can tell whether it is all there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use clawline::bounded_file;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{BackupError, DATABASE, io_error};

/// Its name in the backup.
pub(super) const FILE: &str = "manifest.json";
/// The shape that this release writes, and the newest that it reads.
const VERSION: u32 = 1;
/// Longest one that is read.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    version: u32,
    /// The release that made it.
    program: String,
    /// The newest migration of its database.
    schema: i64,
    /// ms since the epoch.
    created_at: i64,
    /// SHA-256 of every file, by its path in the backup.
    files: BTreeMap<String, String>,
}

/// Why something is no backup of ours.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is none, or it cannot be read.
    #[error("{} is no backup of clawline-gateway: {why}", path.display())]
    NoBackup {
        /// The directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file is not as it was.
    #[error("{} is not as it was made: {file} {why}", path.display())]
    Incomplete {
        /// The directory.
        path: PathBuf,
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Manifest {
    /// Lists everything below a directory.
    pub(super) fn of(dir: &Path, schema: i64, at: i64) -> Result<Self, BackupError> {
        let mut files = BTreeMap::new();
        walk(dir, dir, &mut files)?;
        Ok(Self {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            schema,
            created_at: at,
            files,
        })
    }

    pub(super) fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    pub(super) fn read(dir: &Path) -> Result<Self, ManifestError> {
        let no = |why: String| ManifestError::NoBackup {
            path: dir.to_owned(),
            why,
        };
        let text = bounded_file::read_text(&dir.join(FILE), MAX_BYTES)
            .map_err(|error| no(format!("{FILE}: {error}")))?;
        let read: Self =
            serde_json::from_str(&text).map_err(|error| no(format!("{FILE}: {error}")))?;
        if read.version > VERSION {
            return Err(no(format!(
                "{FILE} is of a newer release ({})",
                read.version
            )));
        }
        let is_inside = |name: &String| {
            Path::new(name)
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
        };
        if !read.files.keys().all(is_inside) {
            return Err(no(format!("{FILE} names files elsewhere")));
        }
        if !read.files.contains_key(DATABASE) {
            return Err(no(format!("{FILE} names no {DATABASE}")));
        }
        Ok(read)
    }

    /// Compares every file with what it was; nothing else is there, and no link, pipe or device.
    pub(super) fn verify(&self, dir: &Path) -> Result<(), ManifestError> {
        self.holds_only_files(dir, dir)?;
        for (name, wanted) in &self.files {
            let incomplete = |why: String| incomplete(dir, name, why);
            let found = digest(&dir.join(name)).map_err(|error| incomplete(error.to_string()))?;
            if found != *wanted {
                return Err(incomplete(
                    "has changed since the backup was made".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// Everything in it is a directory, or a file that the list names. A link would bring in what is
    /// elsewhere, and a pipe would be waited for.
    fn holds_only_files(&self, root: &Path, dir: &Path) -> Result<(), ManifestError> {
        let entries = std::fs::read_dir(dir).map_err(|error| ManifestError::NoBackup {
            path: root.to_owned(),
            why: error.to_string(),
        })?;
        for entry in entries {
            let kind = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)));
            let (path, kind) = kind.map_err(|error| ManifestError::NoBackup {
                path: root.to_owned(),
                why: error.to_string(),
            })?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
            if kind.is_dir() {
                self.holds_only_files(root, &path)?;
            } else if !kind.is_file() {
                let why = "is no regular file".to_owned();
                return Err(incomplete(root, &name, why));
            } else if name != FILE && !self.files.contains_key(&*name) {
                let why = "was not in it when it was made; take it away".to_owned();
                return Err(incomplete(root, &name, why));
            }
        }
        Ok(())
    }
}

fn incomplete(dir: &Path, file: &str, why: String) -> ManifestError {
    ManifestError::Incomplete {
        path: dir.to_owned(),
        file: file.to_owned(),
        why,
    }
}

fn walk(root: &Path, dir: &Path, files: &mut BTreeMap<String, String>) -> Result<(), BackupError> {
    for entry in std::fs::read_dir(dir).map_err(io_error(dir))? {
        let path = entry.map_err(io_error(dir))?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path);
            let sum = digest(&path).map_err(io_error(&path))?;
            files.insert(name.to_string_lossy().into_owned(), sum);
        }
    }
    Ok(())
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            read => sum.update(&piece[..read]),
        }
    }
    Ok(sum
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
