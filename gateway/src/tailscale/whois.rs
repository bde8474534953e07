//! Who has an address of the tailnet, remembered for a short time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Program;

/// How long an answer holds.
const KEPT: Duration = Duration::from_secs(60);
/// How long a failure does.
const KEPT_FAILURE: Duration = Duration::from_secs(5);
/// Programs that are run at the same time.
const TURNS: usize = 8;
/// Most addresses that are remembered.
const MAX_KEPT: usize = 1024;

/// The login names of addresses.
#[derive(Debug)]
pub(crate) struct Whois {
    program: Program,
    known: Mutex<Known>,
    /// Held while Tailscale is asked: an address is asked about once, however many connections wait for
    /// the answer, and so many programs run at a time.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

/// Until when each answer holds, and the answer.
type Known = HashMap<IpAddr, (Instant, Option<String>)>;

impl Whois {
    pub(crate) fn new(program: Program) -> Self {
        Self {
            program,
            known: Mutex::default(),
            turns: Default::default(),
        }
    }

    /// The login name of whoever has this address. `None` when it has none, or Tailscale does not tell.
    pub(crate) async fn login(&self, address: IpAddr) -> Option<String> {
        if let Some(login) = self.remembered(address) {
            return login;
        }
        let _turn = self.turns[turn(address)].lock().await;
        // Whoever had the turn before may have asked the same.
        if let Some(login) = self.remembered(address) {
            return login;
        }
        let now = Instant::now();
        let (login, kept) = match self.program.whois(address).await {
            Ok(login) => (login, KEPT),
            Err(error) => {
                tracing::info!(%address, %error, "Tailscale does not say who this is");
                (None, KEPT_FAILURE)
            }
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KEPT {
            known.retain(|_, (until, _)| now < *until);
        }
        if known.len() < MAX_KEPT {
            known.insert(address, (now + kept, login.clone()));
        }
        login
    }

    /// What was answered a short time ago.
    fn remembered(&self, address: IpAddr) -> Option<Option<String>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, login) = known.get(&address)?;
        (Instant::now() < *until).then(|| login.clone())
    }
}

/// Which turn an address waits for.
fn turn(address: IpAddr) -> usize {
    let last = match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    };
    usize::from(last) % TURNS
}
