//! The TCP socket under a connection: its options, and what the kernel knows about the way to the peer.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;

/// When the kernel probes an idle connection; below the session's own pings it is only a second line.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// How long sent bytes may stay unacknowledged.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest pause between two attempts of the kernel to get a packet through. Its own limit is two
/// minutes; a path that heals would stay unused that long.
#[cfg(target_os = "linux")]
const RETRANSMIT: Duration = Duration::from_secs(1);
/// On a slow path, so many round trips instead: what is only late should not be sent again.
#[cfg(target_os = "linux")]
const RETRANSMIT_ROUND_TRIPS: u32 = 4;

/// What the kernel knows about a way that is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathFacts {
    /// Segments that are on the way.
    pub(crate) unacked: u32,
    /// How long ago the peer's machine acknowledged anything.
    pub(crate) last_ack: Duration,
    /// The kernel's own measure of the round trip.
    pub(crate) round_trip: Duration,
    /// Segments sent more than once, in all.
    pub(crate) retransmitted: u32,
}

/// A second hold of the socket that carries a connection. While it lives the socket is not closed, so
/// its holder lets go when the connection ends.
#[derive(Debug)]
pub(crate) struct Path {
    #[cfg(target_os = "linux")]
    socket: std::os::fd::OwnedFd,
    local: IpAddr,
}

impl Path {
    pub(crate) fn of(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self {
            local: stream.local_addr()?.ip(),
            #[cfg(target_os = "linux")]
            socket: std::os::fd::AsFd::as_fd(stream).try_clone_to_owned()?,
        })
    }

    /// `None` where the system does not tell.
    pub(crate) fn facts(&self) -> Option<PathFacts> {
        #[cfg(target_os = "linux")]
        return linux::facts(&self.socket);
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// The address of this machine that the connection is bound to, when the machine has it no longer.
    pub(crate) fn lost_address(&self) -> Option<IpAddr> {
        let link_local = matches!(self.local, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if link_local {
            // Cannot be bound without the number of its interface.
            return None;
        }
        let bound = std::net::UdpSocket::bind((self.local, 0));
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
        bound.is_err_and(|error| gone(&error)).then_some(self.local)
    }
}

/// Before the dialling.
pub(super) fn prepare(socket: &tokio::net::TcpSocket) {
    #[cfg(target_os = "linux")]
    linux::limit_retransmit_pause(socket, RETRANSMIT);
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// Once it is connected.
pub(super) fn set_options(stream: &TcpStream, keepalive: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    if keepalive {
        let probes = socket2::TcpKeepalive::new()
            .with_time(TCP_KEEPALIVE)
            .with_interval(TCP_KEEPALIVE);
        socket.set_tcp_keepalive(&probes)?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
    #[cfg(target_os = "linux")]
    {
        // Six quick attempts before the pauses grow, for the few packets of somebody who types.
        let _ = socket.set_tcp_thin_linear_timeouts(true);
        let round_trip = linux::facts(stream).map_or(RETRANSMIT, |facts| facts.round_trip);
        let pause = RETRANSMIT.max(round_trip * RETRANSMIT_ROUND_TRIPS);
        linux::limit_retransmit_pause(stream, pause);
    }
    Ok(())
}

/// What nix does not know by name. Its macros write the calls, so that there is no `unsafe` of ours;
/// both values are plain integers, of which every bit pattern is one.
#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use nix::sys::socket::{getsockopt, setsockopt};

    use super::PathFacts;

    /// Since Linux 6.15, in milliseconds.
    const TCP_RTO_MAX_MS: libc::c_int = 44;
    /// `struct tcp_info` up to `tcpi_total_retrans`, the part that every kernel has.
    type TcpInfo = [u32; 26];

    #[derive(Debug, Clone, Copy)]
    struct LongestPause;
    nix::setsockopt_impl!(
        LongestPause,
        libc::IPPROTO_TCP,
        TCP_RTO_MAX_MS,
        u32,
        nix::sys::socket::sockopt::SetStruct<'_, u32>
    );

    #[derive(Debug, Clone, Copy)]
    struct Info;
    nix::getsockopt_impl!(
        Info,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        TcpInfo,
        nix::sys::socket::sockopt::GetStruct<TcpInfo>
    );

    /// Older kernels keep their own limit.
    pub(super) fn limit_retransmit_pause(socket: &impl AsFd, longest: Duration) {
        let ms = u32::try_from(longest.as_millis()).unwrap_or(u32::MAX);
        let _ = setsockopt(socket, LongestPause, &ms);
    }

    pub(super) fn facts(socket: &impl AsFd) -> Option<PathFacts> {
        let info = getsockopt(socket, Info).ok()?;
        // The eight bytes of state before the first counter are two of the words.
        Some(PathFacts {
            unacked: info[6],
            last_ack: Duration::from_millis(info[14].into()),
            round_trip: Duration::from_micros(info[17].into()),
            retransmitted: info[25],
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_acknowledgement_is_seen_and_nothing_is_left_on_the_way() {
        let (mut near, mut far) = pair().await;
        set_options(&near, true).unwrap();
        let path = Path::of(&near).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let sent = std::time::Instant::now();
        near.write_all(b"hello").await.unwrap();
        let mut got = [0; 5];
        far.read_exact(&mut got).await.unwrap();
        // The other end has the bytes before this one has the acknowledgement.
        let facts = loop {
            let facts = path.facts().unwrap();
            if facts.unacked == 0 {
                break facts;
            }
            let waited = sent.elapsed();
            assert!(waited < Duration::from_secs(60), "{facts:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        // Told in ticks of the kernel, of which the longest take 10 ms.
        let told = facts.last_ack.saturating_sub(Duration::from_millis(20));
        assert!(told <= sent.elapsed(), "{facts:?}");
    }

    #[tokio::test]
    async fn an_address_that_this_machine_has_is_not_lost() {
        let (near, _far) = pair().await;
        assert_eq!(Path::of(&near).unwrap().lost_address(), None);
        let elsewhere = Path {
            local: "192.0.2.1".parse().unwrap(),
            ..Path::of(&near).unwrap()
        };
        assert_eq!(elsewhere.lost_address(), Some("192.0.2.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn the_peer_sees_the_end_only_when_the_second_hold_is_given_up_too() {
        let (near, mut far) = pair().await;
        let path = Path::of(&near).unwrap();
        drop(near);
        drop(path);
        assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
