//! Paints the pages: link, health, help.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::model::Model;
use super::overlay::Overlay;
use super::view::{health_beside, link_extra};
use crate::commands::COMMANDS;
use crate::keys::{Context, KEYS, name};
use crate::panes::{health, link};
use crate::theme::{Meaning, Theme};
use crate::widgets::text::{cut, put};

/// Paints a page under its heading.
pub(super) fn draw(model: &Model, overlay: &Overlay, area: Rect, buf: &mut Buffer) {
    let theme = model.theme;
    let columns = usize::from(area.width.saturating_sub(2));
    let (title, lines, scroll) = match overlay {
        Overlay::Link(page) => (
            "Link",
            link::view::page_lines(&model.link, link_extra(model), theme, columns),
            page.scroll,
        ),
        Overlay::Health(page) => (
            "Health",
            health::view::page_lines(&model.health, health_beside(model), theme, columns),
            page.scroll,
        ),
        Overlay::Help(page) => ("Keys and commands", help_lines(theme, columns), page.scroll),
        Overlay::Picker(_) => return,
    };
    let rule = theme.rule().repeat(usize::from(area.width));
    put(buf, area, area.x, area.y, &rule, theme.style(Meaning::Dim));
    let heading = format!(" {title} ");
    put(
        buf,
        area,
        area.x + 1,
        area.y,
        &heading,
        theme.style(Meaning::Heading),
    );
    let inside = Rect {
        y: area.y + 1,
        height: area.height.saturating_sub(1),
        ..area
    };
    link::view::draw_lines(&lines, scroll, inside, buf);
}

/// Help, made from the tables of keys and commands.
fn help_lines(theme: Theme, columns: usize) -> Vec<Line<'static>> {
    const NAME: usize = 16;
    let mut lines = Vec::new();
    let mut row = |name: &str, help: &str| {
        lines.push(Line::from(vec![
            Span::styled(format!("  {name:NAME$}"), theme.style(Meaning::Code)),
            Span::styled(
                cut(help, columns.saturating_sub(NAME + 2)),
                theme.style(Meaning::Text),
            ),
        ]));
    };
    let mut headings = Vec::new();
    let mut count = 0;
    for context in Context::ALL {
        headings.push((count, context.title()));
        for key in KEYS
            .iter()
            .filter(|key| key.context == context && !key.help.is_empty())
        {
            row(&name(key), key.help);
            count += 1;
        }
    }
    headings.push((count, "Commands"));
    for entry in COMMANDS {
        let first = entry.names.first().copied().unwrap_or_default();
        row(
            format!("/{first} {}", entry.argument).trim_end(),
            entry.help,
        );
    }
    headings.push((COMMANDS.len() + count, "Mouse"));
    row("wheel", "scrolls; hold Shift to select text with the mouse");
    row(
        "",
        "ui.mouse: false in the config leaves the mouse to the terminal",
    );
    let mut out = Vec::new();
    for (at, line) in lines.into_iter().enumerate() {
        if let Some((_, title)) = headings.iter().find(|(start, _)| *start == at) {
            if at > 0 {
                out.push(Line::default());
            }
            out.push(Line::from(Span::styled(
                *title,
                theme.style(Meaning::Heading),
            )));
        }
        out.push(line);
    }
    out
}
