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
/// Most addresses that are remembered.
const MAX_KEPT: usize = 1024;

/// The login names of addresses.
#[derive(Debug)]
pub(crate) struct Whois {
    program: Program,
    known: Mutex<HashMap<IpAddr, (Instant, Option<String>)>>,
}

impl Whois {
    pub(crate) fn new(program: Program) -> Self {
        Self {
            program,
            known: Mutex::default(),
        }
    }

    /// The login name of whoever has this address. `None` when it has none, or Tailscale does not tell.
    pub(crate) async fn login(&self, address: IpAddr) -> Option<String> {
        let now = Instant::now();
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&address)
            .cloned();
        if let Some((_, login)) = known.filter(|(until, _)| now < *until) {
            return login;
        }
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
}
