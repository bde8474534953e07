//! The link to a gateway: target → ssh_config → tunnel → discovery → client, put together once for the
//! app and every subcommand.
//!
//! [`Link::open`] returns at once; everything that happens afterwards is one [`LinkView`].

pub(crate) mod discovery;
mod listeners;
mod local;
mod merge;
mod request;
mod ssh;
#[cfg(all(test, feature = "demo"))]
mod tests;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clawline::client::dial::{Credentials, Dialer};
use clawline::client::tcp::TcpDialer;
use clawline::client::tokens::TokenStore;
use clawline::client::{Client, ClientEvent, ClientOptions, ClientView};
use clawline::config::paths::Paths;
use clawline::gateway_id::GatewayId;
use clawline::identity::{Identity, IdentityError};
use clawline::layer::{Layer, LayerError, LayerRows, Retry};
use clawline::owner_file;
use clawline::protocol::Protocol;
use clawline::protocol::hello::HelloOk;
use clawline::secret::Secret;
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::RemoteEnd;
use clawline::tunnel::status::{TunnelStatus, TunnelView};
use clawline::tunnel::{Tunnel, TunnelOptions};
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use request::{ConnectOptions, Connector, LinkRequest, UsageError};
use request::{SshWay, Way};
pub(crate) use ssh::FarSide;

/// How long a new try may take to begin.
const RETRY_STARTS: Duration = Duration::from_secs(2);

/// The state of a link, published by `watch`.
#[derive(Debug, Clone)]
pub(crate) struct LinkView {
    /// The target as messages name it.
    pub target: String,
    /// Where the whole way stands.
    pub status: TunnelStatus,
    /// All layers.
    pub rows: LayerRows,
    /// How port and token were found, and what of ssh_config is not applied.
    pub notes: Vec<String>,
    /// The last round trip to the gateway.
    pub rtt: Option<Duration>,
    /// Under this id the laptop keeps what belongs to the gateway. It may change once, when discovery
    /// finds another far end than the last time.
    pub gateway_id: GatewayId,
    /// The gateway's greeting, while it is up.
    pub hello: Option<Arc<HelloOk>>,
    /// Rises with every greeting.
    pub generation: u64,
    /// The pairing request that waits for a person.
    pub pairing_request: Option<String>,
}

impl LinkView {
    /// The gateway's version, while it is up.
    pub fn gateway_version(&self) -> Option<&str> {
        self.hello
            .as_ref()
            .map(|hello| hello.server.version.as_str())
    }

    /// The protocol of this connection, while it is up.
    pub fn protocol(&self) -> Option<Protocol> {
        self.hello.as_ref().map(|hello| hello.protocol)
    }

    /// Why it is not up; `None` while it is, or while nothing went wrong yet.
    pub fn trouble(&self) -> Option<&LayerError> {
        match &self.status {
            TunnelStatus::Waiting { why, .. }
            | TunnelStatus::Attention { why }
            | TunnelStatus::Failed { why } => Some(why),
            TunnelStatus::Stopped
            | TunnelStatus::Connecting { .. }
            | TunnelStatus::Up { .. }
            | TunnelStatus::Paused => None,
        }
    }
}

/// Client capability: programs that wait for a yes or no are shown to a person.
const SHOWS_APPROVALS: &str = "exec-approvals";

/// As whom a link connects.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// A person at this laptop.
    Operator,
    /// A person who looks at the app, and can be asked about programs.
    App,
    /// This machine, as a node.
    Node(NodeOffer),
}

/// What a node tells about itself.
#[derive(Debug, Clone)]
pub(crate) struct NodeOffer {
    /// The name in lists; this machine's own when nobody said one.
    pub display_name: Option<String>,
    /// What it has.
    pub caps: Vec<String>,
    /// What it can be asked.
    pub commands: Vec<String>,
    /// Where its programs are.
    pub path_env: String,
}

impl Caller {
    fn key(&self, paths: &Paths) -> PathBuf {
        match self {
            Self::Operator | Self::App => paths.device_key(),
            Self::Node(_) => paths.node_key(),
        }
    }

    fn tokens(&self, paths: &Paths, gateway: &GatewayId) -> PathBuf {
        match self {
            Self::Operator | Self::App => paths.device_tokens(gateway.as_str()),
            Self::Node(_) => paths.node_tokens(gateway.as_str()),
        }
    }

    fn options(&self, identity: Arc<Identity>, tokens: Arc<TokenStore>) -> ClientOptions {
        match self {
            Self::Operator => ClientOptions::operator(identity, tokens),
            Self::App => {
                let mut options = ClientOptions::operator(identity, tokens);
                options.caps.push(SHOWS_APPROVALS.to_owned());
                options
            }
            Self::Node(offer) => ClientOptions {
                caps: offer.caps.clone(),
                commands: Some(offer.commands.clone()),
                path_env: Some(offer.path_env.clone()),
                ..ClientOptions::node(identity, tokens, offer.display_name.clone())
            },
        }
    }
}

/// What the dialers find out for the view.
pub(super) struct Shared {
    paths: Paths,
    caller: Caller,
    device_id: String,
    tokens: Arc<TokenStore>,
    facts: watch::Sender<Facts>,
    /// Something was shown that was not looked up freshly, or looked up in the moment of a restart.
    may_differ: AtomicBool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    gateway_id: GatewayId,
    notes: Vec<String>,
}

impl Shared {
    /// Notes which gateway the next stream leads to; its device tokens are the ones that are shown.
    fn found(&self, gateway_id: GatewayId, notes: Vec<String>) {
        self.tokens.point_at(
            self.caller.tokens(&self.paths, &gateway_id),
            &self.device_id,
        );
        let facts = Facts { gateway_id, notes };
        self.facts.send_if_modified(|now| {
            let changed = *now != facts;
            *now = facts;
            changed
        });
    }

    /// Another look may find another token than the one that is shown now. It stays noted until that
    /// look: one try may dial twice.
    fn note_may_differ(&self) {
        self.may_differ.store(true, Ordering::Relaxed);
    }

    /// Keeps the far end for an offline start. Losing it costs nothing but that.
    fn remember(&self, way: &SshWay, far_end: &RemoteEnd) {
        if way.remote.is_some() {
            return;
        }
        let path = self.paths.last_far_end(login_id(way).as_str());
        let text = far_end.to_string();
        if fs::read_to_string(&path).is_ok_and(|kept| kept == text) {
            return;
        }
        if let Err(error) = owner_file::replace(&path, &Secret::new(text)) {
            tracing::warn!(path = %path.display(), %error, "the gateway's port is not remembered");
        }
    }
}

/// The id of an SSH login, whatever gateway is behind it.
fn login_id(way: &SshWay) -> GatewayId {
    way.gateway_id(&RemoteEnd::Unix(String::new()))
}

/// A link. Dropping it ends the connection at once; [`Link::stop`] says goodbye.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    tunnel: Option<Tunnel>,
    view: watch::Receiver<LinkView>,
    /// A question to the SSH server that is under way.
    probing: Mutex<Option<AbortOnDropHandle<()>>>,
    _merging: AbortOnDropHandle<()>,
}

impl Link {
    /// Starts to connect. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When this laptop's device key can neither be read nor made.
    pub fn open(request: LinkRequest, prompter: Prompter) -> Result<Self, IdentityError> {
        Self::open_as(Caller::Operator, request, prompter).map(|(link, _)| link)
    }

    /// As [`Link::open`], for the app: whoever looks at it is asked about programs.
    ///
    /// # Errors
    /// As [`Link::open`].
    pub fn open_app(request: LinkRequest, prompter: Prompter) -> Result<Self, IdentityError> {
        Self::open_as(Caller::App, request, prompter).map(|(link, _)| link)
    }

    /// As [`Link::open`], as this machine's node and with its own device key; with every push from the
    /// first one on, since a gateway asks a node as soon as it said hello.
    ///
    /// # Errors
    /// As [`Link::open`].
    pub fn open_node(
        request: LinkRequest,
        prompter: Prompter,
        offer: NodeOffer,
    ) -> Result<(Self, broadcast::Receiver<ClientEvent>), IdentityError> {
        Self::open_as(Caller::Node(offer), request, prompter)
    }

    fn open_as(
        caller: Caller,
        request: LinkRequest,
        prompter: Prompter,
    ) -> Result<(Self, broadcast::Receiver<ClientEvent>), IdentityError> {
        let identity = Identity::load_or_create(&caller.key(&request.paths))?;
        let gateway_id = first_gateway_id(&request);
        let tokens = TokenStore::open(
            caller.tokens(&request.paths, &gateway_id),
            identity.device_id(),
        );
        let tokens = Arc::new(if request.is_secret_typed {
            tokens.only_kept()
        } else {
            tokens
        });
        let shared = Arc::new(Shared {
            paths: request.paths.clone(),
            caller: caller.clone(),
            device_id: identity.device_id().to_owned(),
            tokens: Arc::clone(&tokens),
            facts: watch::Sender::new(Facts {
                gateway_id,
                notes: Vec::new(),
            }),
            may_differ: AtomicBool::new(false),
        });
        let mut over_ssh = None;
        let dialer: Arc<dyn Dialer> = match request.way {
            Way::Direct(way) => Arc::new(TcpDialer::new(way.endpoint, way.credentials)),
            Way::Local(way) => Arc::new(local::LocalDialer {
                way,
                shared: Arc::clone(&shared),
            }),
            Way::Ssh(way) => {
                let options = TunnelOptions {
                    once: request.once,
                    ..TunnelOptions::default()
                };
                let tunnel = Tunnel::start(way.spec.clone(), prompter, options);
                let far = FarSide {
                    tunnel: tunnel.clone(),
                    way: *way,
                };
                let dialer = Arc::new(ssh::SshDialer::new(far, Arc::clone(&shared)));
                over_ssh = Some((tunnel, Arc::clone(&dialer)));
                dialer
            }
        };
        let options = caller.options(Arc::new(identity), tokens);
        let (client, heard) = Client::start_heard(dialer, options);
        let tunnel = over_ssh.as_ref().map(|(tunnel, _)| tunnel.clone());
        let merger = Merger {
            target: request.label,
            notes: request.notes,
            tunnel: tunnel.as_ref().map(Tunnel::view),
            dialer: over_ssh.map(|(_, dialer)| dialer),
            client_view: client.view(),
            facts: shared.facts.subscribe(),
            shared,
            reconnect: client.clone(),
            seen: Seen::default(),
        };
        let (publish, view) = watch::channel(merger.merge());
        let link = Self {
            client,
            tunnel,
            view,
            probing: Mutex::default(),
            _merging: AbortOnDropHandle::new(tokio::spawn(merger.run(publish))),
        };
        Ok((link, heard))
    }

    /// The client; calls fail while the link is down.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The published state; the receiver wakes on each change.
    pub fn view(&self) -> watch::Receiver<LinkView> {
        self.view.clone()
    }

    /// Tries now instead of later; an up link is left alone.
    pub fn reconnect_now(&self) {
        if let Some(tunnel) = &self.tunnel
            && !tunnel.view().borrow().status.is_up()
        {
            tunnel.reconnect_now();
        }
        if !self.client.view().borrow().status.is_up() {
            self.client.reconnect_now();
        }
    }

    /// Somebody waits: finds out within seconds whether the link is alive, the SSH connection below it too.
    /// Must be called inside a tokio runtime.
    pub fn probe_now(&self) {
        self.client.probe_now();
        let Some(tunnel) = self.tunnel.clone() else {
            return;
        };
        // One at a time: a new one would only begin to wait anew.
        let mut probing = self.probing.lock().unwrap_or_else(PoisonError::into_inner);
        if probing.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let probe = tokio::spawn(async move {
                tunnel.probe_now().await;
            });
            *probing = Some(AbortOnDropHandle::new(probe));
        }
    }

    /// Waits for the greeting; the first failure is the answer. While a question is open, or a sign-in
    /// under way, there is no other limit than `deadline` for what comes after it.
    ///
    /// # Errors
    /// The layer at which it stopped.
    pub async fn first_answer(&self, deadline: Duration) -> Result<Arc<HelloOk>, LayerError> {
        let mut view = self.view();
        let limit = |view: &LinkView| match &view.status {
            // These have deadlines of their own, and a person may be thinking.
            TunnelStatus::Connecting { layer, .. } => {
                *layer > Layer::SignIn || self.tunnel.is_none()
            }
            _ => true,
        };
        loop {
            let now = view.borrow_and_update().clone();
            match (&now.hello, now.trouble(), &now.status) {
                (Some(hello), ..) => return Ok(Arc::clone(hello)),
                (None, Some(why), _) => return Err(why.clone()),
                (None, None, TunnelStatus::Stopped) => {
                    return Err(
                        LayerError::new(Layer::Hello, "the link was closed").retry(Retry::Never)
                    );
                }
                (None, None, _) => {}
            }
            let changed = if limit(&now) {
                tokio::time::timeout(deadline, view.changed()).await
            } else {
                Ok(view.changed().await)
            };
            match changed {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    return Err(LayerError::new(Layer::Hello, "the link was closed"));
                }
                Err(_) => {
                    let layer = match now.status {
                        TunnelStatus::Connecting { layer, .. } => layer,
                        _ => Layer::Hello,
                    };
                    let what = format!("no answer within {} s", deadline.as_secs());
                    return Err(LayerError::new(layer, what));
                }
            }
        }
    }

    /// Shows these from now on, and returns once the try with them is under way.
    pub async fn retry_with(&self, credentials: Credentials) {
        let mut view = self.view();
        view.mark_unchanged();
        self.client.use_credentials(credentials).await;
        let under_way = view.wait_for(|view| view.trouble().is_none());
        // Without a change within the deadline the old answer stands.
        let _ = tokio::time::timeout(RETRY_STARTS, under_way).await;
    }

    /// Says goodbye and ends it for good.
    pub async fn stop(&self) {
        self.client.stop().await;
        if let Some(tunnel) = &self.tunnel {
            tunnel.stop().await;
        }
    }
}

/// The id that is known before anything was asked of the network.
fn first_gateway_id(request: &LinkRequest) -> GatewayId {
    match &request.way {
        Way::Direct(way) => GatewayId::direct(&way.endpoint.identity()),
        Way::Local(way) => {
            let found = local::find(way, &request.paths);
            GatewayId::direct(&local::endpoint(&found).identity())
        }
        Way::Ssh(way) => {
            let kept = || {
                let path = request.paths.last_far_end(login_id(way).as_str());
                let text = fs::read_to_string(path).ok()?;
                clawline::tunnel::ends::parse_remote_end(text.trim()).ok()
            };
            let far_end = way
                .remote
                .clone()
                .or_else(kept)
                .unwrap_or_else(|| RemoteEnd::loopback(clawline::config::DEFAULT_PORT));
            way.gateway_id(&far_end)
        }
    }
}

/// Folds what the parts publish into one view.
struct Merger {
    target: String,
    notes: Vec<String>,
    tunnel: Option<watch::Receiver<TunnelView>>,
    dialer: Option<Arc<ssh::SshDialer>>,
    client_view: watch::Receiver<ClientView>,
    facts: watch::Receiver<Facts>,
    /// Held so that `facts` stays open as long as somebody reads it.
    shared: Arc<Shared>,
    /// Woken when the tunnel came back, and when another look may help.
    reconnect: Client,
    seen: Seen,
}

/// What was acted upon already.
#[derive(Debug, Default)]
struct Seen {
    /// The tunnel's generation.
    tunnels: u64,
    /// The client's generation.
    greetings: u64,
    /// A refused token had its second look since the last greeting.
    has_looked_again: bool,
    /// That look is about to start: nobody needs to do anything yet.
    is_looking_again: bool,
}

impl Merger {
    async fn run(mut self, publish: watch::Sender<LinkView>) {
        loop {
            self.act();
            publish.send_replace(self.merge());
            let tunnel_changed = async {
                match &mut self.tunnel {
                    Some(tunnel) => tunnel.changed().await,
                    None => std::future::pending().await,
                }
            };
            let open = tokio::select! {
                changed = tunnel_changed => changed.is_ok(),
                changed = self.client_view.changed() => changed.is_ok(),
                changed = self.facts.changed() => changed.is_ok(),
            };
            if !open {
                publish.send_replace(self.merge());
                return;
            }
        }
    }

    fn act(&mut self) {
        let (client_status, greetings) = {
            let view = self.client_view.borrow();
            (view.status.clone(), view.generation)
        };
        if greetings > self.seen.greetings {
            self.seen.greetings = greetings;
            self.seen.has_looked_again = false;
            if let Some(dialer) = &self.dialer {
                dialer.prove();
            }
        }
        // A gateway that changed its token refuses the one that was found before: look again, once.
        if let TunnelStatus::Attention { why } = &client_status
            && why.layer == Layer::Token
            && !self.seen.has_looked_again
            && self.shared.may_differ.swap(false, Ordering::Relaxed)
        {
            self.seen.has_looked_again = true;
            self.seen.is_looking_again = true;
            self.reconnect.reconnect_now();
        } else if !matches!(client_status, TunnelStatus::Attention { .. }) {
            self.seen.is_looking_again = false;
        }
        let Some(tunnel) = &self.tunnel else { return };
        let (is_up, generation) = {
            let view = tunnel.borrow();
            (view.status.is_up(), view.generation)
        };
        if is_up && generation > self.seen.tunnels {
            self.seen.tunnels = generation;
            if matches!(client_status, TunnelStatus::Waiting { .. }) {
                self.reconnect.reconnect_now();
            }
        }
    }

    fn merge(&self) -> LinkView {
        let mut client = self.client_view.borrow().clone();
        if self.seen.is_looking_again && matches!(client.status, TunnelStatus::Attention { .. }) {
            client.status = TunnelStatus::Connecting {
                layer: Layer::Port,
                attempt: 1,
            };
        }
        let tunnel = self.tunnel.as_ref().map(|tunnel| tunnel.borrow().clone());
        let facts = self.facts.borrow().clone();
        let is_up = tunnel.as_ref().is_none_or(|tunnel| tunnel.status.is_up());
        LinkView {
            target: self.target.clone(),
            status: merge::status(tunnel.as_ref(), &client),
            rows: merge::rows(tunnel.as_ref(), &client),
            notes: self.notes.iter().chain(&facts.notes).cloned().collect(),
            rtt: client.rtt.filter(|_| is_up),
            gateway_id: facts.gateway_id,
            hello: client.hello.filter(|_| is_up),
            generation: client.generation,
            pairing_request: client.pairing_request,
        }
    }
}
