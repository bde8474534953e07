//! The way over SSH: waits for the tunnel, finds the gateway on the far side, opens one channel.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clawline::client::dial::{Credentials, Dialed, Dialer, Dialing};
use clawline::layer::{Layer, LayerError, Retry, printable};
use clawline::tunnel::Tunnel;
use clawline::tunnel::spec::RemoteEnd;

use super::Shared;
use super::discovery::{self, Found};
use super::request::SshWay;

/// How long the far side may take to say where its gateway is.
const DISCOVERY_DEADLINE: Duration = Duration::from_secs(3);
/// How much it may say.
const DISCOVERY_BYTES: usize = 256 * 1024;

/// The far side of a tunnel, where a gateway is looked for.
#[derive(Debug, Clone)]
pub(crate) struct FarSide {
    pub(super) tunnel: Tunnel,
    pub(super) way: SshWay,
}

impl FarSide {
    /// The tunnel that leads there.
    pub fn tunnel(&self) -> &Tunnel {
        &self.tunnel
    }

    /// Where the gateway is, and how that is known: what somebody said, else what is found there.
    ///
    /// # Errors
    /// When the tunnel does not come up or goes down meanwhile.
    pub async fn end(&self) -> Result<(RemoteEnd, Vec<String>), LayerError> {
        if let Some(remote) = &self.way.remote {
            return Ok((remote.clone(), Vec::new()));
        }
        let found = self.look().await?;
        Ok((RemoteEnd::loopback(found.port), found.notes))
    }

    /// Runs the script and judges what it says. A far side that runs no commands is no failure.
    async fn look(&self) -> Result<Found, LayerError> {
        let place = self.place();
        let default = clawline::config::DEFAULT_PORT;
        let ran = self
            .tunnel
            .exec(discovery::COMMAND, DISCOVERY_BYTES, DISCOVERY_DEADLINE)
            .await;
        match ran {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                Ok(match discovery::split(&text) {
                    Some(parts) => discovery::choose(&parts, self.way.wanted, &place),
                    None => Found::nothing(format!(
                        "the gateway's config could not be looked up{place}: its shell did not run \
                         our commands; trying port {default}"
                    )),
                })
            }
            Err(error) if self.tunnel.view().borrow().status.is_up() => {
                Ok(Found::nothing(format!(
                    "the gateway's config could not be looked up{place}: {}; trying port {default}",
                    error.what
                )))
            }
            Err(error) => Err(error),
        }
    }

    /// The far side in a note.
    fn place(&self) -> String {
        let hop = self.way.spec.destination();
        let host = hop.map_or("the far side", |hop| &hop.alias);
        format!(" on {}", printable(host, 120))
    }
}

/// Dials through a tunnel. It waits without a deadline for the tunnel to be up: until then the tunnel's
/// own status says how things stand.
pub(super) struct SshDialer {
    far: FarSide,
    shared: Arc<Shared>,
    /// What was found, kept while it proves good.
    kept: Mutex<Option<Found>>,
    /// The gateway greeted us with what was found, and no try was made since.
    proved: AtomicBool,
}

impl SshDialer {
    pub fn new(far: FarSide, shared: Arc<Shared>) -> Self {
        Self {
            far,
            shared,
            kept: Mutex::default(),
            proved: AtomicBool::new(false),
        }
    }

    /// A gateway greeted us with what was found: the next try may use it without another look. Only the
    /// next one: the gateway may have moved, or changed its token.
    pub fn prove(&self) {
        self.proved.store(true, Ordering::Relaxed);
    }

    async fn open(&self) -> Result<Dialed, LayerError> {
        let mut view = self.far.tunnel.view();
        if view.wait_for(|view| view.status.is_up()).await.is_err() {
            return Err(LayerError::new(Layer::Ssh, "the tunnel was stopped").retry(Retry::Never));
        }
        let found = self.find().await?;
        let far_end = match &self.far.way.remote {
            Some(remote) => remote.clone(),
            None => RemoteEnd::loopback(found.port),
        };
        let (credentials, note) = self.credentials(&found, &far_end);
        let mut notes = found.notes.clone();
        notes.extend(note);
        if found.tls {
            notes.push(
                "the gateway there speaks TLS, which this release does not do over SSH".into(),
            );
        }
        let gateway = self.far.way.gateway_id(&far_end);
        self.shared.found(gateway.clone(), notes);
        let started = Instant::now();
        let stream = self.far.tunnel.open(&far_end).await?;
        let host = match &far_end {
            RemoteEnd::Tcp { .. } => far_end.to_string(),
            RemoteEnd::Unix(_) => "localhost".to_owned(),
        };
        self.shared.remember(&self.far.way, &far_end);
        Ok(Dialed {
            gateway: gateway.to_string(),
            stream: Box::new(stream),
            host,
            credentials,
            layers: vec![(
                Layer::Port,
                started.elapsed(),
                format!("{far_end} over one channel, no local port"),
            )],
        })
    }

    /// What may be shown: what somebody said, else what was found for exactly this far end, else what
    /// the environment says; the latter two not to another user who holds the port.
    fn credentials(&self, found: &Found, far_end: &RemoteEnd) -> (Credentials, Option<String>) {
        let way = &self.far.way;
        if !way.explicit.is_empty() {
            return (way.explicit.clone(), None);
        }
        let loopback = match far_end {
            RemoteEnd::Tcp { host, port }
                if matches!(host.as_str(), "127.0.0.1" | "::1" | "localhost") =>
            {
                Some((host, *port))
            }
            RemoteEnd::Tcp { .. } | RemoteEnd::Unix(_) => None,
        };
        let Some((host, port)) = loopback else {
            return (way.fallback.clone(), None);
        };
        let credentials = if port == found.port && !found.credentials.is_empty() {
            &found.credentials
        } else {
            &way.fallback
        };
        let place = self.far.place();
        found.listeners.permit(credentials, host, port, &place)
    }

    async fn find(&self) -> Result<Found, LayerError> {
        let way = &self.far.way;
        if way.remote.is_some() && !way.explicit.is_empty() {
            return Ok(Found {
                notes: Vec::new(),
                ..Found::nothing("")
            });
        }
        let kept = self.kept().clone();
        let kept = kept.filter(|_| self.proved.swap(false, Ordering::Relaxed));
        let is_kept = kept.is_some();
        let found = match kept {
            Some(found) => found,
            None => self.far.look().await?,
        };
        if way.explicit.is_empty() && (is_kept || found.is_stale) {
            self.shared.note_may_differ();
        }
        *self.kept() = Some(found.clone());
        Ok(found)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Found>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dialer for SshDialer {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(self.open())
    }
}
