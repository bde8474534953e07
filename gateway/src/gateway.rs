//! [`Gateway`]: everything is opened and bound first, then it runs until told to stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use clawline::client::Fingerprint;
use clawline::owner_file;
use clawline::protocol::limits;
use clawline::secret::Secret;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::advert::Advert;
use crate::approvals::{Approvals, PolicyFile};
use crate::auth::{Authority, DeviceTokens, KernelPeers, Listener, PeerLookup, Throttle};
use crate::conn::{Intake, Lobby, Registry};
use crate::fanout::Fanout;
use crate::health::HealthCache;
use crate::lock::StateLock;
use crate::metrics::{Metered, Metrics};
use crate::nodes::Nodes;
use crate::pairing::Pairing;
use crate::policy::Policy;
use crate::runs::{ECHO_PROVIDER, Models, Runs};
use crate::sessions::Sessions;
use crate::settings::{BindTo, GatewaySettings, TailscaleMode};
use crate::shutdown::Broken;
use crate::start_check::{check_auth, check_publishing, check_reach, shared_secret};
use crate::start_error::StartError;
use crate::state::{App, Boot, Live, Shared};
use crate::state_dir;
use crate::store::{Store, now_ms};
use crate::tailscale::{self, Exposure, Program, Publisher, Whois};
use crate::tls::{self, Tls};
use crate::{control, reload, rpc, server, shutdown};

/// The database inside the state directory.
const DATABASE: &str = "gateway.db";

/// The private listener, and what tells Tailscale of it.
type Published = (TcpListener, Publisher);

/// A daemon that has its lock, its store and its port, and has told this machine's clients of it.
pub struct Gateway {
    app: App,
    advert: Option<Advert>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    publisher: Option<Published>,
    lock: StateLock,
    source: Option<reload::Source>,
}

impl Gateway {
    /// Takes the lock, opens the store, binds the port and publishes the notice to clients. Whoever
    /// follows it already is kept waiting: nothing is served before [`Gateway::run`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn bind(settings: GatewaySettings) -> Result<Self, StartError> {
        Self::bind_with_peers(settings, Arc::new(KernelPeers)).await
    }

    /// As [`Gateway::bind`], with another answer to "who is on the other end?".
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn bind_with_peers(
        settings: GatewaySettings,
        peers: Arc<dyn PeerLookup>,
    ) -> Result<Self, StartError> {
        Self::bind_with_policy(settings, peers, Policy::default()).await
    }

    /// As [`Gateway::bind_with_peers`], with checks left out. For tests.
    ///
    /// # Errors
    /// [`StartError`].
    #[doc(hidden)]
    pub async fn bind_with_policy(
        settings: GatewaySettings,
        peers: Arc<dyn PeerLookup>,
        policy: Policy,
    ) -> Result<Self, StartError> {
        let policy = Arc::new(policy);
        if policy.safe_publishing {
            check_publishing(&settings)?;
        }
        let started = Instant::now();
        state_dir::check(&settings.state_dir)?;
        owner_file::create_dir(&settings.state_dir).map_err(|source| StartError::StateDir {
            path: settings.state_dir.clone(),
            source,
        })?;
        let lock = StateLock::take_patiently(&settings.state_dir).await?;
        state_dir::clear_staged(&settings.state_dir);
        let models = Models::new(&settings.models, &settings.agents).map_err(StartError::Config)?;
        let models = Arc::new(models);
        if policy.weak_secret {
            check_auth(&settings)?;
        }
        let secret = shared_secret(&settings)?;
        if policy.secret_beyond_loopback {
            check_reach(&settings, &secret)?;
        }
        let tls = Tls::open(&settings.tls, &settings.tls_dir())?.map(Arc::new);
        let store_path = database(&settings.state_dir);
        let store = Store::open(&store_path).await?;
        if !store.was_stopped_cleanly() {
            tracing::warn!(path = %store_path.display(), "the gateway did not stop cleanly the last time: the store is checked while it serves");
        }
        let listeners = {
            let tailnet = match settings.bind {
                BindTo::Tailnet => {
                    let program = Program::new(&settings.tailscale.program, &policy);
                    Some(program.address().await?)
                }
                BindTo::Loopback | BindTo::Lan | BindTo::Custom(_) => None,
            };
            server::bind(settings.bind, tailnet, settings.port).await?
        };
        let (exposure, publisher) = publisher(&settings, &policy)?;
        let whois = publisher
            .as_ref()
            .map(|(_, publisher)| Whois::new(publisher.program.clone()));
        let addresses: Vec<SocketAddr> = listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect();
        let port = addresses.first().map_or(settings.port, SocketAddr::port);
        let tokens = DeviceTokens::new(store.gateway_secret().clone());
        let registry = Arc::<Registry>::default();
        let health = Arc::<HealthCache>::default();
        let metrics = Arc::<Metrics>::default();
        let fanout = Fanout::new(registry.clone(), health.clone(), models.clone());
        let events = Arc::new(Metered {
            inner: fanout,
            metrics: metrics.clone(),
        });
        let sessions = Sessions::new(&store, events.clone(), models.default_agent());
        let runs = Runs::start(&store, models, events).await?;
        let authority = Authority {
            mode: settings.auth.mode,
            secret,
            trusted_proxies: settings.trusted_proxies.clone(),
            proxies_taken_off: 0,
            tokens: tokens.clone(),
            throttle: Arc::new(Throttle::new(settings.rate_limit)),
            peers,
            payload_v1: settings.payload_v1,
            silent: settings.silent_scopes,
            policy: policy.clone(),
        };
        let pairing = Pairing::new(
            store.devices(),
            store.pairing(),
            store.setup_codes(),
            tokens,
            settings.silent_scopes,
            registry.clone(),
            policy.clone(),
        );
        let tasks = TaskTracker::new();
        let nodes = Nodes::new(
            store.nodes(),
            store.devices(),
            pairing.clone(),
            registry.clone(),
            tasks.clone(),
            policy.clone(),
        );
        let standing = PolicyFile::new(&settings.state_dir);
        let approvals = Approvals::start(
            store.approvals(),
            registry.clone(),
            standing,
            policy.clone(),
        )
        .await?;
        let app = App::new(Shared {
            lobby: lobby(&policy),
            intake: Intake::default(),
            pairing,
            nodes,
            approvals,
            policy,
            registry,
            table: rpc::table(),
            store_health: store.health(),
            store_path: store_path.display().to_string(),
            store,
            sessions,
            runs,
            health,
            last_heartbeat: tokio::sync::watch::Sender::new(serde_json::Value::Null),
            boot: Boot {
                id: uuid::Uuid::new_v4().to_string(),
                port,
                started,
                started_at: now_ms(),
            },
            tls,
            exposure,
            whois,
            tasks,
            calls: TaskTracker::new(),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
            live: Live::new(settings, authority),
            reload: reload::Board::default(),
            draft: OnceLock::new(),
            writes: rpc::WriteBudget::default(),
            metrics,
        });
        let advert = advertise(&app, None).await;
        Ok(Self {
            app,
            advert,
            listeners,
            addresses,
            publisher,
            lock,
            source: None,
        })
    }

    /// Reads its settings again from `source` while it runs.
    #[must_use]
    pub fn with_reload(mut self, source: reload::Source) -> Self {
        if let Some(draft) = source.draft() {
            let _ = self.app.draft.set(draft);
        }
        self.source = Some(source);
        self
    }

    /// Where programs of this machine reach it.
    pub fn local_addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.app.boot.port).into()
    }

    /// Everything it listens on; the port is the same everywhere.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether Tailscale publishes it, now and from now on.
    pub fn exposure(&self) -> watch::Receiver<Exposure> {
        self.app.exposure.clone()
    }

    /// The SHA-256 of the certificate that is shown, for clients to pin; `None` without TLS.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.app.tls.as_ref().map(|tls| tls.fingerprint())
    }

    /// The shared token or password; empty in mode `none`.
    pub fn secret(&self) -> Secret {
        self.app.authority().secret.clone()
    }

    /// The model that answers, in words for a person.
    pub fn model_words(&self) -> String {
        let models = self.app.runs.models();
        let (provider, model) = models.resolve(None, models.default_agent().as_str());
        if provider == ECHO_PROVIDER {
            "echo: no model configured, answers repeat what you say".to_owned()
        } else {
            format!("{provider}/{model}")
        }
    }

    /// Serves until `stop` is cancelled, then stops in order. Dropping the future stops at once;
    /// the notice to clients is taken back then, too.
    ///
    /// # Errors
    /// A part of it broke; it has stopped in order, so that it can be started again.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Broken> {
        let Self {
            app,
            mut advert,
            listeners,
            publisher,
            lock,
            source,
            ..
        } = self;
        let mut servers = tokio::task::JoinSet::new();
        for listener in listeners {
            servers.spawn(server::accept(app.clone(), listener, Listener::Main));
        }
        if let Some((listener, publisher)) = publisher {
            servers.spawn(server::accept(app.clone(), listener, Listener::Tailscale));
            servers.spawn(tailscale::publish(publisher, app.drain.clone()));
        }
        servers.spawn(shutdown::heartbeat(app.clone()));
        if let Some(tls) = &app.tls {
            servers.spawn(tls::watch(tls.clone(), app.drain.clone()));
        }
        match control::bind(&app.settings().state_dir) {
            Ok(listener) => {
                servers.spawn(control::serve(app.clone(), listener));
            }
            Err(error) => {
                tracing::warn!(%error, "no control socket: devices can be approved by clients only");
            }
        }
        if let Some(source) = source {
            servers.spawn(reload::watch(app.clone(), source));
        }
        let mut changes = app.live.changes();
        let ended = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                changed = changes.changed() => if changed.is_err() {
                    break Ok(());
                },
                () = tls::changed(app.tls.as_deref()) => {}
                broken = shutdown::broken(&mut servers) => break Err(broken),
            }
            advert = advertise(&app, advert).await;
        };
        shutdown::stop(&app, servers).await;
        drop(advert);
        drop(lock);
        ended
    }
}

/// The store of a state directory.
pub(crate) fn database(state_dir: &Path) -> PathBuf {
    state_dir.join(DATABASE)
}

/// Tells clients on this machine how to reach the gateway. Dropped half-way, the notice is taken back.
async fn advertise(app: &App, before: Option<Advert>) -> Option<Advert> {
    let fingerprint = app.tls.as_ref().map(|tls| tls.fingerprint());
    let (settings, port) = (app.settings(), app.boot.port);
    let renew = move || Advert::renew(before, &settings, port, fingerprint);
    tokio::task::spawn_blocking(renew)
        .await
        .unwrap_or_else(|error| {
            tracing::error!(%error, "clients cannot be told how to reach this gateway");
            None
        })
}

/// The places before hello.
fn lobby(policy: &Policy) -> Lobby {
    match policy.places {
        true => Lobby::new(limits::MAX_BEFORE_HELLO),
        false => Lobby::without_end(),
    }
}

/// What publishes the gateway, with the private listener for it. The port is new at each start, and told to
/// Tailscale alone.
fn publisher(
    settings: &GatewaySettings,
    policy: &Policy,
) -> Result<(watch::Receiver<Exposure>, Option<Published>), StartError> {
    let (state, exposure) = watch::channel(Exposure::Off);
    if settings.tailscale.mode == TailscaleMode::Off {
        return Ok((exposure, None));
    }
    let listener = server::bind_private()?;
    let port = listener.local_addr().map_or(0, |address| address.port());
    state.send_replace(Exposure::Starting);
    let publisher = Publisher {
        program: Program::new(&settings.tailscale.program, policy),
        mode: settings.tailscale.mode,
        port,
        note: settings.state_dir.join("tailscale-port"),
        state,
    };
    Ok((exposure, Some((listener, publisher))))
}
