//! The local end: a TCP port or a unix socket, and the check of who connects to it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::{TcpListener, TcpStream};

use crate::peer::peer_uid;
use crate::tunnel::spec::{LocalEnd, STREAM_LOCAL_BIND_MASK};

use super::holder::{Holder, free_port_near, holder_of};
#[cfg(unix)]
use super::socket_file::SocketFile;

/// Connections that wait in the kernel for us.
const BACKLOG: i32 = 1024;

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
    /// Other machines could connect, and nobody said that they may.
    #[error("{0} can be reached from other machines")]
    Open(SocketAddr),
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
            Self::Open(address) => format!(
                "use 127.0.0.1:{}, or add --allow-other-users if you mean it",
                address.port()
            ),
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
    Unix(SocketFile),
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

/// How a local end is bound, beyond where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindRules {
    /// Every user of this machine may use it (`--allow-other-users`), and other machines too when the
    /// address is one that they can reach.
    pub anybody: bool,
    /// `StreamLocalBindMask`: permissions that a socket does not get. Programs of other users are turned
    /// away whatever it says.
    pub socket_mask: u32,
    /// `StreamLocalBindUnlink`: a socket on which another program listens is taken away too. One of a
    /// program that is gone always is; other files never are.
    pub socket_unlink: bool,
}

impl Default for BindRules {
    fn default() -> Self {
        Self {
            anybody: false,
            socket_mask: STREAM_LOCAL_BIND_MASK,
            socket_unlink: false,
        }
    }
}

impl BindRules {
    /// The permissions of a socket.
    pub(super) fn socket_mode(self) -> u32 {
        match self.anybody && self.socket_mask == STREAM_LOCAL_BIND_MASK {
            true => 0o666,
            false => 0o777 & !self.socket_mask,
        }
    }
}

pub(super) fn bind(local: &LocalEnd, rules: BindRules) -> Result<(Listener, LocalEnd), BindError> {
    match local {
        LocalEnd::Tcp(address) => bind_tcp(*address, rules.anybody),
        #[cfg(unix)]
        LocalEnd::Unix(path) => {
            let listener = SocketFile::bind(path, rules)?;
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
    if !anybody && !address.ip().is_loopback() {
        return Err(BindError::Open(address));
    }
    if !anybody && !cfg!(target_os = "linux") {
        return Err(BindError::Unchecked(address));
    }
    match listen(address) {
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

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    // Connections of the process before us may still linger on the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into())?;
    let actual = listener.local_addr()?;
    Ok((listener, actual))
}

impl Listener {
    /// The next connection. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<Local> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok(Local::Tcp(stream))
            }
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
