//! A surface in memory, for scripts and tests: keys come through a channel, and what is shown can be
//! watched.

use std::io;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use tokio::sync::{mpsc, watch};

use super::model::Model;
use super::msg::{Msg, Signal};
use super::surface::{Surface, draw};
use crate::outbox::Delivery;
use crate::panes::chat::entry::{Entry, Kind};
use crate::panes::chat::state::Load;

/// The surface.
pub(super) struct MemorySurface {
    terminal: Terminal<TestBackend>,
    input: mpsc::Receiver<Msg>,
    /// How many messages came through it.
    taken: usize,
    shown: watch::Sender<Shown>,
}

/// What a script can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// The screen as text.
    pub(super) text: String,
    /// The transcript was read, nothing runs and nothing waits to be sent.
    pub(super) is_settled: bool,
    /// How many of the keys and pastes are part of it.
    pub(super) taken: usize,
}

impl MemorySurface {
    /// A screen of this size.
    pub(super) fn new(
        columns: u16,
        rows: u16,
        input: mpsc::Receiver<Msg>,
        shown: watch::Sender<Shown>,
    ) -> Self {
        let Ok(terminal) = Terminal::new(TestBackend::new(columns, rows));
        Self {
            terminal,
            input,
            taken: 0,
            shown,
        }
    }

    /// The screen as text.
    pub(super) fn text(&self) -> String {
        crate::widgets::text::of_screen(self.terminal.backend().buffer())
    }
}

impl Surface for MemorySurface {
    async fn next(&mut self) -> Msg {
        match self.input.recv().await {
            Some(msg) => {
                self.taken += 1;
                msg
            }
            None => Msg::Signal(Signal::Leave),
        }
    }

    fn size(&self) -> io::Result<(u16, u16)> {
        let area = self.terminal.backend().buffer().area;
        Ok((area.width, area.height))
    }

    fn paint(&mut self, model: &Model) -> io::Result<()> {
        let (columns, rows) = model.size;
        if self.size()? != model.size {
            self.terminal.backend_mut().resize(columns, rows);
        }
        let Ok(_) = self.terminal.draw(|frame| draw(frame, model));
        let shown = Shown {
            text: self.text(),
            is_settled: is_settled(model),
            taken: self.taken,
        };
        self.shown.send_if_modified(|before| {
            let changed = *before != shown;
            *before = shown;
            changed
        });
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        let Ok(()) = self.terminal.clear();
        Ok(())
    }

    fn suspend(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn wake(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_title(&mut self, _title: &str) -> io::Result<()> {
        Ok(())
    }
}

/// Whether everything that was asked for is done: read, sent, answered.
fn is_settled(model: &Model) -> bool {
    let chat = &model.chat;
    let is_on_its_way = |entry: &Entry| {
        matches!(
            &entry.kind,
            Kind::User {
                delivery: Some(Delivery::Queued | Delivery::Sent),
                ..
            }
        )
    };
    model.is_linked()
        && chat.load == Load::Read
        && chat.reading.is_none()
        && chat.runs.is_empty()
        && model.outbox.waiting() == 0
        && !chat.transcript.entries().iter().any(is_on_its_way)
}
