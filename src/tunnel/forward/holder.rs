//! Who holds a port that we wanted: pid and program, as far as /proc tells.

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener};

use crate::layer::printable;
use crate::peer::listeners;

/// How many ports after the wanted one are tried for a suggestion.
const SUGGESTIONS: u16 = 20;

/// The holder of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its owner.
    pub uid: u32,
    /// Its process; `None` when it is another user's.
    pub process: Option<(u32, String)>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, program)) => write!(f, "{program} (pid {pid})"),
            None => write!(f, "a program of user id {}", self.uid),
        }
    }
}

/// Who listens on `address` or on all addresses with its port. Linux only.
pub fn holder_of(address: SocketAddr) -> Option<Holder> {
    let same =
        |ip: IpAddr| ip.is_unspecified() || address.ip().is_unspecified() || ip == address.ip();
    let entry = listeners().into_iter().find(|entry| {
        entry.local.port() == address.port() && same(entry.local.ip().to_canonical())
    })?;
    Some(Holder {
        uid: entry.uid,
        process: process_with(entry.inode),
    })
}

/// The process that holds the socket with this number.
fn process_with(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?;
    for process in processes.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = descriptors.flatten().any(|descriptor| {
            std::fs::read_link(descriptor.path())
                .is_ok_and(|link| link.as_os_str() == wanted.as_str())
        });
        if holds {
            return Some((pid, program(pid)));
        }
    }
    None
}

/// What a process calls itself.
pub(super) fn program(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    printable(name.trim(), 64)
}

/// Who listens on a unix socket. Linux only.
#[cfg(unix)]
pub(super) fn holder_of_socket(path: &std::path::Path) -> Option<Holder> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::symlink_metadata(path).ok()?.uid();
    let table = std::fs::read_to_string("/proc/net/unix").ok()?;
    let inode = table.lines().find_map(|line| {
        // Num RefCount Protocol Flags Type St Inode Path
        let mut words = line.splitn(8, ' ').skip(6);
        let (inode, bound) = (words.next()?, words.next()?);
        (std::path::Path::new(bound) == path).then(|| inode.parse().ok())?
    });
    Some(Holder {
        uid,
        process: inode.and_then(process_with),
    })
}

/// A port near the wanted one that is free now.
pub(super) fn free_port_near(address: SocketAddr) -> Option<u16> {
    (1..=SUGGESTIONS)
        .filter_map(|step| address.port().checked_add(step))
        .find(|port| TcpListener::bind((address.ip(), *port)).is_ok())
}
