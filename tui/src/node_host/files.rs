//! Reading files below the directories that the person at this node allowed, and nowhere else.
//!
//! The kernel keeps to them (`openat2` with `RESOLVE_BENEATH`), so neither `..` nor a link nor a rename
//! in the right moment leads out. A file with a second name is not read: it may be anybody's.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::plan::read_up_to;
use super::{Refused, command_text};

/// Largest file when nothing was said, and at all, in bytes.
const DEFAULT_BYTES: u64 = 8 * 1024 * 1024;
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Longest path.
const MAX_PATH: usize = 4096;
/// Entries of one answer when nothing was said, and at all.
const DEFAULT_ENTRIES: u64 = 200;
const MAX_ENTRIES: u64 = 5000;
/// A directory with more entries than this is not listed.
const MAX_DIRECTORY: usize = 100_000;

/// The commands that read files.
pub(super) const COMMANDS: [&str; 4] = ["dir.list", "file.fetch", "file.stat", "fs.listDir"];

/// The directories below which files may be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roots(Vec<Root>);

#[derive(Debug, Clone)]
struct Root {
    /// As it was typed, made absolute, and without links.
    names: [PathBuf; 2],
    dir: Arc<File>,
}

impl Roots {
    /// Opens the directories.
    ///
    /// # Errors
    /// Which one cannot be opened, and why.
    pub fn open(dirs: &[PathBuf]) -> Result<Self, String> {
        let open = |dir: &PathBuf| -> io::Result<Root> {
            let typed = std::path::absolute(dir)?;
            let real = typed.canonicalize()?;
            let file = File::open(&real)?;
            if !file.metadata()?.is_dir() {
                return Err(io::Error::other("it is no directory"));
            }
            Ok(Root {
                names: [typed, real],
                dir: Arc::new(file),
            })
        };
        let roots = dirs
            .iter()
            .map(|dir| open(dir).map_err(|error| format!("{}: {error}", dir.display())));
        roots.collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing may be read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Carries out one of [`COMMANDS`]. Reads files: not for an async task.
    pub(super) fn answer(&self, command: &str, params: &Value) -> Result<Value, Refused> {
        match command {
            "file.fetch" => self.fetch(params),
            "file.stat" => self.stat(params),
            "dir.list" => self.list(params),
            _ => self.list_dirs(params),
        }
    }

    fn fetch(&self, params: &Value) -> Result<Value, Refused> {
        let limit = params["maxBytes"]
            .as_u64()
            .unwrap_or(DEFAULT_BYTES)
            .min(MAX_BYTES);
        let found = self.find(text(params, "path")?)?;
        let metadata = found.metadata.clone();
        if !metadata.is_file() {
            return Err(Refused::invalid("path is no regular file"));
        }
        if metadata.nlink() > 1 {
            return Err(Refused::invalid(
                "path has a second name somewhere (a hard link) and is not read",
            ));
        }
        if metadata.len() > limit {
            let size = metadata.len();
            return Err(Refused::invalid(format!(
                "FILE_TOO_LARGE: {size} bytes are more than {limit}"
            )));
        }
        let mut file = found.reopen()?;
        let content = read_up_to(&mut file, limit + 1).map_err(unreadable)?;
        if content.len() as u64 > limit {
            return Err(Refused::invalid(format!(
                "FILE_TOO_LARGE: more than {limit} bytes"
            )));
        }
        Ok(json!({
            "ok": true,
            "path": found.path.to_string_lossy(),
            "size": content.len(),
            "mimeType": mime_type(&found.path),
            "base64": base64::engine::general_purpose::STANDARD.encode(&content),
            "sha256": command_text::hex(&Sha256::digest(&content)),
        }))
    }

    fn stat(&self, params: &Value) -> Result<Value, Refused> {
        let found = self.find(text(params, "path")?)?;
        let metadata = &found.metadata;
        let kind = match (metadata.is_dir(), metadata.is_file()) {
            (true, _) => "directory",
            (_, true) => "file",
            _ => return Err(Refused::invalid("path is neither a file nor a directory")),
        };
        Ok(json!({
            "ok": true,
            "path": found.path.to_string_lossy(),
            "type": kind,
            "size": metadata.len(),
            "mtimeMs": milliseconds(metadata),
        }))
    }

    fn list(&self, params: &Value) -> Result<Value, Refused> {
        let found = self.find(text(params, "path")?)?;
        let most = params["maxEntries"]
            .as_u64()
            .unwrap_or(DEFAULT_ENTRIES)
            .clamp(1, MAX_ENTRIES);
        let token = params["pageToken"].as_str().unwrap_or("0");
        let Ok(from) = token.parse::<usize>() else {
            return Err(Refused::invalid("pageToken is not one of ours"));
        };
        let all = found.entries()?;
        let to = from.saturating_add(usize::try_from(most).unwrap_or(usize::MAX));
        let page = all
            .iter()
            .skip(from)
            .take(to - from)
            .map(|(name, metadata)| {
                let path = found.path.join(name);
                let is_dir = metadata.is_dir();
                json!({
                    "name": name,
                    "path": path.to_string_lossy(),
                    "size": if is_dir { 0 } else { metadata.len() },
                    "mimeType": if is_dir { "inode/directory" } else { mime_type(&path) },
                    "isDir": is_dir,
                    "mtime": milliseconds(metadata),
                })
            });
        let entries: Vec<Value> = page.collect();
        let more = to < all.len();
        let mut reply = json!({
            "ok": true,
            "path": found.path.to_string_lossy(),
            "entries": entries,
            "truncated": more,
        });
        if more {
            reply["nextPageToken"] = to.to_string().into();
        }
        Ok(reply)
    }

    fn list_dirs(&self, params: &Value) -> Result<Value, Refused> {
        let first = self.0.first().map(|root| root.names[1].clone());
        let home = first.ok_or_else(no_root)?;
        let path = match params.get("path") {
            None | Some(Value::Null) => home.to_string_lossy().into_owned(),
            Some(_) => text(params, "path")?.to_owned(),
        };
        let found = self.find(&path)?;
        let entries: Vec<Value> = found
            .entries()?
            .iter()
            .filter(|(_, metadata)| metadata.is_dir())
            .map(|(name, _)| {
                let path = found.path.join(name);
                let mut entry = json!({"name": name, "path": path.to_string_lossy()});
                if name.starts_with('.') {
                    entry["hidden"] = true.into();
                }
                entry
            })
            .collect();
        let mut reply = json!({
            "path": found.path.to_string_lossy(),
            "home": home.to_string_lossy(),
            "entries": entries,
        });
        // The way up ends where the allowed part ends.
        let parent = found.path.parent().filter(|parent| self.is_below(parent));
        if let Some(parent) = parent {
            reply["parent"] = parent.to_string_lossy().into();
        }
        Ok(reply)
    }

    fn is_below(&self, path: &Path) -> bool {
        self.0.iter().any(|root| path.starts_with(&root.names[1]))
    }

    fn find(&self, path: &str) -> Result<Found, Refused> {
        if self.0.is_empty() {
            return Err(no_root());
        }
        if path.len() > MAX_PATH || path.contains('\0') {
            return Err(Refused::invalid("path is too long or holds a NUL"));
        }
        let path = Path::new(path);
        if !path.is_absolute() {
            return Err(Refused::invalid("path is not absolute"));
        }
        let outside =
            || Refused::invalid("PATH_NOT_ALLOWED: path is not below an allowed directory");
        let inside = self.0.iter().flat_map(|root| {
            let inside = root
                .names
                .iter()
                .filter_map(|name| path.strip_prefix(name).ok());
            inside.map(move |inside| (root, inside))
        });
        let (root, inside) = inside
            .min_by_key(|(_, inside)| inside.as_os_str().len())
            .ok_or_else(outside)?;
        let inside = match inside.as_os_str().is_empty() {
            true => Path::new("."),
            false => inside,
        };
        let handle =
            beneath::open(&root.dir, inside).map_err(|error| match error.raw_os_error() {
                Some(code) if code == nix::errno::Errno::EXDEV as i32 => outside(),
                _ => unreadable(error),
            })?;
        let handle = File::from(handle);
        let metadata = handle.metadata().map_err(unreadable)?;
        let path = fs::read_link(own_name(&handle)).map_err(unreadable)?;
        Ok(Found {
            handle,
            metadata,
            path,
        })
    }
}

/// A file or directory that was found, not opened for reading yet.
struct Found {
    handle: File,
    metadata: Metadata,
    path: PathBuf,
}

impl Found {
    /// Opens exactly it for reading.
    fn reopen(&self) -> Result<File, Refused> {
        File::open(own_name(&self.handle)).map_err(unreadable)
    }

    /// What is in the directory, by name. Links are not followed.
    fn entries(&self) -> Result<Vec<(String, Metadata)>, Refused> {
        if !self.metadata.is_dir() {
            return Err(Refused::invalid("path is no directory"));
        }
        let opened = self.reopen()?;
        let mut entries = Vec::new();
        for entry in fs::read_dir(own_name(&opened)).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            // What is deleted meanwhile was never there.
            if let Ok(metadata) = entry.metadata() {
                entries.push((entry.file_name().to_string_lossy().into_owned(), metadata));
            }
            if entries.len() > MAX_DIRECTORY {
                return Err(Refused::invalid(format!(
                    "path has more than {MAX_DIRECTORY} entries"
                )));
            }
        }
        entries.sort_by(|(one, _), (two, _)| one.cmp(two));
        Ok(entries)
    }
}

/// The name that the kernel gives to a descriptor of ours.
fn own_name(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(target_os = "linux")]
mod beneath {
    use nix::errno::Errno;
    use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

    use super::{File, OwnedFd, Path, io};

    /// The kernel gives up when something above is renamed meanwhile; then it is asked again.
    const TRIES: usize = 16;

    /// Finds `path` without leaving `dir`.
    pub(super) fn open(dir: &File, path: &Path) -> io::Result<OwnedFd> {
        // Without opening: a device or a pipe may act on being opened.
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut last = Errno::EAGAIN;
        for _ in 0..TRIES {
            match openat2(dir, path, how) {
                Ok(found) => return Ok(found),
                Err(Errno::EAGAIN) => {}
                Err(errno) => {
                    last = errno;
                    break;
                }
            }
        }
        Err(last.into())
    }
}

#[cfg(not(target_os = "linux"))]
mod beneath {
    use super::{File, OwnedFd, Path, io};

    /// Refuses: nothing here keeps a path below a directory.
    pub(super) fn open(_dir: &File, _path: &Path) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn text<'a>(params: &'a Value, name: &str) -> Result<&'a str, Refused> {
    params[name]
        .as_str()
        .ok_or_else(|| Refused::invalid(format!("{name} is not a text")))
}

fn no_root() -> Refused {
    Refused::invalid(
        "PATH_NOT_ALLOWED: no directory is allowed; start the node with --allow-root DIR",
    )
}

fn unreadable(error: io::Error) -> Refused {
    match error.kind() {
        io::ErrorKind::NotFound => Refused::invalid("NOT_FOUND: path is not there"),
        io::ErrorKind::PermissionDenied => Refused::invalid("PERMISSION_DENIED: path"),
        _ => Refused::invalid(format!("READ_ERROR: {}", error.kind())),
    }
}

fn milliseconds(metadata: &Metadata) -> i64 {
    metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000
}

fn mime_type(path: &Path) -> &'static str {
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    match extension.as_str() {
        "txt" | "log" | "md" | "rs" | "toml" | "conf" | "sh" | "py" | "ts" | "c" | "h" => {
            "text/plain"
        }
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "yaml" | "yml" => "application/yaml",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
