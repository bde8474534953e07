//! [`App`]: the one value through which every part of the daemon reaches the others.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use clawline::protocol::event::{self, PresenceEvent};
use clawline::protocol::methods::system::{HealthReply, PresenceEntry};
use clawline::secret::Secret;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::approvals::Approvals;
use crate::auth::Authority;
use crate::conn::{Conn, Intake, Lobby, Push, Registry};
use crate::health::{self, HealthCache};
use crate::metrics::Metrics;
use crate::nodes::Nodes;
use crate::pairing::Pairing;
use crate::policy::Policy;
use crate::reload::{Board, ReadDraft};
use crate::rpc::{Table, WriteBudget};
use crate::runs::Runs;
use crate::sessions::Sessions;
use crate::settings::GatewaySettings;
use crate::store::{Store, StoreHealth, now_ms};
use crate::tailscale::{Exposure, Whois};
use crate::tls::Tls;
use crate::whereabouts::Whereabouts;

/// The daemon's shared state. A cheap clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

/// What [`App`] gives access to.
pub(crate) struct Shared {
    /// What is in force now; see [`App::settings`].
    pub(crate) live: Live,
    /// Which checks are made; all of them, outside tests.
    pub(crate) policy: Arc<Policy>,
    /// How the last reading of the configuration went.
    pub(crate) reload: Board,
    /// What a text would make of the settings; absent where there is no config file to be read again.
    pub(crate) draft: OnceLock<Arc<ReadDraft>>,
    /// Writes of the configuration that were made lately.
    pub(crate) writes: WriteBudget,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) pairing: Pairing,
    pub(crate) nodes: Nodes,
    pub(crate) approvals: Approvals,
    pub(crate) registry: Arc<Registry>,
    pub(crate) lobby: Lobby,
    /// Where messages are until they are complete.
    pub(crate) intake: Intake,
    pub(crate) table: Table,
    pub(crate) store: Store,
    pub(crate) store_health: watch::Receiver<StoreHealth>,
    pub(crate) store_path: String,
    pub(crate) sessions: Sessions,
    pub(crate) runs: Runs,
    pub(crate) health: Arc<HealthCache>,
    /// The last `heartbeat` event; null before the first.
    pub(crate) last_heartbeat: watch::Sender<Value>,
    pub(crate) boot: Boot,
    /// The port's TLS; [`Tls::reload`] reads its files again.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Whether Tailscale publishes the gateway now.
    pub(crate) exposure: watch::Receiver<Exposure>,
    /// Who somebody of the tailnet is; `None` unless it is published there.
    pub(crate) whois: Option<Whois>,
    /// Connections; stopping waits for them.
    pub(crate) tasks: TaskTracker,
    /// Calls that wait; stopping lets them answer before connections close.
    pub(crate) calls: TaskTracker,
    /// Cancelled when the daemon begins to stop: nothing new comes in.
    pub(crate) drain: CancellationToken,
    /// Cancelled once runs have ended, or had their time: connections close.
    pub(crate) stop: CancellationToken,
}

/// What a change of the configuration replaces while the daemon runs.
pub(crate) struct Live {
    settings: ArcSwap<GatewaySettings>,
    authority: ArcSwap<Authority>,
    started_with: Value,
    changes: watch::Sender<()>,
    turn: Mutex<()>,
}

impl Live {
    pub(crate) fn new(settings: GatewaySettings, authority: Authority) -> Self {
        Self {
            started_with: settings.config.effective.clone(),
            settings: ArcSwap::from_pointee(settings),
            authority: ArcSwap::from_pointee(authority),
            changes: watch::Sender::new(()),
            turn: Mutex::default(),
        }
    }

    /// The configuration at the start: what needs a restart is as it says.
    pub(crate) fn started_with(&self) -> &Value {
        &self.started_with
    }

    /// Held from reading what is in force until [`Live::replace`], so that of two changes at the same
    /// time none is lost. Not to be held across an await.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts others into force.
    pub(crate) fn replace(&self, settings: GatewaySettings, authority: Authority) {
        self.settings.store(Arc::new(settings));
        self.authority.store(Arc::new(authority));
        self.changes.send_replace(());
    }

    /// The configuration was read and nothing was replaced: what depends on more than it looks again.
    pub(crate) fn look_again(&self) {
        self.changes.send_replace(());
    }

    /// Told each time something was replaced, or should be looked at again.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

/// What is fixed for one life of the process.
#[derive(Debug, Clone)]
pub(crate) struct Boot {
    pub(crate) id: String,
    pub(crate) port: u16,
    pub(crate) started: Instant,
    /// ms since the epoch.
    pub(crate) started_at: i64,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// The settings in force now. Read them anew for each request: they change while the daemon runs.
    pub(crate) fn settings(&self) -> Arc<GatewaySettings> {
        self.live.settings.load_full()
    }

    /// How callers sign in now. One sign-in uses one of it from beginning to end.
    pub(crate) fn authority(&self) -> Arc<Authority> {
        self.live.authority.load_full()
    }

    /// Puts another shared secret into force: new connections need it at once, those of the old one
    /// end. The caller has its [`Live::turn`].
    pub(crate) fn replace_secret(&self, secret: Secret) {
        let mut authority = (*self.authority()).clone();
        authority.secret = secret;
        let tag = authority.tag();
        self.live.replace((*self.settings()).clone(), authority);
        if self.policy.close_voided {
            self.registry.kick_shared(tag);
        }
        tracing::info!("the shared secret was replaced");
    }

    /// The reply of `health` now, for whoever is told so much.
    pub(crate) async fn health_report(&self, told: &Whereabouts) -> HealthReply {
        let store = self.store_health.borrow().clone();
        let report = health::report(health::Sources {
            cache: &self.health,
            sessions: &self.sessions,
            store,
            store_path: &self.store_path,
            agents: &self.runs.models().agents(),
            reload: &self.reload,
            active_runs: self.runs.counts().0,
            connections: self.registry.count(),
            nodes: self.nodes.connected(),
            uptime_ms: self.uptime_ms(),
        })
        .await;
        told.health(report)
    }

    /// Sends everybody the `health` of now.
    pub(crate) async fn broadcast_health(&self) {
        let report = async |is_whole| self.health_report(&self.whereabouts_if(is_whole)).await;
        let (whole, part) = (report(true).await, report(false).await);
        let version = self.registry.health_moved();
        let push = |report| Push::latest("health", report, Some(version));
        let (whole, part) = (push(&whole), push(&part));
        self.registry
            .broadcast_each(event::needs("health"), |conn| match self.is_told(conn) {
                true => &whole,
                false => &part,
            });
    }

    /// Tells everybody who is there.
    pub(crate) fn broadcast_presence(&self) {
        let push = |is_whole| {
            let event = PresenceEvent {
                presence: self.presence(&self.whereabouts_if(is_whole)),
            };
            Push::latest("presence", &event, Some(self.registry.state_version()))
        };
        let (whole, part) = (push(true), push(false));
        self.registry
            .broadcast_each(event::needs("presence"), |conn| match self.is_told(conn) {
                true => &whole,
                false => &part,
            });
    }

    fn is_told(&self, conn: &Conn) -> bool {
        self.whereabouts(&conn.principal).is_whole()
    }

    /// Who is there, this gateway first.
    pub(crate) fn presence(&self, told: &Whereabouts) -> Vec<PresenceEntry> {
        self.registry.presence(self.own_presence(told))
    }

    /// How long the daemon runs.
    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.boot.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The gateway's own line in presence.
    fn own_presence(&self, told: &Whereabouts) -> PresenceEntry {
        let (_, family) = clawline::protocol::hello::our_platform();
        let (host, version) = (told.host(), env!("CARGO_PKG_VERSION"));
        PresenceEntry {
            text: Some(format!(
                "Gateway: {host} (127.0.0.1) · app {version} · mode gateway · reason self"
            )),
            host: Some(host.to_owned()),
            ip: Some("127.0.0.1".to_owned()),
            version: Some(version.to_owned()),
            platform: Some(std::env::consts::OS.to_owned()),
            device_family: Some(family.to_owned()),
            mode: Some("gateway".to_owned()),
            reason: Some("self".to_owned()),
            ts: now_ms(),
            instance_id: Some(self.boot.id.clone()),
            ..PresenceEntry::default()
        }
    }
}
