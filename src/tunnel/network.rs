//! Notices that this machine's addresses changed: another network, a cable, a VPN.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use if_watch::IfEvent;
use if_watch::tokio::IfWatcher;
use nix::ifaddrs::getifaddrs;
use tokio::time::Instant;

/// Addresses come and go in bursts; a change counts once nothing has happened for this long.
const SETTLED: Duration = Duration::from_millis(250);
/// However long the burst, a change counts after this long.
const LONGEST_BURST: Duration = Duration::from_secs(1);
/// Pause before a watcher that broke is set up anew.
const SET_UP_AGAIN: Duration = Duration::from_secs(30);

/// Tells when the addresses changed. Without a watcher (a container that forbids it) it never does, and
/// the other signs have to do.
#[derive(Debug, Default)]
pub(crate) struct NetworkWatch {
    watcher: Option<IfWatcher>,
    /// When to set one up, if there is none.
    set_up_at: Option<Instant>,
    burst: Option<Burst>,
    /// What is here. The watcher tells what was there at its start like a change, however late.
    here: HashSet<IpAddr>,
}

/// Changes that belong together.
#[derive(Debug)]
struct Burst {
    first: Instant,
    last: Instant,
}

impl Burst {
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            first: now,
            last: now,
        }
    }

    fn end(&self) -> Instant {
        (self.last + SETTLED).min(self.first + LONGEST_BURST)
    }
}

impl NetworkWatch {
    /// Returns after the addresses changed and have settled. Cancel safe: the next call goes on where
    /// a dropped one was.
    pub(crate) async fn changed(&mut self) {
        loop {
            let Some(watcher) = &mut self.watcher else {
                self.set_up().await;
                continue;
            };
            let end = self.burst.as_ref().map(Burst::end);
            let settled = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = watcher.next() => match event {
                    Some(Ok(event)) if is_news(&mut self.here, &event) => {
                        tracing::debug!(?event, "network");
                        let burst = self.burst.get_or_insert_with(Burst::begin);
                        burst.last = Instant::now();
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => self.watcher = None,
                },
                () = settled => {
                    self.burst = None;
                    return;
                }
            }
        }
    }

    async fn set_up(&mut self) {
        if let Some(at) = self.set_up_at {
            tokio::time::sleep_until(at).await;
        }
        self.set_up_at = Some(Instant::now() + SET_UP_AGAIN);
        // First what is here: an address that comes before the watcher is there is then told as new.
        match addresses().and_then(|here| Ok((here, IfWatcher::new()?))) {
            Ok((here, watcher)) => {
                self.here = here;
                self.watcher = Some(watcher);
            }
            Err(error) => tracing::debug!(%error, "cannot watch the network"),
        }
    }
}

/// The addresses that this machine has now.
fn addresses() -> io::Result<HashSet<IpAddr>> {
    let address = |at: nix::sys::socket::SockaddrStorage| {
        let v4 = at.as_sockaddr_in().map(|at| IpAddr::V4(at.ip()));
        v4.or_else(|| at.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip())))
    };
    let found = getifaddrs()?.filter_map(|interface| address(interface.address?));
    Ok(found.collect())
}

/// Whether an event is of a change, and not of what was `here` already.
fn is_news(here: &mut HashSet<IpAddr>, event: &IfEvent) -> bool {
    match event {
        IfEvent::Up(net) => here.insert(net.addr()),
        IfEvent::Down(net) => {
            here.remove(&net.addr());
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_here_at_the_start_is_no_news_however_late_it_is_told() {
        let mut here = addresses().unwrap();
        assert!(here.contains(&IpAddr::from([127, 0, 0, 1])), "{here:?}");
        let net = |text: &str| text.parse().unwrap();
        let (home, other) = (net("127.0.0.1/8"), net("192.0.2.7/24"));
        assert!(!is_news(&mut here, &IfEvent::Up(home)));
        assert!(is_news(&mut here, &IfEvent::Up(other)));
        assert!(!is_news(&mut here, &IfEvent::Up(other)));
        assert!(is_news(&mut here, &IfEvent::Down(other)));
        assert!(is_news(&mut here, &IfEvent::Up(other)));
    }

    #[tokio::test]
    async fn what_the_watcher_tells_at_its_start_is_here_already() {
        let here = addresses().unwrap();
        // A container may forbid it.
        let Ok(mut watcher) = IfWatcher::new() else {
            return;
        };
        // Loopback at least. Another network may come meanwhile, which is told as well.
        let told = async {
            while let Some(Ok(event)) = watcher.next().await {
                if !is_news(&mut here.clone(), &event) {
                    return;
                }
            }
            panic!("the watcher ended");
        };
        let told = tokio::time::timeout(Duration::from_secs(60), told);
        assert!(told.await.is_ok(), "nothing of {here:?} was told");
    }
}
