//! Paints the screen: reads the model, nothing else.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::model::{Focus, MIN_COLUMNS, MIN_ROWS, Model};
use super::overlay::Overlay;
use super::update::is_offline;
use super::{dialogs, pages};
use crate::panes::chat::view as chat_view;
use crate::panes::{health, link, sessions};
use crate::theme::Meaning;
use crate::widgets::text::{cut, one_line, put, put_right, width};

/// Columns of the sessions beside the chat.
const SIDE: u16 = 23;
/// Rows of health under the sessions, with its heading.
const HEALTH_ROWS: u16 = 7;
/// Most rows of the input.
const MAX_COMPOSER: u16 = 8;

/// Where everything goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Areas {
    /// The link line.
    pub(crate) link: Rect,
    /// The heading of the chat, or the strip of sessions.
    pub(crate) heading: Rect,
    /// The sessions, empty when narrow.
    pub(crate) sessions: Rect,
    /// Health under them, empty when narrow.
    pub(crate) health: Rect,
    /// The transcript.
    pub(crate) chat: Rect,
    /// The rule above the input.
    pub(crate) rule: Rect,
    /// The input.
    pub(crate) composer: Rect,
    /// Hints or a remark.
    pub(crate) hints: Rect,
    /// Everything between the link line and the hints, for pages.
    pub(crate) body: Rect,
}

/// Works out where everything goes.
pub(crate) fn areas(model: &Model) -> Areas {
    let (columns, rows) = model.size;
    let row = |y: u16, height: u16| Rect::new(0, y, columns, height);
    let most = (rows / 3).clamp(1, MAX_COMPOSER);
    let wanted = model.chat.composer.height(columns.saturating_sub(4));
    let composer = wanted.clamp(1, most);
    let hints_y = rows.saturating_sub(1);
    let composer_y = hints_y.saturating_sub(composer);
    let rule_y = composer_y.saturating_sub(1);
    let top = 2;
    let middle = row(top, rule_y.saturating_sub(top));
    let side = if model.is_wide() { SIDE } else { 0 };
    let health_rows = if side > 0 {
        HEALTH_ROWS.min(middle.height / 2)
    } else {
        0
    };
    let chat_x = if side > 0 { side + 1 } else { 0 };
    Areas {
        link: row(0, 1),
        heading: row(1, 1),
        sessions: Rect::new(0, middle.y, side, middle.height - health_rows),
        health: Rect::new(0, middle.y + middle.height - health_rows, side, health_rows),
        chat: Rect::new(
            chat_x,
            middle.y,
            columns.saturating_sub(chat_x),
            middle.height,
        ),
        rule: row(rule_y, 1),
        composer: row(composer_y, composer),
        hints: row(hints_y, 1),
        body: row(1, hints_y.saturating_sub(1)),
    }
}

/// Works out what is visible. Call it before every draw.
pub(crate) fn layout(model: &mut Model) {
    let chat = areas(model).chat;
    let theme = model.theme;
    model.chat.layout(chat.width, chat.height, theme);
}

/// Paints everything; returns where the cursor belongs, if it is shown.
pub(crate) fn draw(model: &Model, buf: &mut Buffer) -> Option<Position> {
    if model.is_tiny() {
        draw_tiny(model, buf);
        return None;
    }
    if let Some(question) = model.questions.front() {
        let areas = areas(model);
        draw_link(model, areas.link, buf);
        return dialogs::draw_question(question, model.theme, areas.body, buf);
    }
    if let Some(screen) = &model.first_run {
        return dialogs::draw_first_run(screen, model.theme, buf);
    }
    let areas = areas(model);
    draw_link(model, areas.link, buf);
    let cursor = match &model.overlay {
        None => {
            let cursor = draw_main(model, areas, buf);
            (model.focus == Focus::Composer).then_some(cursor)
        }
        Some(Overlay::Picker(picker)) => {
            draw_main(model, areas, buf);
            let over = if model.is_wide() {
                areas.chat
            } else {
                areas.body
            };
            dialogs::draw_picker(picker, model.theme, over, buf)
        }
        Some(overlay) => {
            pages::draw(model, overlay, areas.body, buf);
            None
        }
    };
    draw_hints(model, areas.hints, buf);
    cursor
}

fn draw_tiny(model: &Model, buf: &mut Buffer) {
    let (columns, rows) = model.size;
    let text = format!(
        "clawline needs {MIN_COLUMNS} columns and {MIN_ROWS} rows; this terminal has {columns} and {rows}."
    );
    let pieces = [crate::widgets::wrap::Piece::new(text, Style::new())];
    let lines = crate::widgets::wrap::wrap(
        &pieces,
        usize::from(columns.max(1)),
        &crate::widgets::wrap::Margin::default(),
        crate::widgets::wrap::Break::Words,
    );
    let area = buf.area;
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        crate::widgets::text::put_line(buf, area, area.x, y, line);
    }
}

fn draw_link(model: &Model, area: Rect, buf: &mut Buffer) {
    let extra = link_extra(model);
    link::view::draw_line(&model.link, extra, model.theme, area, buf);
}

/// What the link line shows beside the link.
pub(super) fn link_extra(model: &Model) -> link::view::Extra {
    link::view::Extra {
        outbox: model.outbox.waiting(),
        now: model.now.at,
        frame: model.frame,
    }
}

fn draw_main(model: &Model, areas: Areas, buf: &mut Buffer) -> Position {
    let theme = model.theme;
    let look = sessions::view::Look {
        current: &model.chat.session,
        focused: model.focus == Focus::Sessions,
        now_ms: model.now.wall_ms,
        frame: model.frame,
        theme,
    };
    if model.is_wide() {
        draw_frame(model, areas, buf);
        sessions::view::draw_column(&model.sessions, look, areas.sessions, buf);
        let inside = Rect {
            y: areas.health.y + 1,
            height: areas.health.height.saturating_sub(1),
            ..areas.health
        };
        health::view::draw_column(&model.health, health_beside(model), theme, inside, buf);
    } else {
        sessions::view::draw_strip(&model.sessions, look, areas.heading, buf);
        let rule = theme.rule().repeat(usize::from(areas.rule.width));
        put(
            buf,
            areas.rule,
            areas.rule.x,
            areas.rule.y,
            &rule,
            theme.style(Meaning::Dim),
        );
    }
    let look = chat_view::Look {
        theme,
        time_zone: &model.time_zone,
        now: model.now.at,
        frame: model.frame,
        linked: model.is_linked(),
        trouble: model.link.why(),
    };
    chat_view::draw(&model.chat, look, areas.chat, buf);
    let cursor =
        chat_view::draw_composer(&model.chat, is_offline(model), look, areas.composer, buf);
    if let Some(completion) = &model.chat.composer.completion {
        dialogs::draw_completion(completion, theme, areas.chat, buf);
    }
    cursor
}

/// What health shows beside its own.
pub(super) fn health_beside(model: &Model) -> health::view::Beside {
    health::view::Beside {
        runs: model.chat.runs.len(),
        linked: model.is_linked(),
    }
}

/// The lines between the panes, with their headings.
fn draw_frame(model: &Model, areas: Areas, buf: &mut Buffer) {
    let theme = model.theme;
    let dim = theme.style(Meaning::Dim);
    let heading = areas.heading;
    let rule = theme.rule().repeat(usize::from(heading.width));
    put(buf, heading, 0, heading.y, &rule, dim);
    put(buf, areas.rule, 0, areas.rule.y, &rule, dim);
    let title = |name: &str| format!(" {name} ");
    put(buf, heading, 1, heading.y, &title("Sessions"), dim);
    let health_rule = Rect {
        height: 1,
        ..areas.health
    };
    let side_rule = theme.rule().repeat(usize::from(SIDE));
    put(buf, health_rule, 0, health_rule.y, &side_rule, dim);
    put(buf, health_rule, 1, health_rule.y, &title("Health"), dim);
    for y in areas.chat.top()..areas.chat.bottom() {
        put(buf, buf.area, SIDE, y, theme.bar(), dim);
    }
    if !theme.is_plain() {
        put(buf, buf.area, SIDE, heading.y, "┬", dim);
        put(buf, buf.area, SIDE, areas.rule.y, "┴", dim);
        put(buf, buf.area, SIDE, health_rule.y, "┤", dim);
    }
    let item = model.sessions.get(&model.chat.session);
    let name = item.map_or_else(
        || {
            one_line(clawline::protocol::methods::sessions::short_key(
                &model.chat.session,
            ))
        },
        |item| item.name.clone(),
    );
    let mut x = SIDE + 2;
    x += put(
        buf,
        heading,
        x,
        heading.y,
        &title(&cut(&name, 40)),
        theme.style(Meaning::Heading),
    );
    let mut more = vec![format!("agent {}", one_line(model.chat.agent()))];
    more.extend(
        item.map(|item| item.model.clone())
            .filter(|model| !model.is_empty()),
    );
    for text in more {
        x += 1;
        x += put(buf, heading, x, heading.y, &title(&cut(&text, 30)), dim);
    }
    if let Some((used, size)) = item.and_then(|item| item.tokens) {
        let text = format!(" {} / {} ", thousands(used), thousands(size));
        let inside = Rect {
            width: heading.width.saturating_sub(1),
            ..heading
        };
        if usize::from(x) + width(&text) + 1 < usize::from(heading.width) {
            put_right(buf, inside, heading.y, &text, dim);
        }
    }
}

fn thousands(tokens: u64) -> String {
    if tokens >= 1000 {
        format!("{}k", tokens / 1000)
    } else {
        tokens.to_string()
    }
}

/// The last line: a remark, or the keys that matter now.
fn draw_hints(model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = model.theme;
    if let Some((text, _, bad)) = &model.remark {
        let meaning = if *bad { Meaning::Bad } else { Meaning::Warn };
        put(buf, area, area.x + 1, area.y, text, theme.style(meaning));
        return;
    }
    let hints: &[&str] = match (&model.overlay, model.focus) {
        (Some(Overlay::Picker(_)), _) => {
            &["Enter take", "Up Down move", "type to filter", "Esc close"]
        }
        (Some(_), _) => &["Esc close", "Up Down scroll", "r try again"],
        (None, Focus::Sessions) => &["Enter open", "Up Down move", "Tab back", "? help"],
        (None, Focus::Composer) if !model.chat.runs.is_empty() => &[
            "Esc stop",
            "Enter send",
            "Ctrl+J line",
            "Ctrl+P sessions",
            "Ctrl+T link",
            "F1 help",
        ],
        (None, Focus::Composer) => &[
            "Enter send",
            "Ctrl+J line",
            "Ctrl+P sessions",
            "Ctrl+K commands",
            "Ctrl+T link",
            "F1 help",
        ],
    };
    let mut x = area.x + 1;
    let text: usize = hints.iter().map(|hint| width(hint)).sum();
    let roomy = text + 3 * hints.len() < usize::from(area.width);
    for hint in hints {
        // A hint that does not fit whole says nothing.
        if usize::from(area.right().saturating_sub(x)) < width(hint) {
            break;
        }
        x += put(buf, area, x, area.y, hint, theme.style(Meaning::Dim));
        x += if roomy { 3 } else { 2 };
    }
}
