//! Paints the transcript and the input.

use std::time::Instant;

use clawline::layer::LayerError;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::widgets::Widget as _;

use super::entry::{Entry, Kind, Tool, ToolEnd};
use super::layout::{Row, gutter};
use super::state::{Chat, Load, agent_of};
use crate::outbox::Delivery;
use crate::panes::link::view::trouble_lines;
use crate::theme::{Meaning, Theme};
use crate::widgets::text::{cut, one_line, put, put_line, put_right, width};

/// What the painters need beside the chat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    /// How things look.
    pub(crate) theme: Theme,
    /// For the times of messages.
    pub(crate) time_zone: &'a TimeZone,
    /// For durations.
    pub(crate) now: Instant,
    /// For spinners.
    pub(crate) frame: u64,
    /// There is a link.
    pub(crate) linked: bool,
    /// Why there is none.
    pub(crate) trouble: Option<&'a LayerError>,
}

fn clock(at: Option<i64>, time_zone: &TimeZone) -> String {
    let time = at.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    time.map(|time| {
        time.to_zoned(time_zone.clone())
            .strftime("%H:%M")
            .to_string()
    })
    .unwrap_or_default()
}

/// Paints the transcript. `Chat::layout` has said what is visible.
pub(crate) fn draw(chat: &Chat, look: Look<'_>, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    if chat.is_empty() {
        draw_empty(chat, look, area, buf);
    }
    let text_x = area.x + gutter(area.width);
    for (row, y) in chat.visible.rows.iter().zip(area.top()..area.bottom()) {
        match row {
            Row::Gap => {}
            Row::Head(at) => {
                if let Some(entry) = chat.entry(*at) {
                    draw_head(
                        chat,
                        entry,
                        look,
                        Rect {
                            y,
                            height: 1,
                            ..area
                        },
                        buf,
                    );
                }
            }
            Row::Tool(at) => {
                if let Some(Entry {
                    kind: Kind::Tool(tool),
                    ..
                }) = chat.entry(*at)
                {
                    draw_tool(
                        tool,
                        chat.expanded,
                        look,
                        Rect {
                            y,
                            height: 1,
                            ..area
                        },
                        buf,
                    );
                }
            }
            Row::Line(at, number) => {
                let Some(entry) = chat.entry(*at) else {
                    continue;
                };
                if let Some(line) = entry.line(*number) {
                    put_line(buf, area, text_x, y, line);
                }
                if *number == 0
                    && matches!(entry.kind, Kind::Note { .. } | Kind::System(_))
                    && area.width >= 60
                {
                    let time = clock(entry.at, look.time_zone);
                    put(buf, area, area.x + 1, y, &time, theme.style(Meaning::Dim));
                }
            }
        }
    }
    if chat.new_below > 0 {
        let text = format!(" {} new {} ", chat.new_below, theme.sign("↓", "below"));
        let y = area.bottom().saturating_sub(1);
        put_right(buf, area, y, &text, theme.style(Meaning::Selected));
    }
}

fn draw_empty(chat: &Chat, look: Look<'_>, area: Rect, buf: &mut Buffer) {
    let (text, meaning) = match (&chat.load, look.linked) {
        (Load::Failed(words), _) => (
            format!("the transcript cannot be read: {words}"),
            Meaning::Bad,
        ),
        (Load::Read, _) => ("nothing said here yet".to_owned(), Meaning::Dim),
        (_, true) => ("reading the transcript".to_owned(), Meaning::Dim),
        (_, false) => (
            "no link yet; what you send now waits in the outbox".to_owned(),
            Meaning::Dim,
        ),
    };
    let x = area.x + gutter(area.width);
    let mut y = area.y + area.height / 3;
    // Whoever has just started the app sees nothing else, and need not know where more is said.
    if let (false, Some(why)) = (look.linked, look.trouble) {
        let room = usize::from(area.right().saturating_sub(x + 1));
        for line in trouble_lines(why, room, look.theme) {
            put_line(buf, area, x, y, &line);
            y += 1;
        }
        y += 1;
    }
    put(buf, area, x, y, &text, look.theme.style(meaning));
}

fn draw_head(chat: &Chat, entry: &Entry, look: Look<'_>, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let time = clock(entry.at, look.time_zone);
    put(
        buf,
        area,
        area.x + 1,
        area.y,
        &time,
        theme.style(Meaning::Dim),
    );
    let name_x = area.x + 8;
    let inside = Rect {
        width: area.width.saturating_sub(1),
        ..area
    };
    match &entry.kind {
        Kind::User { delivery, .. } => {
            put(
                buf,
                inside,
                name_x,
                area.y,
                "you",
                theme.style(Meaning::Heading),
            );
            if let Some(delivery) = delivery {
                let (text, meaning) = delivery_sign(delivery, theme);
                put_right(buf, inside, area.y, text, theme.style(meaning));
            }
        }
        _ => {
            let agent = one_line(agent_of(&chat.session));
            put(
                buf,
                inside,
                name_x,
                area.y,
                &agent,
                theme.style(Meaning::Accent),
            );
            let Some(run) = entry
                .run()
                .and_then(|run| chat.runs.iter().find(|known| known.id == run))
            else {
                return;
            };
            let seconds = look.now.saturating_duration_since(run.since).as_secs();
            let phase = if run.phase.is_empty() {
                String::new()
            } else {
                format!("{}  ", one_line(&run.phase))
            };
            let text = if run.doubtful && !look.linked {
                "waiting for the link".to_owned()
            } else {
                format!("{phase}{} {seconds} s", theme.spinner(look.frame))
            };
            put_right(buf, inside, area.y, &text, theme.style(Meaning::Dim));
        }
    }
}

/// How far a message has come, as a sign with its word where it is not done.
pub(crate) fn delivery_sign(delivery: &Delivery, theme: Theme) -> (&'static str, Meaning) {
    match delivery {
        Delivery::Queued => (theme.sign("⧖ queued", "queued"), Meaning::Warn),
        Delivery::Sent => (theme.sign("↑ sent", "sent"), Meaning::Dim),
        Delivery::Accepted => (theme.sign("✓", "accepted"), Meaning::Good),
        Delivery::Failed(_) => (theme.sign("✗ not sent", "not sent"), Meaning::Bad),
    }
}

fn draw_tool(tool: &Tool, expanded: bool, look: Look<'_>, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let inside = Rect {
        width: area.width.saturating_sub(1),
        ..area
    };
    let took = |ms: Option<u64>| match ms {
        Some(ms) if ms >= 1000 => format!("{}.{} s ", ms / 1000, ms % 1000 / 100),
        Some(ms) => format!("{ms} ms "),
        None => String::new(),
    };
    let (state, meaning) = match tool.end {
        ToolEnd::Running(since) => {
            let seconds = look.now.saturating_duration_since(since).as_secs();
            (
                format!("{} {seconds} s", theme.spinner(look.frame)),
                Meaning::Dim,
            )
        }
        ToolEnd::Good(ms) => (
            format!("{}{}", took(ms), theme.sign("✓", "ok")),
            Meaning::Good,
        ),
        ToolEnd::Bad(ms) => (
            format!("{}{}", took(ms), theme.sign("✗", "failed")),
            Meaning::Bad,
        ),
        ToolEnd::Unknown => (String::new(), Meaning::Dim),
    };
    let end = put_right(buf, inside, area.y, &state, theme.style(meaning));
    let text_x = area.x + gutter(area.width);
    let sign = if expanded {
        theme.sign("▾", "-")
    } else {
        theme.sign("▸", "+")
    };
    put(
        buf,
        inside,
        text_x.saturating_sub(2),
        area.y,
        sign,
        theme.style(Meaning::Dim),
    );
    let room = usize::from(end.saturating_sub(text_x + 1));
    let name = cut(&one_line(&tool.name), room);
    let used = put(
        buf,
        inside,
        text_x,
        area.y,
        &name,
        theme.style(Meaning::Accent),
    );
    let room = room.saturating_sub(width(&name) + 2);
    let arguments = cut(&tool.arguments, room);
    put(
        buf,
        inside,
        text_x + used + 2,
        area.y,
        &arguments,
        theme.style(Meaning::Dim),
    );
}

/// Paints the input behind its mark; returns where the cursor belongs.
pub(crate) fn draw_composer(
    chat: &Chat,
    offline: bool,
    look: Look<'_>,
    area: Rect,
    buf: &mut Buffer,
) -> Position {
    let theme = look.theme;
    put(
        buf,
        area,
        area.x + 1,
        area.y,
        ">",
        theme.style(Meaning::Accent),
    );
    let inner = composer_area(area);
    let editor = chat.composer.area();
    if chat.composer.is_empty() {
        let words = if offline {
            "no link: what you send waits in the outbox and goes out by itself"
        } else {
            "ask about it, or type / for commands"
        };
        put(
            buf,
            inner,
            inner.x,
            inner.y,
            words,
            theme.style(Meaning::Dim),
        );
        return Position::new(inner.x, inner.y);
    }
    editor.render(inner, buf);
    let cursor = editor.screen_cursor();
    let (top, _) = editor.scroll_offset();
    let row = u16::try_from(cursor.row)
        .unwrap_or(u16::MAX)
        .saturating_sub(top);
    let column = u16::try_from(cursor.col).unwrap_or(u16::MAX);
    Position::new(
        inner
            .x
            .saturating_add(column)
            .min(inner.right().saturating_sub(1)),
        inner
            .y
            .saturating_add(row)
            .min(inner.bottom().saturating_sub(1)),
    )
}

/// Where the text of the input goes.
pub(crate) fn composer_area(area: Rect) -> Rect {
    Rect {
        x: area.x + 3,
        width: area.width.saturating_sub(4),
        ..area
    }
}
