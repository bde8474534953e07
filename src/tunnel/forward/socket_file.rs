//! A unix socket of ours: owner-only, locked against a second instance, removed with its listener.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use tokio::net::UnixListener;

use super::holder::{Holder, holder_of_socket, program};
use super::listener::{BindError, BindRules};

/// Connections that wait in the kernel for us.
const BACKLOG: i32 = 1024;
/// How often a lock file that vanishes under our hands is opened again.
const TRIES: usize = 5;

/// The socket and the lock beside it.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) listener: UnixListener,
    path: PathBuf,
    file: (u64, u64),
    _lock: Lock,
}

impl SocketFile {
    pub(super) fn bind(path: &Path, rules: BindRules) -> Result<Self, BindError> {
        let system = |source| BindError::System {
            local: path.display().to_string(),
            source,
        };
        let taken = |holder| BindError::Taken {
            local: path.display().to_string(),
            holder,
            free_port: None,
        };
        let lock = match Lock::take(path).map_err(system)? {
            Ok(lock) => lock,
            Err(holder) => return Err(taken(holder)),
        };
        match is_in_the_way(path).map_err(system)? {
            InTheWay::Nothing => {}
            InTheWay::Stale => std::fs::remove_file(path).map_err(system)?,
            InTheWay::Live if rules.socket_unlink => std::fs::remove_file(path).map_err(system)?,
            InTheWay::Live => return Err(taken(holder_of_socket(path))),
            InTheWay::Other => return Err(BindError::NotASocket(path.to_owned())),
        }
        let listener = listen(path, rules.socket_mode()).map_err(system)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: identity(path).map_err(system)?,
            _lock: lock,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have replaced it meanwhile.
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    // Nobody can connect before `listen`, so the mode is in force for the first visitor.
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

enum InTheWay {
    Nothing,
    /// The socket of a process that is gone.
    Stale,
    /// Somebody listens on it.
    Live,
    /// No socket at all, and so precious.
    Other,
}

fn is_in_the_way(path: &Path) -> io::Result<InTheWay> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => Ok(InTheWay::Other),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(InTheWay::Stale),
            _ => Ok(InTheWay::Live),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(InTheWay::Nothing),
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// A lock file beside the socket: without it, two instances that start at once could each remove the
/// stale socket, and the second one the fresh socket of the first.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: Flock<File>,
}

impl Lock {
    /// The lock, or who holds it.
    fn take(socket: &Path) -> io::Result<Result<Self, Option<Holder>>> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..TRIES {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
                .open(&path)?;
            let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                    return Ok(Err(written_by(&mut file)));
                }
                Err((_, error)) => return Err(error.into()),
            };
            // The one before us removes it when it ends; then this is a file that nobody else sees.
            let ours = file.metadata().map(|meta| (meta.dev(), meta.ino()))?;
            if identity(&path).ok() != Some(ours) {
                continue;
            }
            file.set_len(0)?;
            file.rewind()?;
            writeln!(*file, "{}", std::process::id())?;
            return Ok(Ok(Self { path, _file: file }));
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The process that wrote its number into the lock file.
fn written_by(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    let pid = text.trim().parse().ok()?;
    let uid = file.metadata().ok()?.uid();
    Some(Holder {
        uid,
        process: Some((pid, program(pid))),
    })
}
