//! Questions to the kernel about one socket or about those that listen, instead of reading its whole table:
//! the table takes tens of milliseconds where the kernel made room for many connections, however few there
//! are.
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
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_DONE: u16 = 3;
/// `TCP_LISTEN` as a bit of a set of states.
const LISTENING: u32 = 1 << 10;
/// One read of an answer in many parts; the kernel makes none longer.
const PART: usize = 32 * 1024;
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
    let mut socket = open()?;
    socket.write_all(&request(own, other))?;
    let mut answer = [0; 512];
    let length = socket.read(&mut answer)?;
    Ok(parse(&answer[..length]))
}

/// Every TCP socket that waits for connections.
///
/// # Errors
/// When the kernel has no such interface or refuses it.
pub(super) fn listening() -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let anywhere = [0; 40];
    for family in [AF_INET, AF_INET6] {
        let mut socket = open()?;
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        socket.write_all(&message(flags, family, LISTENING, &anywhere))?;
        while !read_part(&mut socket, &mut found)? {}
    }
    Ok(found)
}

/// Adds what one read brings; true at the end of the answer.
fn read_part(socket: &mut Socket, found: &mut Vec<Found>) -> io::Result<bool> {
    let mut part = vec![0; PART];
    let length = socket.read(&mut part)?;
    let mut rest = &part[..length];
    loop {
        let (kind, one) = match split(&mut rest) {
            Some(message) => message,
            None if length == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            None => return Ok(false),
        };
        match kind {
            NLMSG_DONE => return Ok(true),
            SOCK_DIAG_BY_FAMILY => found.extend(parse(one)),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Takes one message, with its kind, off the front.
fn split<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let head: [u8; 6] = rest.get(..6)?.try_into().ok()?;
    let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]);
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length >= HEADER)?;
    let one = rest.get(..length)?;
    // Each begins at a multiple of four.
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16::from_ne_bytes([head[4], head[5]]), one))
}

fn open() -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::from(AF_NETLINK),
        Type::DGRAM,
        Some(Protocol::from(NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn request(own: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let family = if own.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut id = Vec::with_capacity(48);
    id.extend(own.port().to_be_bytes());
    id.extend(other.port().to_be_bytes());
    id.extend(octets(own.ip()));
    id.extend(octets(other.ip()));
    // Any interface.
    id.extend([0; 4]);
    message(NLM_F_REQUEST, family, u32::MAX, &id)
}

/// A question about sockets in these states; `id` is `struct inet_diag_sockid` without its cookie.
fn message(flags: u16, family: u8, states: u32, id: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(REQUEST);
    message.extend(u32::try_from(REQUEST).unwrap_or_default().to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, IPPROTO_TCP, 0, 0]);
    message.extend(states.to_ne_bytes());
    message.extend(id);
    // No cookie.
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

    #[test]
    fn a_listener_is_among_those_that_listen_and_a_connection_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listens = listener.local_addr().unwrap();
        let client = TcpStream::connect(listens).unwrap();
        let Ok(found) = listening() else { return };
        let ours = found.iter().find(|entry| entry.own == listens).unwrap();
        assert_eq!(ours.uid, nix::unistd::getuid().as_raw());
        assert_eq!(ours.other.port(), 0);
        let connected = client.local_addr().unwrap();
        assert!(!found.iter().any(|entry| entry.own == connected));
    }

    proptest! {
        #[test]
        fn any_part_is_split_to_its_end(bytes in proptest::collection::vec(0..40_u8, 0..200)) {
            let mut rest = bytes.as_slice();
            while split(&mut rest).is_some() {}
        }

        #[test]
        fn any_answer_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
