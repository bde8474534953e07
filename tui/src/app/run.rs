//! The loop: waits for whatever can wake the app, updates the model, carries effects out, paints.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use clawline::client::ClientEvent;
use clawline::config::ColorChoice;
use clawline::identity::IdentityError;
use clawline::layer::printable;
use clawline::tunnel::prompt::{Answer, PromptRequest, Prompter};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::disk::{Disk, Job, Place};
use super::effect::Effect;
use super::model::{Model, Start};
use super::msg::{Done, Msg, Now};
use super::perform::Caller;
use super::prompt::PromptId;
use super::surface::{Surface, TerminalSurface};
use super::update::update;
use super::view;
use crate::link::{Connector, Link, LinkRequest, LinkView};
use crate::panes::link::state::LinkState;
use crate::start::AppStart;
use crate::terminal::Options;
use crate::theme::Theme;

/// Results on their way to the loop; tasks wait when it is full.
const RESULTS: usize = 256;
/// Least time between two frames while text streams in.
const FRAME: Duration = Duration::from_millis(30);
/// How long the last drafts and notes may take to reach the disk.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);
/// How long the goodbye to the gateway may take.
const GOODBYE_DEADLINE: Duration = Duration::from_millis(500);
/// Longest name in the title of the window.
const MAX_TITLE: usize = 80;
/// How often open questions are looked at, whether somebody still waits for their answers.
const QUESTION_CHECK: Duration = Duration::from_secs(1);

/// Why the app could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// The terminal failed.
    #[error("terminal: {0}")]
    Terminal(#[from] std::io::Error),
    /// There is no terminal to paint on.
    #[error("the app needs a terminal; the subcommands and --tunnel-only do without")]
    NoTerminal,
    /// The device key can neither be read nor made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Opens the app on the terminal; returns when the person leaves.
///
/// # Errors
/// [`AppError`]. The terminal is given back in every case, also when this future is dropped.
pub(crate) async fn run(start: AppStart) -> Result<(), AppError> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(AppError::NoTerminal);
    }
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let is_dumb = variable("TERM") == "dumb";
    let colour = match start.ui.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => variable("NO_COLOR").is_empty(),
    };
    // The variable that other programs for screen readers listen to.
    let is_accessible = !variable("ACCESSIBLE").is_empty();
    let theme = Theme::new(colour, start.ui.plain || is_dumb || is_accessible);
    let surface = TerminalSurface::take(Options {
        title: "clawline".to_owned(),
        mouse: start.ui.mouse && !theme.is_plain(),
    })?;
    App::new(start, theme, surface)?.run().await
}

/// The app.
pub(super) struct App<S> {
    pub(super) model: Model,
    surface: S,
    caller: Caller,
    disk: Disk,
    results: mpsc::Receiver<Msg>,
    connector: Connector,
    prompter: Prompter,
    questions: mpsc::Receiver<PromptRequest>,
    answers: HashMap<PromptId, oneshot::Sender<Answer>>,
    next_question: u64,
    wired: Option<Wired>,
    is_done: bool,
}

/// What there is once there is a link.
struct Wired {
    link: Link,
    request: LinkRequest,
    view: watch::Receiver<LinkView>,
    events: broadcast::Receiver<ClientEvent>,
    place: Place,
    generation: u64,
}

impl<S: Surface> App<S> {
    /// Everything in its place; the link starts to connect.
    pub(super) fn new(start: AppStart, theme: Theme, surface: S) -> Result<Self, AppError> {
        let (tx, results) = mpsc::channel(RESULTS);
        let (prompter, questions) = Prompter::channel();
        let disk = Disk::start(tx.clone());
        let link = start.link.as_ref().map(first_state);
        let mut model = Model::new(
            Start {
                link,
                session: start.session,
                agent: start.agent,
                message: start.message,
                theme,
                time_zone: jiff::tz::TimeZone::system(),
            },
            Now::read(),
        );
        if let Some(note) = start.notes.first() {
            model.remark(crate::widgets::text::one_line(note), true);
        }
        let caller = Caller {
            client: None,
            results: tx,
            disk: disk.jobs(),
            tasks: JoinSet::new(),
        };
        let mut app = Self {
            model,
            surface,
            caller,
            disk,
            results,
            connector: start.connector,
            prompter,
            questions,
            answers: HashMap::new(),
            next_question: 0,
            wired: None,
            is_done: false,
        };
        if let Some(request) = start.link {
            app.open(request)?;
            let session = app.model.chat.session.clone();
            app.perform(Effect::LoadDraft { session })?;
        }
        Ok(app)
    }

    /// Runs until the person leaves or a signal says so.
    pub(super) async fn run(&mut self) -> Result<(), AppError> {
        let outcome = self.turn().await;
        self.goodbye().await;
        outcome
    }

    async fn turn(&mut self) -> Result<(), AppError> {
        let (columns, rows) = self.surface.size()?;
        self.take(Msg::Resize(columns, rows))?;
        self.paint()?;
        let mut painted = Instant::now();
        let mut tick: Option<Instant> = None;
        let mut is_dirty = false;
        while !self.is_done {
            let wanted = self.model.next_tick().map(|step| Instant::now() + step);
            tick = match (tick, wanted) {
                (Some(tick), Some(wanted)) => Some(tick.min(wanted)),
                (_, wanted) => wanted,
            };
            let frame = is_dirty.then(|| painted + FRAME);
            let msg = tokio::select! {
                biased;
                msg = self.surface.next() => Some(msg),
                () = until(frame) => None,
                Some(request) = self.questions.recv() => Some(self.ask(request)),
                Some(msg) = self.results.recv() => Some(msg),
                msg = wire(&mut self.wired) => Some(msg),
                () = until(tick) => { tick = None; Some(Msg::Tick) }
                () = unanswered(&mut self.answers) => self.withdrawn(),
            };
            let is_urgent = matches!(
                msg,
                Some(Msg::Key(_) | Msg::Paste(_) | Msg::Wheel(_) | Msg::Resize(..))
            );
            if let Some(msg) = msg {
                self.take(msg)?;
                is_dirty = true;
            }
            if is_dirty && (is_urgent || painted.elapsed() >= FRAME) {
                self.paint()?;
                painted = Instant::now();
                is_dirty = false;
            }
        }
        Ok(())
    }

    fn take(&mut self, msg: Msg) -> Result<(), AppError> {
        if matches!(msg, Msg::Link(_)) {
            self.follow_gateway()?;
        }
        let effects = update(&mut self.model, Now::read(), msg);
        for effect in effects {
            self.perform(effect)?;
        }
        Ok(())
    }

    fn paint(&mut self) -> Result<(), AppError> {
        view::layout(&mut self.model);
        self.surface.paint(&self.model)?;
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<(), AppError> {
        match effect {
            Effect::Store(message) => {
                if !self.disk.give(Job::Add(message.clone())) {
                    let words = "the disk is too slow".to_owned();
                    self.take(Msg::Done(Done::Stored(message, Err(words))))?;
                }
            }
            Effect::Note { key, delivery } => {
                self.disk.give(Job::Note(key, delivery));
            }
            Effect::SaveDraft { session, text } => {
                self.disk.give(Job::SaveDraft(session, text));
            }
            Effect::LoadDraft { session } => {
                self.disk.give(Job::LoadDraft(session));
            }
            Effect::ReconnectNow => {
                if let Some(wired) = &self.wired {
                    wired.link.reconnect_now();
                    wired.link.probe_now();
                }
            }
            Effect::GiveToken(token) => {
                if let Some(wired) = &self.wired {
                    let client = wired.link.client();
                    self.caller.tasks.spawn(async move {
                        let credentials = clawline::client::dial::Credentials::token(token);
                        client.use_credentials(credentials).await;
                    });
                }
            }
            Effect::GivePassword(password) => {
                if let Some(wired) = &self.wired {
                    let client = wired.link.client();
                    self.caller.tasks.spawn(async move {
                        let credentials = clawline::client::dial::Credentials {
                            token: None,
                            password: Some(password),
                        };
                        client.use_credentials(credentials).await;
                    });
                }
            }
            Effect::Answer(id, answer) => {
                if let Some(reply) = self.answers.remove(&id) {
                    // The tunnel may have stopped waiting; then the answer is nobody's.
                    let _ = reply.send(answer);
                }
            }
            Effect::OpenTarget(text) => self.open_typed(&text)?,
            Effect::Redraw => self.surface.clear()?,
            Effect::Suspend => self.surface.suspend()?,
            Effect::TakeTerminal => self.surface.wake()?,
            Effect::Quit => self.is_done = true,
            effect => self.caller.perform(effect),
        }
        Ok(())
    }

    fn open_typed(&mut self, text: &str) -> Result<(), AppError> {
        let done = match self.connector.request(Some(text)) {
            Ok(request) => {
                let state = first_state(&request);
                self.open(request)?;
                Done::Opened(Box::new(state))
            }
            Err(error) if error.next.is_empty() => Done::NotOpened(error.what),
            Err(error) => Done::NotOpened(format!("{}; {}", error.what, error.next)),
        };
        self.take(Msg::Done(done))
    }

    /// Starts a link; its gateway's outbox is read first.
    fn open(&mut self, request: LinkRequest) -> Result<(), AppError> {
        let link = Link::open_app(request.clone(), self.prompter.clone())?;
        let client = link.client();
        let events = client.events();
        let view = link.view();
        let place = place_of(&request, &view.borrow());
        self.disk.give(Job::Open(place.clone()));
        let name = printable(&first_state(&request).name, MAX_TITLE);
        self.surface.set_title(&format!("clawline {name}"))?;
        self.caller.client = Some(client);
        self.wired = Some(Wired {
            link,
            request,
            view,
            events,
            place,
            generation: 0,
        });
        Ok(())
    }

    /// Turns to the files of the gateway that the link leads to now.
    fn follow_gateway(&mut self) -> Result<(), AppError> {
        let Some(wired) = &mut self.wired else {
            return Ok(());
        };
        let place = place_of(&wired.request, &wired.view.borrow());
        if place == wired.place {
            return Ok(());
        }
        wired.place = place.clone();
        self.disk.give(Job::Open(place));
        let session = self.model.chat.session.clone();
        self.perform(Effect::LoadDraft { session })
    }

    fn ask(&mut self, request: PromptRequest) -> Msg {
        self.next_question += 1;
        let id = PromptId(self.next_question);
        self.answers.insert(id, request.reply);
        Msg::Question(id, request.prompt)
    }

    /// A question that nobody waits for any more.
    fn withdrawn(&mut self) -> Option<Msg> {
        let id = self
            .answers
            .iter()
            .find(|(_, reply)| reply.is_closed())
            .map(|(id, _)| *id)?;
        self.answers.remove(&id);
        Some(Msg::QuestionGone(id))
    }

    /// The disk gets what it was given, the gateway a goodbye, both within their time.
    async fn goodbye(&mut self) {
        let _ = tokio::time::timeout(FLUSH_DEADLINE, self.disk.flush()).await;
        self.caller.tasks.shutdown().await;
        if let Some(wired) = &self.wired {
            let _ = tokio::time::timeout(GOODBYE_DEADLINE, wired.link.stop()).await;
        }
    }
}

#[cfg(feature = "demo")]
impl App<super::memory::MemorySurface> {
    /// The screen as text.
    pub(super) fn text(&self) -> String {
        self.surface.text()
    }
}

/// Sleeps until then, or for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits until nobody waits for one of the answers; for ever when there is no question.
async fn unanswered(answers: &mut HashMap<PromptId, oneshot::Sender<Answer>>) {
    if answers.is_empty() {
        return std::future::pending().await;
    }
    while !answers.values().any(oneshot::Sender::is_closed) {
        tokio::time::sleep(QUESTION_CHECK).await;
    }
}

/// The next news of the link; for ever without one. Cancel safe.
async fn wire(wired: &mut Option<Wired>) -> Msg {
    let Some(wired) = wired else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            biased;
            event = wired.events.recv() => {
                if matches!(event, Err(broadcast::error::RecvError::Closed)) {
                    return std::future::pending().await;
                }
                if let Some(msg) = wired.event(event) {
                    return msg;
                }
            }
            Ok(()) = wired.view.changed() => {
                let view = wired.view.borrow_and_update().clone();
                return Msg::Link(Box::new(state_of(&wired.request, &view)));
            }
            else => return std::future::pending().await,
        }
    }
}

impl Wired {
    fn event(&mut self, event: Result<ClientEvent, broadcast::error::RecvError>) -> Option<Msg> {
        match event {
            Ok(ClientEvent::Connected { generation }) => self.connected(generation),
            Ok(ClientEvent::Disconnected { why }) => {
                let words = if why.peer_text.is_empty() {
                    why.what
                } else {
                    why.peer_text
                };
                Some(Msg::Disconnected(words))
            }
            Ok(ClientEvent::Event(event)) => Some(Msg::Gateway(event)),
            Ok(ClientEvent::Gap { expected, received }) => {
                tracing::info!(expected, received, "events were missed");
                Some(Msg::Gap)
            }
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::info!(missed, "events were missed");
                Some(Msg::Gap)
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    fn connected(&mut self, generation: u64) -> Option<Msg> {
        if generation <= self.generation {
            return None;
        }
        // Lost again already: the event that says so is next.
        let hello = self.link.client().hello()?;
        self.generation = generation;
        Some(Msg::Connected(hello))
    }
}

fn place_of(request: &LinkRequest, view: &LinkView) -> Place {
    let id = view.gateway_id.as_str();
    Place {
        outbox: request.paths().outbox(id),
        drafts: request.paths().drafts(id),
    }
}

fn first_state(request: &LinkRequest) -> LinkState {
    let name = request
        .name
        .clone()
        .unwrap_or_else(|| request.label.clone());
    let mut state = LinkState::new(name, request.label.clone());
    state.notes.clone_from(&request.notes);
    state
}

fn state_of(request: &LinkRequest, view: &LinkView) -> LinkState {
    let mut state = first_state(request);
    state.target.clone_from(&view.target);
    state.status = view.status.clone();
    state.rows = view.rows.clone();
    state.notes.clone_from(&view.notes);
    state.rtt = view.rtt;
    state.gateway = view.gateway_version().map(str::to_owned);
    state.protocol = view.protocol();
    state.pairing_request.clone_from(&view.pairing_request);
    state
}
