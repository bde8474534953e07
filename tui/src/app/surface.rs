//! Where the app is shown and where keys come from: a surface, of which the terminal is one.

use std::io;

use futures_util::StreamExt as _;
use ratatui::crossterm::event::{Event, EventStream, KeyEventKind, MouseEventKind};

use super::model::Model;
use super::msg::{Msg, Signal};
use super::view;
use crate::terminal::{Options, Screen};

/// Rows that one step of the wheel moves.
const WHEEL_ROWS: i16 = 3;

/// A surface.
pub(super) trait Surface {
    /// The next input. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Msg> + Send;
    /// Columns and rows.
    fn size(&self) -> io::Result<(u16, u16)>;
    /// Shows the model.
    fn paint(&mut self, model: &Model) -> io::Result<()>;
    /// The next frame paints everything.
    fn clear(&mut self) -> io::Result<()>;
    /// Puts the process to sleep, as a shell does.
    fn suspend(&mut self) -> io::Result<()>;
    /// The process was asleep and is awake again.
    fn wake(&mut self) -> io::Result<()>;
    /// Names the window.
    fn set_title(&mut self, title: &str) -> io::Result<()>;
}

/// Paints the model on a frame.
pub(super) fn draw(frame: &mut ratatui::Frame<'_>, model: &Model) {
    // The model hears of a new size with the next message; until then it would paint outside.
    let area = frame.area();
    if (area.width, area.height) != model.size {
        return;
    }
    if let Some(cursor) = view::draw(model, frame.buffer_mut()) {
        frame.set_cursor_position(cursor);
    }
}

/// The terminal.
pub(super) struct TerminalSurface {
    screen: Screen,
    input: EventStream,
    signals: Signals,
}

impl TerminalSurface {
    /// Takes the terminal over.
    pub(super) fn take(options: Options) -> io::Result<Self> {
        Ok(Self {
            screen: Screen::take(options)?,
            input: EventStream::new(),
            signals: Signals::listen()?,
        })
    }
}

impl Surface for TerminalSurface {
    async fn next(&mut self) -> Msg {
        loop {
            let event = tokio::select! {
                signal = self.signals.next() => return Msg::Signal(signal),
                event = self.input.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    if let Some(msg) = read(event) {
                        return msg;
                    }
                }
                // The terminal is gone, and with it the person.
                Some(Err(_)) | None => return Msg::Signal(Signal::Leave),
            }
        }
    }

    fn size(&self) -> io::Result<(u16, u16)> {
        self.screen.size()
    }

    fn paint(&mut self, model: &Model) -> io::Result<()> {
        self.screen.paint(|frame| draw(frame, model))
    }

    fn clear(&mut self) -> io::Result<()> {
        self.screen.clear()
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.screen.suspend()
    }

    fn wake(&mut self) -> io::Result<()> {
        self.screen.wake()
    }

    fn set_title(&mut self, title: &str) -> io::Result<()> {
        self.screen.set_title(title)
    }
}

fn read(event: Event) -> Option<Msg> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => Some(Msg::Key(key)),
        Event::Paste(text) => Some(Msg::Paste(text)),
        Event::Resize(columns, rows) => Some(Msg::Resize(columns, rows)),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => Some(Msg::Wheel(-WHEEL_ROWS)),
            MouseEventKind::ScrollDown => Some(Msg::Wheel(WHEEL_ROWS)),
            _ => None,
        },
        Event::Key(_) | Event::FocusGained | Event::FocusLost => None,
    }
}

/// The signals that matter.
struct Signals {
    #[cfg(unix)]
    term: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
    #[cfg(unix)]
    stop: tokio::signal::unix::Signal,
    #[cfg(unix)]
    wake: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> io::Result<Self> {
        use nix::libc::{SIGCONT, SIGTSTP};
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            // Ctrl+C comes as a key; this one comes from outside.
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            stop: signal(SignalKind::from_raw(SIGTSTP))?,
            wake: signal(SignalKind::from_raw(SIGCONT))?,
        })
    }

    #[cfg(not(unix))]
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Leave,
            _ = self.interrupt.recv() => Signal::Leave,
            _ = self.hangup.recv() => Signal::Leave,
            _ = self.stop.recv() => Signal::Sleep,
            _ = self.wake.recv() => Signal::Wake,
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> Signal {
        std::future::pending().await
    }
}
