//! Paints health: a few rows under the sessions, or a page.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::state::Health;
use crate::panes::link::view::milliseconds;
use crate::theme::{Meaning, Theme};
use crate::widgets::text::{one_line, put};

/// What health shows that other panes know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beside {
    /// Runs under way here.
    pub(crate) runs: usize,
    /// Whether there is a link.
    pub(crate) linked: bool,
}

/// Round trips as small bars, the newest on the right.
fn bars(health: &Health, columns: usize, theme: Theme) -> String {
    const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
    if theme.is_plain() {
        return String::new();
    }
    let skip = health.round_trips.len().saturating_sub(columns);
    let shown: Vec<Duration> = health.round_trips.iter().skip(skip).copied().collect();
    // Without a floor, a jitter of microseconds would look like an outage.
    let highest = shown
        .iter()
        .max()
        .copied()
        .unwrap_or_default()
        .max(Duration::from_millis(40));
    shown
        .iter()
        .filter_map(|time| {
            let level = time.as_micros() * 7 / highest.as_micros().max(1);
            BARS.get(usize::try_from(level).unwrap_or(7)).copied()
        })
        .collect()
}

/// Rows of a name and a value.
fn rows(health: &Health, beside: Beside) -> Vec<(&'static str, String, Meaning)> {
    let rtt = health
        .round_trips
        .back()
        .map(|time| milliseconds(*time))
        .unwrap_or_default();
    let state = match (&health.trouble, &health.last) {
        (Some(words), _) => (words.clone(), Meaning::Bad),
        (None, Some(reply)) if reply.ok => (format!("ok  {rtt}"), Meaning::Good),
        (None, Some(_)) => (format!("not well  {rtt}"), Meaning::Bad),
        (None, None) if beside.linked => ("asking".to_owned(), Meaning::Dim),
        (None, None) => ("no link".to_owned(), Meaning::Bad),
    };
    let mut rows = vec![("gateway", one_line(&state.0), state.1)];
    rows.push(("runs", beside.runs.to_string(), Meaning::Text));
    if let Some(reply) = &health.last {
        rows.push(("sessions", reply.sessions.count.to_string(), Meaning::Text));
        let channels = reply.channels.len();
        if channels > 0 {
            rows.push(("channels", channels.to_string(), Meaning::Text));
        }
    }
    if health.present > 0 {
        rows.push(("connected", health.present.to_string(), Meaning::Text));
    }
    rows
}

/// Paints the rows under the sessions.
pub(crate) fn draw_column(
    health: &Health,
    beside: Beside,
    theme: Theme,
    area: Rect,
    buf: &mut Buffer,
) {
    let mut y = area.y;
    for (number, (name, value, meaning)) in rows(health, beside).into_iter().enumerate() {
        if y >= area.bottom() {
            return;
        }
        put(buf, area, area.x + 1, y, name, theme.style(Meaning::Text));
        put(buf, area, area.x + 11, y, &value, theme.style(meaning));
        y += 1;
        let bars = bars(health, usize::from(area.width.saturating_sub(2)), theme);
        if number == 0 && !bars.is_empty() {
            put(
                buf,
                area,
                area.x + 1,
                y,
                &bars,
                theme.style(Meaning::Accent),
            );
            y += 1;
        }
    }
}

/// The lines of the page.
pub(crate) fn page_lines(
    health: &Health,
    beside: Beside,
    theme: Theme,
    columns: usize,
) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = rows(health, beside)
        .into_iter()
        .map(|(name, value, meaning)| {
            Line::from(vec![
                Span::styled(format!("{name:13}"), theme.style(Meaning::Text)),
                Span::styled(value, theme.style(meaning)),
            ])
        })
        .collect();
    if let Some(reply) = &health.last {
        let name = one_line(&reply.default_agent_id);
        if !name.is_empty() {
            lines.push(Line::from(format!("{:13}{name}", "agent")));
        }
        let path = one_line(&reply.sessions.path);
        if !path.is_empty() {
            lines.push(Line::from(format!("{:13}{path}", "store")));
        }
        for id in &reply.channel_order {
            lines.push(Line::from(format!("{:13}{}", "channel", one_line(id))));
        }
    }
    let bars = bars(health, columns.saturating_sub(13).min(60), theme);
    if !bars.is_empty() {
        lines.push(Line::default());
        lines.push(Line::from(vec![
            Span::styled(format!("{:13}", "round trips"), theme.style(Meaning::Text)),
            Span::styled(bars, theme.style(Meaning::Accent)),
        ]));
        let highest = health.round_trips.iter().max().copied().unwrap_or_default();
        let lowest = health.round_trips.iter().min().copied().unwrap_or_default();
        lines.push(Line::from(Span::styled(
            format!(
                "{:13}{} to {}",
                "",
                milliseconds(lowest),
                milliseconds(highest)
            ),
            theme.style(Meaning::Dim),
        )));
    }
    lines
}
