//! What a service of `Type=notify` tells systemd.
//!
//! Our own few lines instead of a crate: `sd-notify` 0.5 cannot reach abstract sockets, which containers
//! use.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::config::Environment;

/// The variable that names the socket.
pub const SOCKET: &str = "NOTIFY_SOCKET";

/// The socket of this name, which may be abstract; it never blocks.
///
/// # Errors
/// Whatever the system says.
pub fn connect(name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        }
        _ => socket.connect_addr(&SocketAddr::from_pathname(name)?)?,
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Tells systemd, where it listens; a failure is only logged.
pub fn tell(env: &Environment, message: &str) {
    let Some(name) = env.var(SOCKET) else { return };
    let told = connect(name).and_then(|socket| socket.send(message.as_bytes()));
    if let Err(error) = told {
        tracing::warn!(%error, name, "systemd cannot be told anything");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_told_arrives_and_without_a_socket_nothing_happens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let env = Environment::below(Path::new("/home/me"));
        tell(&env, "READY=1");
        tell(&env.with(SOCKET, path.to_str().unwrap()), "READY=1");
        let mut heard = [0; 64];
        let length = socket.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1");
    }
}
