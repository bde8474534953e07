//! Who is on the other end of a loopback socket: the user id of the peer, asked of the kernel.
//!
//! Loopback is not a trust level: any local user can connect. On Linux the kernel's socket tables name
//! the owner of the other end; for a connection that sshd forwards it is the user who signed in.

#[cfg(target_os = "linux")]
mod sock_diag;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The user id that owns the far end of a connection between `local` (ours) and `peer` (theirs).
///
/// `None` when the kernel does not tell: another platform, a peer on another machine or in another
/// network namespace, or a peer that has closed its end already. Never read `None` as "allowed".
///
/// # Errors
/// When the socket tables exist but cannot be read.
pub fn peer_uid(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<u32>> {
    #[cfg(target_os = "linux")]
    if let Ok(Some(found)) = sock_diag::find(canonical(peer), canonical(local))
        && canonical(found.own) == canonical(peer)
        && canonical(found.other) == canonical(local)
    {
        // A socket that no process holds any more shows uid 0, whoever it was.
        return Ok((found.inode != 0).then_some(found.uid));
    }
    if cfg!(target_os = "linux") {
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text = match std::fs::read_to_string(table) {
                Ok(text) => text,
                // A kernel without IPv6 has no second table.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let Some(entry) = owner_of(&text, peer, local) {
                return Ok(Some(entry.uid));
            }
        }
    }
    Ok(None)
}

/// The TCP sockets of this machine that wait for connections; none when the kernel does not tell.
pub fn listeners() -> Vec<SocketEntry> {
    #[cfg(target_os = "linux")]
    if let Ok(found) = sock_diag::listening() {
        let entry = |found: sock_diag::Found| SocketEntry {
            local: found.own,
            remote: found.other,
            is_listening: true,
            uid: found.uid,
            inode: found.inode.into(),
        };
        return found.into_iter().map(entry).collect();
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let texts = tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok());
    let entries = texts.flat_map(|text| parse_table(&text).collect::<Vec<_>>());
    entries.filter(|entry| entry.is_listening).collect()
}

/// One socket of a `/proc/net/tcp` or `tcp6` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketEntry {
    /// The socket's own address.
    pub local: SocketAddr,
    /// The address it is connected to; port 0 for a listener.
    pub remote: SocketAddr,
    /// True for a socket that waits for connections.
    pub is_listening: bool,
    /// Its owner.
    pub uid: u32,
    /// Its number, as `/proc/PID/fd` shows it; 0 once no process holds it.
    pub inode: u64,
}

/// The live sockets of a table in the format of `/proc/net/tcp`; lines that are not understood are left out.
pub fn parse_table(text: &str) -> impl Iterator<Item = SocketEntry> + '_ {
    text.lines().skip(1).filter_map(parse_line)
}

/// The entry whose own address is `own` and whose other end is `other`.
fn owner_of(table: &str, own: SocketAddr, other: SocketAddr) -> Option<SocketEntry> {
    let (own, other) = (canonical(own), canonical(other));
    // A socket that no process holds any more (inode 0, e.g. TIME_WAIT) shows uid 0, whoever it was.
    parse_table(table).find(|entry| {
        canonical(entry.local) == own && canonical(entry.remote) == other && entry.inode != 0
    })
}

/// IPv4 addresses in IPv6 clothes are the same socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn parse_line(line: &str) -> Option<SocketEntry> {
    // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = parse_address(fields.next()?)?;
    let remote = parse_address(fields.next()?)?;
    let is_listening = fields.next()? == "0A";
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(SocketEntry {
        local,
        remote,
        is_listening,
        uid,
        inode,
    })
}

/// `0100007F:4965`: the address as 32-bit words in the machine's byte order, the port as a number;
/// `None` for anything else.
pub fn parse_address(field: &str) -> Option<SocketAddr> {
    let (address, port) = field.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if !address.is_ascii() || !address.len().is_multiple_of(8) {
        return None;
    }
    let mut bytes = Vec::with_capacity(16);
    for start in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(start..start + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:4965 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 51342 1 0000000000000000 100 0 0 10 0
   1: 0100007F:D431 0100007F:4965 01 00000000:00000000 00:00000000 00000000  1001        0 51400 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:D432 0100007F:4965 06 00000000:00000000 03:00000FFF 00000000     0        0 0 3 0000000000000000
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_owner_of_the_other_end_is_found() {
        let gateway: SocketAddr = "127.0.0.1:18789".parse().unwrap();
        let client: SocketAddr = "127.0.0.1:54321".parse().unwrap();
        assert_eq!(
            owner_of(TABLE, client, gateway).map(|e| (e.uid, e.inode)),
            Some((1001, 51400))
        );
        assert_eq!(owner_of(TABLE, gateway, client), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_socket_that_nobody_holds_is_not_taken_for_root_s() {
        let gateway: SocketAddr = "127.0.0.1:18789".parse().unwrap();
        let gone: SocketAddr = "127.0.0.1:54322".parse().unwrap();
        assert_eq!(owner_of(TABLE, gone, gateway), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_connection_of_our_own_is_ours_in_both_families() {
        let us = nix::unistd::getuid().as_raw();
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(bind) else {
                continue;
            };
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (socket, peer) = listener.accept().unwrap();
            let local = socket.local_addr().unwrap();
            assert_eq!(peer_uid(local, peer).unwrap(), Some(us), "{bind}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_connection_that_does_not_exist_has_no_owner() {
        let local: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let peer: SocketAddr = "127.0.0.1:2".parse().unwrap();
        assert_eq!(peer_uid(local, peer).unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_text_gives_entries_or_nothing(text in "\\PC{0,200}\n\\PC{0,200}") {
            parse_table(&text).count();
        }
    }
}
