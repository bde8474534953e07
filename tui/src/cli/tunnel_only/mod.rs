//! `clawline --tunnel-only`: holds local ends open for other programs, and says on one line each how the
//! tunnel stands. It ends by itself only when a person is needed.

pub(crate) mod claim;
mod ends;
mod hold;
pub(crate) mod lines;
mod look;
mod notify;
pub(crate) mod state;
mod status_file;
pub(crate) mod status_socket;
mod taken;
pub(crate) mod told;

use std::sync::Arc;

use clawline::tunnel::ends::ListenSpec;
use clawline::tunnel::spec::RemoteEnd;
use clawline::tunnel::{BULK_CONNECTIONS, BULK_WINDOW, TunnelOptions};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::args::AppArgs;
use super::ask::Asking;
use super::connect::{fail, fail_early, print_note};
use super::context::Context;
use super::failure::{Failure, HUNG_UP, INTERRUPTED};
use super::signals::{HangUp, TunnelSignal, TunnelSignals};
use crate::link::{FarSide, LinkRequest, UsageError};

use claim::{Claim, ClaimError, Holder};
use ends::End as LocalEnd;
use notify::Notifier;
use state::{Board, State};
use status_file::StatusFile;
use status_socket::{Desk, StatusSocket};

/// Requests to connect anew that may wait; more are the same request.
const RELOADS: usize = 4;

pub(crate) async fn run(context: &Context, app: &AppArgs) -> u8 {
    // First, so that none of them ends the process with half of this made.
    let mut signals = TunnelSignals::listen();
    let request = match context.connector.request(context.host.as_deref()) {
        Ok(request) => request,
        Err(error) => return fail_early(context, context.host.as_deref(), error.into()),
    };
    let asking = Asking::start();
    let service = match Service::start(context, app, &request, &asking) {
        Ok(service) => service,
        Err(failure) => return fail_early(context, Some(&request.label), failure),
    };
    for note in &request.notes {
        print_note(context, note);
    }
    let end = tokio::select! {
        failure = hold::hold(context, &request, &service.far, &service.ends, &service.found) => {
            End::Failed(failure)
        }
        code = service.tend(context, &mut signals) => End::Asked(code),
        () = asking.interrupted() => End::Asked(INTERRUPTED),
    };
    service.finish(context, &request, end).await
}

/// How it ended.
enum End {
    /// A person is needed.
    Failed(Failure),
    /// Somebody said so; the exit code.
    Asked(u8),
}

/// A tunnel that is held, and everything that tells about it.
struct Service {
    far: FarSide,
    ends: Arc<Vec<LocalEnd>>,
    found: watch::Sender<Option<RemoteEnd>>,
    board: Arc<Board>,
    states: watch::Sender<State>,
    notifier: Notifier,
    file: Option<StatusFile>,
    stop: CancellationToken,
    socket: Option<StatusSocket>,
    /// Last: whoever takes it next finds nothing of ours.
    _claim: Option<Claim>,
}

impl Service {
    /// Takes the claim, binds the ends and starts to connect, in this order: whoever comes second is
    /// told who was first, and nothing is dialled for ends that cannot be had.
    fn start(
        context: &Context,
        app: &AppArgs,
        request: &LinkRequest,
        asking: &Asking,
    ) -> Result<Self, Failure> {
        let wanted = ends::wanted(context, app, request)?;
        let claim = claim_for(context, request, &wanted)?;
        let ends = Arc::new(ends::bind(context, app, request, wanted)?);
        let options = TunnelOptions {
            window: BULK_WINDOW,
            bulk_connections: BULK_CONNECTIONS,
            ..TunnelOptions::default()
        };
        let Some(far) = request.tunnel_alone(asking.prompter(), options) else {
            let error = UsageError::new(
                format!(
                    "--tunnel-only holds a way over SSH, and {} is reached directly",
                    request.label
                ),
                "give it [USER@]HOST",
            );
            return Err(error.into());
        };
        let (found, far_end) = watch::channel(None);
        let tunnel = far.tunnel().clone();
        let board = Board::new(&request.label, tunnel, Arc::clone(&ends), far_end);
        let path = claim.as_ref().map(Claim::socket);
        let socket = path.and_then(|path| {
            let bound = StatusSocket::bind(&path);
            let tell = |error: &std::io::Error| {
                let path = path.display();
                print_note(context, &format!("no status socket at {path}: {error}"));
            };
            bound.inspect_err(tell).ok()
        });
        Ok(Self {
            far,
            ends,
            found,
            states: watch::Sender::new(board.now()),
            board: Arc::new(board),
            notifier: Notifier::of(&context.connector.env),
            file: app.status_file.clone().map(StatusFile::new),
            stop: CancellationToken::new(),
            socket,
            _claim: claim,
        })
    }

    /// Tells how it stands and does what it is asked, until it is asked to end; returns the exit code.
    async fn tend(&self, context: &Context, signals: &mut TunnelSignals) -> u8 {
        let (reload, reloads) = mpsc::channel(RELOADS);
        let desk = Desk {
            board: Arc::clone(&self.board),
            states: self.states.subscribe(),
            tunnel: self.far.tunnel().clone(),
            stop: self.stop.clone(),
        };
        let serving = async {
            match &self.socket {
                Some(socket) => socket.serve(&desk).await,
                None => std::future::pending().await,
            }
        };
        let writing = async {
            match &self.file {
                Some(file) => file.keep(self.states.subscribe()).await,
                None => std::future::pending().await,
            }
        };
        let telling = self
            .notifier
            .keep(self.far.tunnel(), self.states.subscribe(), reloads);
        tokio::select! {
            code = self.mind(context, signals, reload) => code,
            () = self.stop.cancelled() => 0,
            never = self.board.keep(&self.states) => match never {},
            never = serving => match never {},
            never = writing => match never {},
            never = telling => match never {},
        }
    }

    /// Does what signals say, until one says to end.
    async fn mind(
        &self,
        context: &Context,
        signals: &mut TunnelSignals,
        reload: mpsc::Sender<u64>,
    ) -> u8 {
        loop {
            match (signals.next().await, signals.hang_up) {
                (TunnelSignal::Terminate, _) => return 0,
                (TunnelSignal::Interrupt, _) => return INTERRUPTED,
                (TunnelSignal::HangUp, HangUp::Ends) => return HUNG_UP,
                (TunnelSignal::HangUp, HangUp::Reconnects) => {
                    let generation = self.board.now().generation;
                    // When it is full, systemd knows already that we reload.
                    let _ = reload.try_send(generation);
                    self.far.tunnel().reconnect_now();
                }
                (TunnelSignal::Report, _) => lines::report(context, &self.board.now()),
            }
        }
    }

    /// Says goodbye on every way that somebody may listen on, and leaves nothing behind.
    async fn finish(self, context: &Context, request: &LinkRequest, end: End) -> u8 {
        let (code, last) = match &end {
            End::Asked(code) => (*code, None),
            End::Failed(failure) => {
                let rows = self.far.tunnel().view().borrow().rows.clone();
                let code = fail(context, &request.label, &rows, &[], failure);
                (code, Some(self.board.now().ended(failure.layer(), code)))
            }
        };
        lines::say(context, &request.label, "stopped", &[]);
        if let Some(file) = &self.file {
            file.finish(last.as_ref());
        }
        let words = last.map_or_else(|| "stopped".into(), |state| state.sentence());
        self.notifier.stopping(&words).await;
        self.far.tunnel().stop().await;
        code
    }
}

/// The claim on a target with its ends. Without a directory for it the tunnel is held all the same, and
/// nobody can see it from outside.
fn claim_for(
    context: &Context,
    request: &LinkRequest,
    wanted: &[ListenSpec],
) -> Result<Option<Claim>, Failure> {
    let ends: Vec<_> = wanted.iter().map(|end| end.local.clone()).collect();
    let holder = Holder::ours(&request.label, context.host.as_deref(), &ends);
    match Claim::take(&claim::places(request.paths()), &holder, &ends) {
        Ok(claim) => Ok(Some(claim)),
        Err(ClaimError::Held(other)) => {
            let (who, target) = match &other {
                Some(other) => (other.to_string(), other.typed.as_str()),
                None => ("another clawline".to_owned(), request.label.as_str()),
            };
            let error = UsageError::new(
                format!("the tunnel to {} is held already by {who}", request.label),
                format!(
                    "`clawline tunnel status` shows it, `clawline tunnel stop {target}` ends it"
                ),
            );
            Err(error.into())
        }
        Err(error @ ClaimError::Io { .. }) => {
            let note = format!("`clawline tunnel` will not see this tunnel: {error}");
            print_note(context, &note);
            Ok(None)
        }
    }
}
