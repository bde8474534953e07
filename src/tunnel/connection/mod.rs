//! One SSH connection, through its jump hosts, up to the point where channels can be opened.

mod channel;
mod closings;
mod diagnostics;
mod exec;
mod handler;
mod handshake;
mod host_key_check;
mod host_key_update;
pub(crate) mod liveness;
mod look;
mod offer;
mod peer_address;
mod refusal;
mod report;
mod stranger;
mod stream;
mod strictness;
pub(crate) mod watch;

use std::sync::Arc;
use std::time::Duration;

use russh::client::Handle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::layer::{Layer, LayerError, Retry};

use super::asker::{Asker, Person};
use super::auth;
use super::dial;
use super::hang_up::Watched;
use super::memory::Memory;
#[cfg(unix)]
use super::proxy_command;
use super::resolve::resolve;
use super::socket::Path;
use super::spec::{HopSpec, RemoteEnd, TunnelSpec};
use super::transport::{Head, Lifeline, Transport, WRITE_STALL};

pub use exec::ExecOutput;
pub use look::{Shown, host_key_of};
pub use report::{Report, RowNews};
pub use stream::ChannelStream;

pub(crate) use closings::{Closings, Swollen};
pub(crate) use diagnostics::Diagnostics;
pub(crate) use handler::Hook;
pub(crate) use stream::{FarReader, FarWriter};

use host_key_check::HostKeyCheck;
use host_key_update::{Announcement, Update};
use look::Look;
use peer_address::PeerAddress;
use strictness::Strictness;

/// How long a polite goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// What a connection needs besides its spec.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) asker: Asker,
    pub(crate) memory: Memory,
    /// The receive window of a channel, in bytes.
    pub(crate) window: u32,
    /// Only look at the last server's host key.
    pub(crate) look: Option<Look>,
}

/// An SSH connection that is signed in. Dropping it ends it, with every channel.
pub(crate) struct Connection {
    /// The server's alias, for messages.
    server: String,
    handle: Arc<Handle<Hook>>,
    /// Signing in took a person, who will be needed the next time too.
    by_person: bool,
    /// The jump hosts; they live as long as the connection through them.
    _jumps: Vec<Arc<Handle<Hook>>>,
    life: Lifeline,
    diagnostics: Diagnostics,
    closings: Closings,
    /// Learns the other host keys of the servers on the way.
    updates: Vec<AbortOnDropHandle<()>>,
    /// Whether somebody had to answer or to touch something for it, and so would have to again.
    attended: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.life.cut();
    }
}

/// Ends a connection attempt that is given up, with the sockets it opened.
struct CutOnDrop(Option<Lifeline>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(life) = self.0.take() {
            life.cut();
        }
    }
}

impl Connection {
    /// Connects and signs in, hop by hop, and reports how far it has come.
    ///
    /// Cancel safe: a dropped call closes what it opened.
    pub(crate) async fn open(
        spec: &TunnelSpec,
        around: &Surroundings,
        report: &Report,
    ) -> Result<Self, LayerError> {
        let lacking = || {
            let hops = spec.hops.iter();
            hops.filter(|hop| Strictness::of(hop, &around.memory).is_missing())
                .count()
        };
        loop {
            let before = lacking();
            match Self::open_once(spec, around, report).await {
                // A server has just shown it; a careful offer is another matter.
                Err(_) if lacking() > before => {}
                outcome => return outcome,
            }
        }
    }

    async fn open_once(
        spec: &TunnelSpec,
        around: &Surroundings,
        report: &Report,
    ) -> Result<Self, LayerError> {
        let life = Lifeline::default();
        let mut cut = CutOnDrop(Some(life.clone()));
        let mut done: Vec<Self> = Vec::new();
        for (index, hop) in spec.hops.iter().enumerate() {
            let last = index + 1 == spec.hops.len();
            let report = if last {
                report.clone()
            } else {
                report.of_jump(&hop.alias)
            };
            let next = match done.last() {
                None => open_direct(hop, around, &report, &life, last).await?,
                Some(jump) => jump.open_through(hop, around, &report, &life, last).await?,
            };
            done.push(next);
        }
        let Some(mut connection) = done.pop() else {
            let what = format!("{} names no server", spec.target);
            return Err(LayerError::new(Layer::Dns, what).retry(Retry::Never));
        };
        connection.attended |= done.iter().any(|jump| jump.attended);
        connection.by_person |= done.iter().any(|jump| jump.by_person);
        for jump in &mut done {
            connection.updates.append(&mut jump.updates);
        }
        connection._jumps = done.iter().map(|jump| jump.handle.clone()).collect();
        // The life goes on with the connection; its jump hosts share it.
        for jump in &mut done {
            jump.life = Lifeline::default();
        }
        cut.0 = None;
        Ok(connection)
    }

    /// The switch that ends it, and its last sign of life.
    pub(crate) fn life(&self) -> &Lifeline {
        &self.life
    }

    /// True once the server has opened a channel of it.
    pub(crate) fn has_served(&self) -> bool {
        self.closings.any_opened()
    }

    /// What it means that it was lost, when signing in again needs a person; they may be asleep, and
    /// each try would call them up.
    pub(crate) fn needs_person_again(&self) -> Option<LayerError> {
        self.by_person.then(|| {
            let lost = self.why_over();
            let what = format!("{}; signing in again needs you", lost.what);
            LayerError::new(Layer::SignIn, what)
                .peer(&lost.peer_text)
                .next("reconnect when you are ready to answer")
                .retry(Retry::Attention)
        })
    }

    /// russh's handle of the last server.
    pub(crate) fn handle(&self) -> Arc<Handle<Hook>> {
        self.handle.clone()
    }

    /// What goes through it, and what it has leaked.
    pub(crate) fn closings(&self) -> &Closings {
        &self.closings
    }

    /// Whether signing in took a person.
    pub(crate) fn is_attended(&self) -> bool {
        self.attended
    }

    /// Why it ended, best known reason first.
    pub(crate) fn why_over(&self) -> LayerError {
        if let Some(why) = self.life.why() {
            return why;
        }
        let parting = self
            .diagnostics
            .parting()
            .unwrap_or_else(|| "the connection was lost".into());
        LayerError::new(
            Layer::Ssh,
            format!("connection to {} lost: {parting}", self.server),
        )
    }

    /// Says goodbye and ends it. Never takes longer than half a second.
    pub(crate) async fn close(&self) {
        let goodbye = self
            .handle
            .disconnect(russh::Disconnect::ByApplication, "", "");
        if tokio::time::timeout(GOODBYE, goodbye).await.is_ok() {
            // The session ends once the words are out.
            let _ = tokio::time::timeout(GOODBYE, self.life.over()).await;
        }
        self.life.cut();
    }

    /// The next server on the way, over a channel of this one.
    async fn open_through(
        &self,
        hop: &HopSpec,
        around: &Surroundings,
        report: &Report,
        life: &Lifeline,
        last: bool,
    ) -> Result<Self, LayerError> {
        report.skipped(Layer::Dns, &format!("resolved by {}", self.server));
        let far = RemoteEnd::Tcp {
            host: hop.host.clone(),
            port: hop.port,
        };
        report.busy(Layer::Tcp, &format!("{far} through {}", self.server));
        let started = Instant::now();
        let stream = self
            .open_channel(&far)
            .await
            .map_err(|error| self.jump_error(error, &far))?;
        let address = PeerAddress::Through {
            far: far.to_string(),
            hop: self.server.clone(),
        };
        report.ok(Layer::Tcp, Some(started.elapsed()), &address.to_string());
        sign_in_over(stream, address, hop, around, report, life, last).await
    }

    /// What a refused channel means when the next server was to be reached through it.
    fn jump_error(&self, error: LayerError, far: &RemoteEnd) -> LayerError {
        let what = match error.layer {
            Layer::Port => format!("{} cannot reach {far}", self.server),
            _ => format!("{}: {}", self.server, error.what),
        };
        let retry = match error.layer {
            Layer::Port => Retry::Backoff,
            _ => error.retry,
        };
        LayerError {
            layer: Layer::Tcp,
            what,
            next: String::new(),
            retry,
            ..error
        }
    }
}

async fn open_direct(
    hop: &HopSpec,
    around: &Surroundings,
    report: &Report,
    life: &Lifeline,
    last: bool,
) -> Result<Connection, LayerError> {
    if let Some(command) = &hop.proxy_command {
        return open_by_command(hop, command, around, report, life, last).await;
    }
    report.busy(Layer::Dns, &hop.host);
    let name = format!("{}:{}", hop.host, hop.port);
    let resolved = resolve(hop, around.memory.last_address(&name)).await?;
    let first = resolved.addresses.first().map(|address| address.ip());
    let found = match first {
        Some(ip) if ip.to_string() == hop.host => hop.host.clone(),
        Some(ip) if resolved.remembered.is_some() => {
            format!("{} does not resolve now, and was {ip} last", hop.host)
        }
        Some(ip) => format!("{} → {ip}", hop.host),
        None => hop.host.clone(),
    };
    report.ok(Layer::Dns, Some(resolved.took), &found);
    report.busy(Layer::Tcp, &format!("{}:{}", hop.host, hop.port));
    let started = Instant::now();
    let (stream, address) = dial::dial(hop, &resolved).await?;
    around.memory.set_last_address(&name, address);
    if let Ok(path) = Path::of(&stream) {
        life.set_path(path);
    }
    report.ok(Layer::Tcp, Some(started.elapsed()), &address.to_string());
    let address = PeerAddress::Direct(address);
    sign_in_over(stream, address, hop, around, report, life, last).await
}

/// The first server on the way, over a `ProxyCommand`.
#[cfg(unix)]
async fn open_by_command(
    hop: &HopSpec,
    command: &str,
    around: &Surroundings,
    report: &Report,
    life: &Lifeline,
    last: bool,
) -> Result<Connection, LayerError> {
    report.skipped(Layer::Dns, "left to ProxyCommand");
    report.busy(Layer::Tcp, "through ProxyCommand");
    let started = Instant::now();
    let (stream, news) = proxy_command::start(hop, command)?;
    let address = PeerAddress::Command {
        far: format!("{}:{}", hop.host, hop.port),
    };
    report.ok(Layer::Tcp, Some(started.elapsed()), &address.to_string());
    match sign_in_over(stream, address, hop, around, report, life, last).await {
        Ok(connection) => Ok(connection),
        Err(error) => Err(news.explain(error).await),
    }
}

#[cfg(not(unix))]
async fn open_by_command(
    hop: &HopSpec,
    _: &str,
    _: &Surroundings,
    _: &Report,
    _: &Lifeline,
    _: bool,
) -> Result<Connection, LayerError> {
    let what = format!(
        "the ProxyCommand of {} cannot be run on this system",
        hop.alias
    );
    Err(LayerError::new(Layer::Tcp, what)
        .next("use ProxyJump")
        .retry(Retry::Never))
}

/// Handshake, host key and sign-in over an open stream.
async fn sign_in_over<S>(
    stream: S,
    address: PeerAddress,
    hop: &HopSpec,
    around: &Surroundings,
    report: &Report,
    life: &Lifeline,
    last: bool,
) -> Result<Connection, LayerError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let asker = if hop.batch_mode {
        around.asker.silent()
    } else {
        around.asker.clone()
    };
    let started = Instant::now();
    report.busy(Layer::Ssh, &address.to_string());
    let known = host_key_check::load(&hop.known_hosts).await?;
    let strictness = Strictness::of(hop, &around.memory);
    let diagnostics = Diagnostics::default();
    let closings = Closings::default();
    let announcement = Announcement::default();
    let head = Head::default();
    let stream = Watched::new(stream);
    let hang_up = stream.hang_up();
    let mut transport = Transport::new(stream, life.clone(), WRITE_STALL).with_head(head.clone());
    if !last {
        // Only the far end's bytes prove that the whole way is alive.
        transport = transport.uncounted();
    }
    let config = handshake::config(hop, &known, around.window, strictness.is_missing())?;
    let mut check = HostKeyCheck::new(
        hop,
        known,
        address.clone(),
        asker.clone(),
        around.memory.clone(),
        report.clone(),
        announcement.clone(),
    );
    check.look = around.look.clone().filter(|_| last);
    let hook = Hook {
        host_key: check,
        announcement: announcement.clone(),
        diagnostics: diagnostics.clone(),
        closings: closings.clone(),
        life: life.clone(),
        hang_up: hang_up.clone(),
        strictness,
    };
    let mut handle =
        handshake::shake_hands(config, transport, hook, &head, &asker, &address, hop).await?;
    let id = handshake::server_name(&head);
    report.ok(
        Layer::Ssh,
        Some(started.elapsed()),
        &format!("{id} · {}", diagnostics.negotiated()),
    );

    let started = Instant::now();
    let questions = asker.questions();
    report.busy(Layer::SignIn, &format!("as {}", hop.user));
    let person = Person {
        asker: asker.clone(),
        life: life.clone(),
        hang_up,
    };
    let memory = &around.memory;
    let signed_in = auth::sign_in(&mut handle, hop, &person, memory, &diagnostics, report).await?;
    report.ok(Layer::SignIn, Some(started.elapsed()), &signed_in.how);
    let attended = questions.were_asked();
    let handle = Arc::new(handle);
    let update = Update {
        announcement,
        handle: handle.clone(),
        hop: hop.clone(),
        asker,
        memory: around.memory.clone(),
    };
    let updates = update
        .is_wanted()
        .then(|| AbortOnDropHandle::new(tokio::spawn(update.run())));
    Ok(Connection {
        server: hop.alias.clone(),
        handle,
        updates: updates.into_iter().collect(),
        by_person: signed_in.by_person,
        _jumps: Vec::new(),
        life: life.clone(),
        diagnostics,
        closings,
        attended,
    })
}
