//! One entry of a transcript: a message, a tool call, or a line of our own.

use std::sync::Arc;
use std::time::Instant;

use ratatui::text::Line;

use crate::markdown::{Growing, render};
use crate::outbox::Delivery;
use crate::theme::{Meaning, Theme};
use crate::widgets::text::clean;
use crate::widgets::wrap::{Break, Margin, Piece, wrap};

/// Names an entry for as long as the pane lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EntryId(pub(crate) u64);

/// Where an entry came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The gateway's transcript holds it.
    Gateway,
    /// Events of a run; the transcript may not hold it yet.
    Live,
    /// Typed or noted here.
    Local,
}

/// How an answer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// More may come.
    Running,
    /// Complete.
    Done,
    /// Stopped by a person.
    Stopped,
    /// Failed, in the gateway's words.
    Failed(String),
    /// Nobody knows: nothing was heard of it since the link came back.
    Silent,
}

/// How a tool call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolEnd {
    /// It works since then.
    Running(Instant),
    /// It was good, after so many milliseconds where we saw it start.
    Good(Option<u64>),
    /// It failed.
    Bad(Option<u64>),
    /// The run ended without a result.
    Unknown,
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The call's id; empty when the gateway gave none.
    pub(crate) call: String,
    /// The tool.
    pub(crate) name: String,
    /// Its arguments on one line.
    pub(crate) arguments: String,
    /// What it returned, once known.
    pub(crate) result: Option<String>,
    /// How it stands.
    pub(crate) end: ToolEnd,
    /// The run it belongs to.
    pub(crate) run: Option<String>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What a person said.
    User {
        /// The text.
        text: String,
        /// The idempotency key, which is the run id too.
        key: Option<String>,
        /// How far it has come, for those sent from here.
        delivery: Option<Delivery>,
    },
    /// What the agent said.
    Assistant {
        /// The text so far.
        text: String,
        /// The run.
        run: Option<String>,
        /// How it stands.
        end: End,
    },
    /// What the agent did.
    Tool(Tool),
    /// The gateway's own marker, e.g. "Reset".
    System(String),
    /// A line of ours: the link went, a command answered.
    Note {
        /// The words.
        text: String,
        /// Whether something failed.
        bad: bool,
        /// About the link; two in a row become one.
        link: bool,
    },
}

/// Who an entry is shown under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// The person.
    User,
    /// The agent, tools included.
    Agent,
    /// Nobody: lines without a heading.
    Nobody,
}

/// An entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) id: EntryId,
    /// What it is.
    pub(crate) kind: Kind,
    /// ms since the epoch.
    pub(crate) at: Option<i64>,
    /// Where it came from.
    pub(crate) source: Source,
    /// Position in the gateway's transcript.
    pub(crate) seq: Option<u64>,
    /// Id in the gateway's transcript.
    pub(crate) message_id: Option<String>,
    body: Option<Body>,
    growing: Option<Box<Growing>>,
}

/// Lines of an entry at one width.
#[derive(Debug, Clone)]
struct Body {
    columns: usize,
    theme: Theme,
    expanded: bool,
    lines: Arc<[Line<'static>]>,
}

impl Entry {
    /// An entry that the gateway's transcript does not hold yet.
    pub(crate) fn new(id: EntryId, kind: Kind, source: Source, at: Option<i64>) -> Self {
        Self {
            id,
            kind,
            at,
            source,
            seq: None,
            message_id: None,
            body: None,
            growing: None,
        }
    }

    /// Forgets the lines after a change.
    pub(crate) fn touch(&mut self) {
        self.body = None;
    }

    /// Forgets lines that can be made again.
    pub(crate) fn drop_lines(&mut self) {
        self.body = None;
        self.growing = None;
    }

    /// Who it is shown under.
    pub(crate) fn speaker(&self) -> Speaker {
        match self.kind {
            Kind::User { .. } => Speaker::User,
            Kind::Assistant { .. } | Kind::Tool(_) => Speaker::Agent,
            Kind::System(_) | Kind::Note { .. } => Speaker::Nobody,
        }
    }

    /// The run it belongs to; a person's message belongs to the run it starts.
    pub(crate) fn run(&self) -> Option<&str> {
        match &self.kind {
            Kind::User { key, .. } => key.as_deref(),
            Kind::Assistant { run, .. } => run.as_deref(),
            Kind::Tool(tool) => tool.run.as_deref(),
            Kind::System(_) | Kind::Note { .. } => None,
        }
    }

    /// The text of a message, empty for others.
    pub(crate) fn text(&self) -> &str {
        match &self.kind {
            Kind::User { text, .. }
            | Kind::Assistant { text, .. }
            | Kind::System(text)
            | Kind::Note { text, .. } => text,
            Kind::Tool(_) => "",
        }
    }

    /// The lines below its heading, `columns` wide at most; made once and kept.
    pub(crate) fn lines(
        &mut self,
        columns: usize,
        theme: Theme,
        expanded: bool,
    ) -> Arc<[Line<'static>]> {
        if let Some(body) = &self.body
            && body.columns == columns
            && body.theme == theme
            && body.expanded == expanded
        {
            return body.lines.clone();
        }
        let lines: Arc<[Line<'static>]> = self.make_lines(columns.max(1), theme, expanded).into();
        self.body = Some(Body {
            columns,
            theme,
            expanded,
            lines: lines.clone(),
        });
        lines
    }

    /// A line that `lines` has made.
    pub(crate) fn line(&self, number: usize) -> Option<&Line<'static>> {
        self.body.as_ref()?.lines.get(number)
    }

    fn make_lines(&mut self, columns: usize, theme: Theme, expanded: bool) -> Vec<Line<'static>> {
        let plain = |text: &str, meaning: Meaning| {
            let pieces = [Piece::new(clean(text), theme.style(meaning))];
            wrap(&pieces, columns, &Margin::default(), Break::Words)
        };
        match &self.kind {
            Kind::User { text, delivery, .. } => {
                let mut lines = plain(text, Meaning::Text);
                if let Some(Delivery::Failed(why)) = delivery {
                    lines.extend(plain(&format!("not sent: {why}"), Meaning::Bad));
                }
                lines
            }
            Kind::Assistant { text, end, .. } => {
                let mut lines = match end {
                    _ if text.is_empty() => Vec::new(),
                    End::Running => self
                        .growing
                        .get_or_insert_default()
                        .lines(text, columns, theme),
                    _ => render(text, columns, theme),
                };
                if *end != End::Running {
                    self.growing = None;
                }
                match end {
                    End::Stopped => lines.extend(plain("stopped", Meaning::Warn)),
                    End::Failed(why) => {
                        lines.extend(plain(&format!("failed: {why}"), Meaning::Bad))
                    }
                    End::Silent => lines.extend(plain(
                        "no news of this answer since the link came back",
                        Meaning::Warn,
                    )),
                    End::Running | End::Done => {}
                }
                lines
            }
            Kind::Tool(tool) => match &tool.result {
                Some(result) if expanded && !result.is_empty() => plain(result, Meaning::Dim),
                _ => Vec::new(),
            },
            Kind::System(text) => plain(text, Meaning::Dim),
            Kind::Note { text, bad, .. } => {
                plain(text, if *bad { Meaning::Bad } else { Meaning::Dim })
            }
        }
    }
}
