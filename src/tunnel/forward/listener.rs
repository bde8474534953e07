//! The local end: a TCP port or a unix socket, and the check of who connects to it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream};

use crate::peer::peer_uid;
use crate::tunnel::spec::LocalEnd;

use super::holder::{Holder, free_port_near, holder_of};

/// Why a local end could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has it.
    #[error("{local} is taken{}", by(.holder))]
    Taken {
        /// The wanted end.
        local: String,
        /// Who has it, as far as the system tells.
        holder: Option<Holder>,
        /// A port near it that is free.
        free_port: Option<u16>,
    },
    /// Who connects cannot be checked here, so a port would be open to every user.
    #[error("{0}: this system does not tell who connects to a port")]
    Unchecked(SocketAddr),
    /// The path holds something that is not a socket.
    #[error("{} is there and is no socket", .0.display())]
    NotASocket(PathBuf),
    /// The system said no.
    #[error("cannot listen on {local}: {source}")]
    System {
        /// The wanted end.
        local: String,
        /// What the system said.
        source: io::Error,
    },
}

fn by(holder: &Option<Holder>) -> String {
    holder
        .as_ref()
        .map(|holder| format!(" by {holder}"))
        .unwrap_or_default()
}

impl BindError {
    /// The next step.
    pub fn next_step(&self) -> String {
        match self {
            Self::Taken {
                free_port: Some(port),
                ..
            } => format!("stop it, or use another port: port {port} is free"),
            Self::Taken { .. } => "stop it, or use another end".into(),
            Self::Unchecked(_) => "listen on a unix socket, or add --allow-other-users".into(),
            Self::NotASocket(_) => "choose another path".into(),
            Self::System { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "ports below 1024 belong to root; choose a higher one".into()
            }
            Self::System { .. } => String::new(),
        }
    }
}

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixEnd),
}

/// A connection of a local program.
pub(super) enum Local {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

/// Who connected, by user id, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Visitor {
    Ours,
    Other(Option<u32>),
}

pub(super) fn bind(local: &LocalEnd, anybody: bool) -> Result<(Listener, LocalEnd), BindError> {
    match local {
        LocalEnd::Tcp(address) => bind_tcp(*address, anybody),
        #[cfg(unix)]
        LocalEnd::Unix(path) => {
            let listener = UnixEnd::bind(path, anybody)?;
            Ok((Listener::Unix(listener), local.clone()))
        }
        #[cfg(not(unix))]
        LocalEnd::Unix(path) => Err(BindError::System {
            local: path.display().to_string(),
            source: io::ErrorKind::Unsupported.into(),
        }),
    }
}

fn bind_tcp(address: SocketAddr, anybody: bool) -> Result<(Listener, LocalEnd), BindError> {
    if !anybody && !cfg!(target_os = "linux") {
        return Err(BindError::Unchecked(address));
    }
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let actual = listener.local_addr()?;
        Ok((TcpListener::from_std(listener)?, actual))
    });
    match bound {
        Ok((listener, actual)) => Ok((Listener::Tcp(listener), LocalEnd::Tcp(actual))),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(BindError::Taken {
            local: address.to_string(),
            holder: holder_of(address),
            free_port: free_port_near(address),
        }),
        Err(source) => Err(BindError::System {
            local: address.to_string(),
            source,
        }),
    }
}

impl Listener {
    /// The next connection. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<Local> {
        match self {
            Self::Tcp(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Local::Tcp(stream)),
            #[cfg(unix)]
            Self::Unix(end) => end.listener.accept().await.map(|(s, _)| Local::Unix(s)),
        }
    }
}

impl Local {
    /// Whether the program at the other end is this user's. Reads the kernel's tables; blocking, short.
    pub(super) fn visitor(&self) -> Visitor {
        let uid = match self {
            Self::Tcp(stream) => match (stream.local_addr(), stream.peer_addr()) {
                (Ok(local), Ok(peer)) => peer_uid(local, peer).ok().flatten(),
                _ => None,
            },
            #[cfg(unix)]
            Self::Unix(stream) => stream.peer_cred().ok().map(|peer| peer.uid()),
        };
        match uid {
            Some(uid) if uid == our_uid() => Visitor::Ours,
            other => Visitor::Other(other),
        }
    }
}

#[cfg(unix)]
fn our_uid() -> u32 {
    nix::unistd::getuid().as_raw()
}

#[cfg(not(unix))]
fn our_uid() -> u32 {
    u32::MAX
}

/// A unix socket that is removed with its listener.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct UnixEnd {
    listener: tokio::net::UnixListener,
    path: PathBuf,
    file: (u64, u64),
}

#[cfg(unix)]
impl UnixEnd {
    fn bind(path: &Path, anybody: bool) -> Result<Self, BindError> {
        let taken = || BindError::Taken {
            local: path.display().to_string(),
            holder: None,
            free_port: None,
        };
        remove_stale(path, taken)?;
        Self::listen(path, anybody).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => taken(),
            _ => BindError::System {
                local: path.display().to_string(),
                source,
            },
        })
    }

    fn listen(path: &Path, anybody: bool) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        // Nobody can connect before `listen`, so the mode is in force for the first visitor.
        let mode = if anybody { 0o666 } else { 0o600 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        socket.listen(128)?;
        socket.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(socket.into())?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: identity(path)?,
        })
    }
}

#[cfg(unix)]
impl Drop for UnixEnd {
    fn drop(&mut self) {
        // Another process may have replaced it meanwhile.
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Removes the socket of a process that is gone.
#[cfg(unix)]
fn remove_stale(path: &Path, taken: impl Fn() -> BindError) -> Result<(), BindError> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = std::fs::remove_file(path);
                Ok(())
            }
            _ => Err(taken()),
        },
        Err(_) => Ok(()),
    }
}
