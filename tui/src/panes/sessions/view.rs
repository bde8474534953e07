//! Paints the sessions: a column, or one line.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::state::Sessions;
use crate::theme::{Meaning, Theme};
use crate::widgets::text::{cut, put, put_right, width};

/// `now`, `3m`, `1h`, `6d`.
pub(crate) fn age(now_ms: i64, at_ms: i64) -> String {
    if at_ms <= 0 {
        return String::new();
    }
    let seconds = now_ms.saturating_sub(at_ms) / 1000;
    match seconds {
        ..60 => "now".to_owned(),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What the painters need beside the sessions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    /// The session on screen.
    pub(crate) current: &'a str,
    /// The list has the focus.
    pub(crate) focused: bool,
    /// For ages.
    pub(crate) now_ms: i64,
    /// For spinners.
    pub(crate) frame: u64,
    /// How things look.
    pub(crate) theme: Theme,
}

/// Paints the column.
pub(crate) fn draw_column(sessions: &Sessions, look: Look<'_>, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    if sessions.items.is_empty() {
        let text = match &sessions.trouble {
            Some(words) => words.as_str(),
            None => "none yet",
        };
        put(
            buf,
            area,
            area.x + 1,
            area.y,
            text,
            theme.style(Meaning::Dim),
        );
        return;
    }
    let height = usize::from(area.height);
    let mark = if look.focused {
        sessions.selected
    } else {
        sessions
            .items
            .iter()
            .position(|item| item.key == look.current)
            .unwrap_or(0)
    };
    let first = mark.saturating_sub(height.saturating_sub(1));
    for ((at, item), y) in sessions
        .items
        .iter()
        .enumerate()
        .skip(first)
        .zip(area.top()..area.bottom())
    {
        let current = item.key == look.current;
        let unread = sessions.unread.contains(&item.key);
        let selected = look.focused && at == sessions.selected;
        let style = if selected {
            theme.style(Meaning::Selected)
        } else if current || unread {
            theme.style(Meaning::Heading)
        } else {
            theme.style(Meaning::Text)
        };
        if selected {
            buf.set_style(
                Rect {
                    y,
                    height: 1,
                    ..area
                },
                style,
            );
        }
        let sign = if sessions.is_running(&item.key) && theme.is_plain() {
            "~"
        } else if sessions.is_running(&item.key) {
            theme.spinner(look.frame)
        } else if unread {
            theme.sign("+", "+")
        } else if current {
            theme.sign("●", "*")
        } else {
            " "
        };
        let sign_style = if selected {
            style
        } else {
            theme.style(Meaning::Accent)
        };
        put(buf, area, area.x + 1, y, &cut(sign, 1), sign_style);
        let age = age(look.now_ms, item.at);
        let row = Rect {
            x: area.x + 3,
            width: area.width.saturating_sub(4),
            y,
            height: 1,
        };
        let room = usize::from(row.width).saturating_sub(width(&age) + 1);
        put(buf, row, row.x, y, &cut(&item.name, room), style);
        let age_style = if selected {
            style
        } else {
            theme.style(Meaning::Dim)
        };
        put_right(buf, row, y, &age, age_style);
    }
}

/// Paints the one line of a narrow screen: where we are, and what is new elsewhere.
pub(crate) fn draw_strip(sessions: &Sessions, look: Look<'_>, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let hint = "Ctrl+P sessions";
    let end = put_right(
        buf,
        Rect {
            width: area.width.saturating_sub(1),
            ..area
        },
        area.y,
        hint,
        theme.style(Meaning::Dim),
    );
    let room = Rect {
        width: end.saturating_sub(area.x + 2),
        ..area
    };
    let name = sessions.get(look.current).map_or_else(
        || clawline::protocol::methods::sessions::short_key(look.current).to_owned(),
        |item| item.name.clone(),
    );
    let name = crate::widgets::text::one_line(&name);
    let mut x = area.x + 1;
    x += put(
        buf,
        room,
        x,
        area.y,
        &cut(&name, usize::from(room.width) / 2),
        theme.style(Meaning::Heading),
    );
    let elsewhere: Vec<&str> = sessions
        .items
        .iter()
        .filter(|item| item.key != look.current && sessions.unread.contains(&item.key))
        .map(|item| item.name.as_str())
        .collect();
    if elsewhere.is_empty() {
        if sessions.items.len() > 1 {
            let text = format!("{} sessions", sessions.items.len());
            put(buf, room, x + 3, area.y, &text, theme.style(Meaning::Dim));
        }
        return;
    }
    let text = format!("new in {}", elsewhere.join(", "));
    put(
        buf,
        room,
        x + 3,
        area.y,
        &text,
        theme.style(Meaning::Accent),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (ms, text) in [
            (0, "now"),
            (59_000, "now"),
            (180_000, "3m"),
            (7_200_000, "2h"),
            (600_000_000, "6d"),
        ] {
            assert_eq!(age(1_000_000_000_000, 1_000_000_000_000 - ms), text);
        }
        assert_eq!(age(5, 0), "");
    }
}
