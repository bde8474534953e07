//! One question to the kernel about one socket, instead of reading its whole table: with ten thousand
//! connections the table takes milliseconds a time.
//!
//! The messages are those of `linux/inet_diag.h`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of header and `struct inet_diag_req_v2`.
const REQUEST: usize = HEADER + 56;
/// Length of header and `struct inet_diag_msg`.
const ANSWER: usize = HEADER + 72;
/// The kernel answers in the same call; this is for a kernel that does not.
const PATIENCE: Duration = Duration::from_millis(200);

/// A socket as the kernel tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) own: SocketAddr,
    pub(super) other: SocketAddr,
    pub(super) uid: u32,
    pub(super) inode: u32,
}

/// Asks for the TCP socket with this address of its own and this other end; `None` when there is none.
///
/// # Errors
/// When the kernel has no such interface or refuses it.
pub(super) fn find(own: SocketAddr, other: SocketAddr) -> io::Result<Option<Found>> {
    let mut socket = Socket::new(
        Domain::from(AF_NETLINK),
        Type::DGRAM,
        Some(Protocol::from(NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(&request(own, other))?;
    let mut answer = [0; 512];
    let length = socket.read(&mut answer)?;
    Ok(parse(&answer[..length]))
}

fn request(own: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let family = if own.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut message = Vec::with_capacity(REQUEST);
    message.extend(u32::try_from(REQUEST).unwrap_or_default().to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, IPPROTO_TCP, 0, 0]);
    // Any state.
    message.extend(u32::MAX.to_ne_bytes());
    message.extend(own.port().to_be_bytes());
    message.extend(other.port().to_be_bytes());
    message.extend(octets(own.ip()));
    message.extend(octets(other.ip()));
    // Any interface, no cookie.
    message.extend([0; 4]);
    message.extend([u8::MAX; 8]);
    message
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn parse(answer: &[u8]) -> Option<Found> {
    let answer = answer.get(..ANSWER)?;
    if u16::from_ne_bytes([answer[4], answer[5]]) != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let message = &answer[HEADER..];
    let number = |at: usize| {
        let bytes = message.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let port = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let ip = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = message.get(at..at + 16)?.try_into().ok()?;
        match message[0] {
            AF_INET => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
            AF_INET6 => Some(Ipv6Addr::from(bytes).into()),
            _ => None,
        }
    };
    Some(Found {
        own: SocketAddr::new(ip(8)?, port(4)),
        other: SocketAddr::new(ip(24)?, port(6)),
        uid: number(64)?,
        inode: number(68)?,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernel_tells_of_one_socket_what_its_table_tells() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, peer) = listener.accept().unwrap();
        let local = socket.local_addr().unwrap();
        // A kernel without the interface is no failure: the table is read then.
        let Ok(found) = find(peer, local) else { return };
        let found = found.unwrap();
        assert_eq!((found.own, found.other), (peer, local));
        assert_eq!(found.uid, nix::unistd::getuid().as_raw());
        assert_ne!(found.inode, 0);
    }

    #[test]
    fn a_socket_that_does_not_exist_is_not_found() {
        let own: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let other: SocketAddr = "127.0.0.1:2".parse().unwrap();
        let Ok(found) = find(own, other) else { return };
        assert_eq!(found, None);
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
