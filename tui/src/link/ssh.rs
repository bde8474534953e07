//! The way over SSH: waits for the tunnel, finds the gateway on the far side, opens one channel.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clawline::client::dial::{BoxedStream, Credentials, Dialed, Dialer, Dialing};
use clawline::client::{Fingerprint, connect_tls};
use clawline::gateway_id::GatewayId;
use clawline::layer::{Layer, LayerError, Retry, printable};
use clawline::tunnel::spec::RemoteEnd;
use clawline::tunnel::{ChannelStream, Tunnel};

use super::Shared;
use super::discovery::{self, Found, Wanted};
use super::request::SshWay;

/// How long the far side may take to say where its gateway is.
const DISCOVERY_DEADLINE: Duration = Duration::from_secs(3);
/// While nobody listens where the gateway was found, another look is taken this often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The name that is asked for in TLS; the certificate is known by its pin.
const TLS_NAME: &str = "localhost";
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
    /// When the tunnel does not come up or goes down meanwhile, and when no gateway of the profile that was
    /// named is there.
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
        let profile = self.way.profile.as_deref();
        let ran = self
            .tunnel
            .exec(discovery::COMMAND, DISCOVERY_BYTES, DISCOVERY_DEADLINE)
            .await;
        let found = match ran {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                let wanted = Wanted {
                    kind: self.way.wanted,
                    profile,
                };
                match discovery::split(&text, profile) {
                    Some(parts) => discovery::choose(&parts, wanted, &place),
                    None => {
                        let why = "its shell did not run our commands";
                        Found::unasked(profile, &place, why)
                    }
                }
            }
            Err(error) if self.tunnel.view().borrow().status.is_up() => {
                Found::unasked(profile, &place, &error.what)
            }
            Err(error) => return Err(error),
        };
        // Who said where it is knows which gateway that is.
        match &found.missing {
            Some(missing) if self.way.remote.is_none() => Err(missing.error()),
            _ => Ok(found),
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
    /// What was found last.
    kept: Mutex<Option<Look>>,
    /// The gateway greeted us with what was found, and no try was made since.
    proved: AtomicBool,
    /// The last try ended at a port where nobody listens.
    refused: AtomicBool,
}

/// What was found, and when.
#[derive(Debug, Clone)]
struct Look {
    found: Found,
    origin: Origin,
    at: Instant,
    /// The tunnel's generation of that time.
    tunnel: u64,
}

/// Why what was found is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was looked up for this try.
    Now,
    /// It was good until the SSH connection was lost.
    BeforeLoss,
    /// Nobody listened there a moment ago, and it is not worth another look until somebody does.
    BeforeRefusal,
}

/// Where a try leads.
struct Pointed {
    far_end: RemoteEnd,
    gateway: GatewayId,
    credentials: Credentials,
    /// The certificate to be shown there.
    pin: Option<Fingerprint>,
}

impl SshDialer {
    pub fn new(far: FarSide, shared: Arc<Shared>) -> Self {
        Self {
            far,
            shared,
            kept: Mutex::default(),
            proved: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        }
    }

    /// A gateway greeted us with what was found: the next try may use it without another look when only
    /// the SSH connection was lost. Only the next one: the gateway may have moved, or changed its token.
    pub fn prove(&self) {
        self.proved.store(true, Ordering::Relaxed);
    }

    async fn open(&self) -> Result<Dialed, LayerError> {
        let mut view = self.far.tunnel.view();
        if view.wait_for(|view| view.status.is_up()).await.is_err() {
            return Err(LayerError::new(Layer::Ssh, "the tunnel was stopped").retry(Retry::Never));
        }
        let mut look = self.find().await?;
        let mut way = self.point_at(&look.found);
        let started = Instant::now();
        let mut stream = self.stream_to(&way.far_end).await?;
        if look.origin == Origin::BeforeRefusal {
            // It was enough to see that nobody listens there. Now somebody does: what may it be shown?
            look = self.look().await?;
            let known = std::mem::replace(&mut way, self.point_at(&look.found));
            if way.far_end != known.far_end {
                drop(stream);
                stream = self.stream_to(&way.far_end).await?;
            }
        }
        let is_found = self.far.way.explicit.is_empty();
        if is_found && (look.origin == Origin::BeforeLoss || look.found.is_stale) {
            self.shared.note_may_differ();
        }
        let far_end = way.far_end;
        let host = match &far_end {
            RemoteEnd::Tcp { .. } => far_end.to_string(),
            RemoteEnd::Unix(_) => "localhost".to_owned(),
        };
        self.shared.remember(&self.far.way, &far_end);
        let stream: BoxedStream = match &way.pin {
            None => Box::new(stream),
            Some(pin) => connect_tls(stream, TLS_NAME, Some(pin)).await?,
        };
        Ok(Dialed {
            gateway: way.gateway.to_string(),
            stream,
            host,
            credentials: way.credentials,
            layers: vec![(
                Layer::Port,
                started.elapsed(),
                format!("{far_end} over one channel, no local port"),
            )],
        })
    }

    /// One channel; notes whether the port refused it.
    async fn stream_to(&self, far_end: &RemoteEnd) -> Result<ChannelStream, LayerError> {
        let opened = self.far.tunnel.open(far_end).await;
        let is_refused = matches!(&opened, Err(error) if error.layer == Layer::Port);
        self.refused.store(is_refused, Ordering::Relaxed);
        opened
    }

    /// Turns view and device tokens to the gateway that was found.
    fn point_at(&self, found: &Found) -> Pointed {
        let far_end = match &self.far.way.remote {
            Some(remote) => remote.clone(),
            None => RemoteEnd::loopback(found.port),
        };
        let (credentials, note) = self.credentials(found, &far_end);
        let mut notes = found.notes.clone();
        notes.extend(note);
        let is_found_port = matches!(&far_end, RemoteEnd::Tcp { port, .. } if *port == found.port);
        let pin = found.pin.filter(|_| is_found_port);
        if found.tls && found.pin.is_none() {
            notes.push(
                "the gateway there speaks TLS, and does not say with which certificate; turn gateway.tls off there, or connect with --url wss://… and --tls-fingerprint".into(),
            );
        }
        let gateway = self.far.way.gateway_id(&far_end);
        self.shared.found(gateway.clone(), notes);
        Pointed {
            far_end,
            gateway,
            credentials,
            pin,
        }
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

    async fn find(&self) -> Result<Look, LayerError> {
        let way = &self.far.way;
        if way.remote.is_some() && !way.explicit.is_empty() {
            let found = Found {
                notes: Vec::new(),
                ..Found::nothing("")
            };
            return Ok(self.looked(found));
        }
        let is_proved = self.proved.swap(false, Ordering::Relaxed);
        let is_refused = self.refused.swap(false, Ordering::Relaxed);
        // The lock ends with this line.
        let kept = self.kept().clone();
        if let Some(kept) = kept {
            // While the SSH connection stands, a stream that ended says something about the gateway.
            if is_proved && kept.tunnel != self.tunnel_generation() {
                let tunnel = self.tunnel_generation();
                let origin = Origin::BeforeLoss;
                return Ok(self.keep(Look {
                    origin,
                    tunnel,
                    ..kept
                }));
            }
            if is_refused && kept.at.elapsed() < LOOK_AGAIN {
                return Ok(Look {
                    origin: Origin::BeforeRefusal,
                    ..kept
                });
            }
        }
        self.look().await
    }

    async fn look(&self) -> Result<Look, LayerError> {
        let found = self.far.look().await?;
        Ok(self.keep(self.looked(found)))
    }

    fn looked(&self, found: Found) -> Look {
        Look {
            found,
            origin: Origin::Now,
            at: Instant::now(),
            tunnel: self.tunnel_generation(),
        }
    }

    fn keep(&self, look: Look) -> Look {
        *self.kept() = Some(look.clone());
        look
    }

    fn tunnel_generation(&self) -> u64 {
        self.far.tunnel.view().borrow().generation
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Look>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dialer for SshDialer {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(async { Ok(self.open().await?) })
    }
}
