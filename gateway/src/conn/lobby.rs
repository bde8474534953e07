//! Sockets that have not said hello yet: a bounded number, of which one remote address gets a part only,
//! and the oldest silent one makes room, so that nobody can lock the owner out by opening sockets and
//! saying nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Places that one remote address gets. Everybody on this machine shares one address, and those whom a
/// proxy or a tunnel lets in do, too: loopback is not limited.
const MAX_PER_ADDRESS: usize = 16;
/// The part of an IPv6 address that its network gives; a host has all addresses behind it.
const NETWORK_BITS: u32 = 64;

/// The sockets before their hello.
#[derive(Debug, Clone)]
pub(crate) struct Lobby {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    /// Places of all, and those of one remote address.
    max: usize,
    max_per_address: usize,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    source: Option<IpAddr>,
    evict: CancellationToken,
    has_spoken: bool,
}

/// A place in the lobby; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    inner: Arc<Mutex<Inner>>,
    number: u64,
    evict: CancellationToken,
}

impl Lobby {
    pub(crate) fn new(max: usize) -> Self {
        Self::with_places(max, MAX_PER_ADDRESS)
    }

    /// Room for everybody: for tests of what such a gateway would stand.
    pub(crate) fn without_end() -> Self {
        Self::with_places(usize::MAX, usize::MAX)
    }

    fn with_places(max: usize, max_per_address: usize) -> Self {
        let inner = Inner {
            max,
            max_per_address,
            next: 0,
            waiting: BTreeMap::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Takes a place for a socket from this address, which may cost the oldest silent socket its own: of
    /// the same address, when that has its part already. A proxy's socket is nobody's (`None`) until
    /// [`Seat::is_of`] says whose.
    pub(crate) fn enter(&self, peer: Option<IpAddr>) -> Seat {
        let evict = CancellationToken::new();
        let source = peer.and_then(source);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.evict_of(source) && inner.waiting.len() >= inner.max {
            inner.evict_oldest(|_| true);
        }
        let number = inner.next;
        inner.next += 1;
        inner.waiting.insert(
            number,
            Waiting {
                source,
                evict: evict.clone(),
                has_spoken: false,
            },
        );
        Seat {
            inner: self.inner.clone(),
            number,
            evict,
        }
    }
}

impl Lobby {
    /// Gives up the oldest silent socket: the process has no descriptor left for another one.
    pub(crate) fn shed(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.evict_oldest(|waiting| !waiting.has_spoken);
    }
}

impl Inner {
    /// Makes room for one more of this address. False when it has not had its part.
    fn evict_of(&mut self, source: Option<IpAddr>) -> bool {
        let is_same = |waiting: &&Waiting| source.is_some() && waiting.source == source;
        let is_full = self.waiting.values().filter(is_same).count() >= self.max_per_address;
        if is_full {
            self.evict_oldest(|waiting| waiting.source == source);
        }
        is_full
    }

    /// Of those that fit, the oldest silent one, else the oldest.
    fn evict_oldest(&mut self, fits: impl Fn(&Waiting) -> bool) {
        let mut fitting = self.waiting.iter().filter(|(_, waiting)| fits(waiting));
        let loser = fitting
            .clone()
            .find(|(_, waiting)| !waiting.has_spoken)
            .or_else(|| fitting.next())
            .map(|(number, _)| *number);
        if let Some(waiting) = loser.and_then(|number| self.waiting.remove(&number)) {
            waiting.evict.cancel();
        }
    }
}

/// Whom the places of an address are counted for; nobody on this machine.
fn source(peer: IpAddr) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    match peer {
        peer if peer.is_loopback() => None,
        IpAddr::V4(_) => Some(peer),
        IpAddr::V6(v6) => {
            let network = v6.to_bits() >> NETWORK_BITS << NETWORK_BITS;
            Some(Ipv6Addr::from_bits(network).into())
        }
    }
}

impl Seat {
    /// Ends when somebody else needs the place.
    pub(crate) async fn evicted(&self) {
        self.evict.cancelled().await;
    }

    /// The socket is that of a client behind a proxy, and takes one of that client's places.
    pub(crate) fn is_of(&self, client: IpAddr) {
        let source = source(client);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut own) = inner.waiting.remove(&self.number) else {
            return;
        };
        inner.evict_of(source);
        own.source = source;
        inner.waiting.insert(self.number, own);
    }

    /// The socket is not silent any more.
    pub(crate) fn spoke(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = inner.waiting.get_mut(&self.number) {
            waiting.has_spoken = true;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_oldest_silent_socket_makes_room_and_a_speaking_one_stays() {
        let lobby = Lobby::new(3);
        let speaking = lobby.enter(Some(HERE));
        speaking.spoke();
        let silent = lobby.enter(Some(HERE));
        let younger = lobby.enter(Some(HERE));
        let newest = lobby.enter(Some(HERE));
        assert!(silent.evict.is_cancelled());
        for seat in [&speaking, &younger, &newest] {
            assert!(!seat.evict.is_cancelled());
        }
    }

    #[test]
    fn one_remote_host_takes_its_own_places_only_and_one_network_is_one_host() {
        let lobby = Lobby::new(64);
        let ours = lobby.enter(Some(HERE));
        let other = lobby.enter("192.0.2.1".parse().ok());
        let crowd: Vec<Seat> = (0..100)
            .map(|n| lobby.enter(format!("2001:db8::{n:x}").parse().ok()))
            .collect();
        assert!(!ours.evict.is_cancelled() && !other.evict.is_cancelled());
        let left = crowd.iter().filter(|seat| !seat.evict.is_cancelled());
        assert_eq!(left.count(), MAX_PER_ADDRESS);
        assert!(crowd[0].evict.is_cancelled(), "the oldest of its own");
        let local: Vec<Seat> = (0..30).map(|_| lobby.enter(Some(HERE))).collect();
        assert!(local.iter().all(|seat| !seat.evict.is_cancelled()));
    }

    #[test]
    fn clients_behind_one_proxy_have_places_of_their_own() {
        let lobby = Lobby::new(64);
        let behind = |client: &str| {
            let seat = lobby.enter(None);
            seat.is_of(client.parse().unwrap());
            seat
        };
        let victim = behind("198.51.100.7");
        let crowd: Vec<Seat> = (0..100).map(|_| behind("203.0.113.9")).collect();
        assert!(!victim.evict.is_cancelled());
        let left = crowd.iter().filter(|seat| !seat.evict.is_cancelled());
        assert_eq!(left.count(), MAX_PER_ADDRESS);
        assert!(!crowd[99].evict.is_cancelled(), "the newest stays");
        drop(crowd);
        assert_eq!(lobby.inner.lock().unwrap().waiting.len(), 1);
    }

    #[test]
    fn shedding_costs_a_silent_one_its_place_and_never_one_that_speaks() {
        let lobby = Lobby::new(8);
        let speaking = lobby.enter(Some(HERE));
        speaking.spoke();
        let silent = lobby.enter(Some(HERE));
        lobby.shed();
        lobby.shed();
        assert!(silent.evict.is_cancelled() && !speaking.evict.is_cancelled());
    }

    #[test]
    fn a_place_that_was_given_back_costs_nobody_anything() {
        let lobby = Lobby::new(1);
        drop(lobby.enter(Some(HERE)));
        let first = lobby.enter(Some(HERE));
        assert!(!first.evict.is_cancelled());
        first.spoke();
        let _second = lobby.enter(Some(HERE));
        assert!(
            first.evict.is_cancelled(),
            "when all speak, the oldest goes"
        );
    }
}
