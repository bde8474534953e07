//! Paints the link line and the link page.

use std::time::{Duration, Instant};

use clawline::layer::{Layer, LayerError, LayerRow, RowState};
use clawline::tunnel::status::TunnelStatus;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::state::LinkState;
use crate::theme::{Meaning, Theme};
use crate::widgets::text::{cut, one_line, put, put_line, width};
use crate::widgets::wrap::{Break, Margin, Piece, wrap};

/// What else the line shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extra {
    /// Messages that wait on the laptop.
    pub(crate) outbox: usize,
    /// For countdowns.
    pub(crate) now: Instant,
    /// For the spinner.
    pub(crate) frame: u64,
}

/// A layer's name for people.
pub(crate) fn layer_name(layer: Layer) -> &'static str {
    match layer {
        Layer::Dns => "name",
        Layer::Tcp => "tcp",
        Layer::Ssh => "SSH",
        Layer::HostKey => "host key",
        Layer::SignIn => "sign-in",
        Layer::Forward => "forward",
        Layer::Port => "gateway",
        Layer::Websocket => "websocket",
        Layer::Hello => "hello",
        Layer::Token => "token",
        Layer::Pairing => "pairing",
    }
}

/// A round trip in whole milliseconds.
pub(crate) fn milliseconds(time: Duration) -> String {
    match time.as_millis() {
        0 => "<1 ms".to_owned(),
        ms => format!("{ms} ms"),
    }
}

/// `1st`, `2nd`, `3rd`, `4th`.
fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (1, n) if n != 11 => "st",
        (2, n) if n != 12 => "nd",
        (3, n) if n != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// A part of the line behind the names.
struct Part {
    /// Those with a higher number go first when room is short; 0 and 1 stay.
    rank: u8,
    text: String,
    /// Instead, when room is short.
    short: Option<String>,
    meaning: Meaning,
}

impl Part {
    fn new(rank: u8, text: impl Into<String>, meaning: Meaning) -> Self {
        Self {
            rank,
            text: text.into(),
            short: None,
            meaning,
        }
    }
}

fn parts(link: &LinkState, extra: Extra, theme: Theme) -> Vec<Part> {
    let down = theme.sign("◌ ", "");
    let words = |why: &LayerError| {
        let text = if why.peer_text.is_empty() {
            &why.what
        } else {
            &why.peer_text
        };
        Part::new(
            1,
            format!("{}: {}", layer_name(why.layer), one_line(text)),
            Meaning::Text,
        )
    };
    let mut parts = match &link.status {
        TunnelStatus::Up { .. } => {
            let rtt = link
                .rtt
                .map(|rtt| format!(" {}", milliseconds(rtt)))
                .unwrap_or_default();
            let mut parts = vec![Part::new(
                0,
                format!("{}linked{rtt}", theme.sign("● ", "")),
                Meaning::Good,
            )];
            if let Some(version) = &link.gateway {
                parts.push(Part::new(
                    4,
                    format!("gateway {}", one_line(version)),
                    Meaning::Dim,
                ));
            }
            parts
        }
        TunnelStatus::Connecting { layer, attempt } => {
            let mut text = format!(
                "{} connecting: {}",
                theme.spinner(extra.frame),
                layer_name(*layer)
            );
            if *attempt > 1 {
                text.push_str(&format!(" ({} try)", ordinal(*attempt)));
            }
            vec![Part::new(0, text, Meaning::Warn)]
        }
        TunnelStatus::Waiting {
            until,
            why,
            attempt,
        } => {
            // Rounded up: "again in 0 s" would be a lie for most of a second.
            let left = until
                .saturating_duration_since(extra.now)
                .as_millis()
                .div_ceil(1000);
            let mut again = Part::new(
                2,
                format!("again in {left} s ({} try)", ordinal(*attempt)),
                Meaning::Dim,
            );
            again.short = Some(format!("again in {left} s"));
            vec![
                Part::new(0, format!("{down}no link"), Meaning::Bad),
                words(why),
                again,
                Part::new(3, "Ctrl+R now", Meaning::Dim),
            ]
        }
        TunnelStatus::Attention { why } => vec![
            Part::new(0, format!("{down}needs you"), Meaning::Bad),
            words(why),
            Part::new(2, "Ctrl+T shows what to do", Meaning::Dim),
        ],
        TunnelStatus::Failed { why } => vec![
            Part::new(0, format!("{down}no link"), Meaning::Bad),
            words(why),
            Part::new(2, "Ctrl+T shows why", Meaning::Dim),
        ],
        TunnelStatus::Paused => vec![
            Part::new(0, format!("{down}paused"), Meaning::Warn),
            Part::new(2, "Ctrl+R connects", Meaning::Dim),
        ],
        TunnelStatus::Stopped => vec![Part::new(0, format!("{down}stopped"), Meaning::Dim)],
    };
    let (rank, meaning) = if extra.outbox > 0 {
        (0, Meaning::Warn)
    } else {
        (5, Meaning::Dim)
    };
    parts.push(Part::new(rank, format!("outbox {}", extra.outbox), meaning));
    parts
}

fn total(parts: &[Part], gap: usize) -> usize {
    let text: usize = parts.iter().map(|part| width(&part.text)).sum();
    text + gap * parts.len().saturating_sub(1)
}

/// Makes the parts fit: closer together, shorter, fewer, and at last the peer's words cut.
fn fit(parts: &mut Vec<Part>, room: usize) -> usize {
    const WIDE_GAP: usize = 3;
    const GAP: usize = 2;
    if total(parts, WIDE_GAP) <= room {
        return WIDE_GAP;
    }
    if total(parts, GAP) <= room {
        return GAP;
    }
    for part in parts.iter_mut() {
        if let Some(short) = part.short.take() {
            part.text = short;
        }
    }
    while total(parts, GAP) > room
        && let Some(worst) = parts
            .iter()
            .map(|part| part.rank)
            .max()
            .filter(|rank| *rank > 1)
    {
        parts.retain(|part| part.rank != worst);
    }
    if let Some(over) = total(parts, GAP).checked_sub(room).filter(|over| *over > 0)
        && let Some(words) = parts.iter_mut().find(|part| part.rank == 1)
    {
        words.text = cut(&words.text, width(&words.text).saturating_sub(over));
    }
    GAP
}

/// Paints the first line of the screen.
pub(crate) fn draw_line(
    link: &LinkState,
    extra: Extra,
    theme: Theme,
    area: Rect,
    buf: &mut Buffer,
) {
    let room = usize::from(area.width);
    let name = one_line(&link.name);
    let target = one_line(&link.target);
    // When the link is down, its words need the room.
    let enough = if link.why().is_some() { 100 } else { 60 };
    let mut x = area.x + 1;
    x += put(
        buf,
        area,
        x,
        area.y,
        &cut(&name, room / 3),
        theme.style(Meaning::Accent),
    );
    if target != name && room >= enough {
        x += 2;
        x += put(
            buf,
            area,
            x,
            area.y,
            &cut(&target, room / 3),
            theme.style(Meaning::Dim),
        );
    }
    let left = usize::from(area.right().saturating_sub(x)).saturating_sub(3);
    let mut parts = parts(link, extra, theme);
    let gap = fit(&mut parts, left);
    let start = left.saturating_sub(total(&parts, gap)) + 2;
    let gap = u16::try_from(gap).unwrap_or(2);
    let mut x = x.saturating_add(u16::try_from(start).unwrap_or(0));
    for part in &parts {
        x += put(buf, area, x, area.y, &part.text, theme.style(part.meaning)) + gap;
    }
}

fn state_sign(row: &LayerRow, theme: Theme, frame: u64) -> (&'static str, Meaning) {
    match row.state {
        RowState::Ok => (theme.sign("✓", "ok"), Meaning::Good),
        RowState::Failed => (theme.sign("✗", "!!"), Meaning::Bad),
        RowState::Busy => (theme.spinner(frame), Meaning::Warn),
        RowState::Waiting => (theme.sign("·", ".."), Meaning::Dim),
        RowState::Skipped => (theme.sign("-", "--"), Meaning::Dim),
    }
}

fn row_detail(row: &LayerRow) -> String {
    match (row.state, row.detail.is_empty()) {
        (RowState::Waiting, true) => "waiting".to_owned(),
        (RowState::Skipped, true) => "not used on this way".to_owned(),
        (RowState::Busy, true) => "under way".to_owned(),
        _ => one_line(&row.detail),
    }
}

/// The lines of the link page: a row a layer, then the next step and what was found on the way.
pub(crate) fn page_lines(
    link: &LinkState,
    extra: Extra,
    theme: Theme,
    columns: usize,
) -> Vec<Line<'static>> {
    const NAME: usize = 11;
    const TIME: usize = 9;
    let mut lines = Vec::new();
    for row in link.rows.rows() {
        let (sign, meaning) = state_sign(row, theme, extra.frame);
        let time = row.ms.map(|ms| format!("{ms} ms")).unwrap_or_default();
        let sign_width = width(sign).max(1);
        let text_room = columns.saturating_sub(sign_width + 1 + NAME + TIME);
        let text_style = match row.state {
            RowState::Failed => theme.style(Meaning::Text),
            RowState::Waiting | RowState::Skipped => theme.style(Meaning::Dim),
            RowState::Ok | RowState::Busy => Style::new(),
        };
        let detail = row_detail(row);
        let pieces = [Piece::new(detail, text_style)];
        let wrapped = wrap(&pieces, text_room.max(8), &Margin::default(), Break::Words);
        for (number, part) in wrapped.into_iter().enumerate() {
            let (sign, name, time) = if number == 0 {
                (sign, layer_name(row.layer), time.as_str())
            } else {
                ("", "", "")
            };
            let mut spans = vec![
                Span::styled(format!("{sign:sign_width$} "), theme.style(meaning)),
                Span::styled(format!("{name:NAME$}"), theme.style(Meaning::Text)),
            ];
            let used = part.width();
            spans.extend(part.spans);
            let gap = text_room.saturating_sub(used) + TIME.saturating_sub(width(time));
            spans.push(Span::styled(
                format!("{}{time}", " ".repeat(gap)),
                theme.style(Meaning::Dim),
            ));
            lines.push(Line::from(spans));
        }
    }
    lines.extend(said("", "", Meaning::Text, columns, theme));
    if let Some(why) = link.why() {
        lines.extend(trouble_lines(why, columns, theme));
    }
    let mut say = |label: &str, text: &str, meaning: Meaning| {
        lines.extend(said(label, text, meaning, columns, theme));
    };
    if let Some(request) = &link.pairing_request {
        say(
            "pairing",
            &format!(
                "request {request} waits for an approval; on the gateway's host, one of these:"
            ),
            Meaning::Text,
        );
        lines.extend(commands(request, columns, theme));
    }
    let mut say = |label: &str, text: &str, meaning: Meaning| {
        lines.extend(said(label, text, meaning, columns, theme));
    };
    if link.pairing_request.is_some() {
        say(
            "",
            "it is tried again by itself; Ctrl+R tries now",
            Meaning::Dim,
        );
    }
    match &link.status {
        TunnelStatus::Waiting { .. } => say(
            "",
            "it is tried again by itself; Ctrl+R tries now",
            Meaning::Dim,
        ),
        TunnelStatus::Attention { .. } if link.pairing_request.is_none() => {
            say("", "Ctrl+R tries again", Meaning::Dim)
        }
        _ => {}
    }
    if let Some(version) = &link.gateway {
        let protocol = link
            .protocol
            .map(|protocol| format!(", protocol {}", protocol.number()));
        say(
            "gateway",
            &format!("{version}{}", protocol.unwrap_or_default()),
            Meaning::Text,
        );
    }
    for (number, note) in link.notes.iter().enumerate() {
        say(if number == 0 { "notes" } else { "" }, note, Meaning::Dim);
    }
    lines
}

/// What is wrong, the peer's own words, and the next step.
pub(crate) fn trouble_lines(why: &LayerError, columns: usize, theme: Theme) -> Vec<Line<'static>> {
    [
        ("what", &why.what, Meaning::Bad),
        ("it said", &why.peer_text, Meaning::Text),
        ("next", &why.next, Meaning::Text),
    ]
    .into_iter()
    .filter(|(_, text, _)| !text.is_empty())
    .flat_map(|(label, text, meaning)| said(label, text, meaning, columns, theme))
    .collect()
}

/// A text behind its label.
fn said(
    label: &str,
    text: &str,
    meaning: Meaning,
    columns: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    const LABEL: usize = 13;
    let margin = Margin {
        first: vec![Piece::new(
            format!("{label:LABEL$}"),
            theme.style(Meaning::Dim),
        )],
        rest: vec![Piece::new(" ".repeat(LABEL), Style::new())],
    };
    let pieces = [Piece::new(
        crate::widgets::text::clean(text),
        theme.style(meaning),
    )];
    wrap(&pieces, columns, &margin, Break::Words)
}

/// The commands that approve a pairing request, each whole on its line where it fits, to be copied.
fn commands(request: &str, columns: usize, theme: Theme) -> Vec<Line<'static>> {
    let margin = Margin {
        first: vec![Piece::new("  ", Style::new())],
        rest: vec![Piece::new("    ", Style::new())],
    };
    let request = one_line(request);
    [
        format!("clawline-gateway devices approve {request}"),
        format!("openclaw devices approve {request}"),
    ]
    .iter()
    .flat_map(|command| {
        let pieces = [Piece::new(command.as_str(), theme.style(Meaning::Code))];
        wrap(&pieces, columns, &margin, Break::Words)
    })
    .collect()
}

/// Paints lines from `scroll` on; one column free on each side.
pub(crate) fn draw_lines(lines: &[Line<'static>], scroll: u16, area: Rect, buf: &mut Buffer) {
    let most = lines.len().saturating_sub(usize::from(area.height));
    let first = usize::from(scroll).min(most);
    for (line, y) in lines.iter().skip(first).zip(area.top()..area.bottom()) {
        put_line(buf, area, area.x + 1, y, line);
    }
}
