//! Paints questions, pickers, completions and the first-run screen.

use clawline::tunnel::prompt::Prompt;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::model::FirstRun;
use super::overlay::Picker;
use super::prompt::{Asker, HOST_KEY_ANSWERS, Question};
use crate::panes::chat::composer::Completion;
use crate::theme::{Meaning, Theme};
use crate::widgets::text::{clean, cut, cut_front, one_line, put, put_line, put_right, width};
use crate::widgets::wrap::{Break, Margin, Piece, wrap};

/// Widest text of a question.
const QUESTION_COLUMNS: u16 = 76;
/// Under so many rows a question leaves out what is only nice.
const LOW: u16 = 14;
/// Widest picker.
const PICKER_COLUMNS: u16 = 72;
/// Most rows of a picker.
const PICKER_ROWS: u16 = 16;

/// Paints lines one below the other.
struct Writer<'b> {
    buf: &'b mut Buffer,
    area: Rect,
    y: u16,
}

impl Writer<'_> {
    fn text(&mut self, text: &str, style: Style) {
        let pieces = [Piece::new(clean(text), style)];
        let columns = usize::from(self.area.width.max(1));
        for line in wrap(&pieces, columns, &Margin::default(), Break::Words) {
            put_line(self.buf, self.area, self.area.x, self.y, &line);
            self.y += 1;
        }
    }

    fn gap(&mut self) {
        self.y += 1;
    }

    fn pair(&mut self, name: &str, value: &str, theme: Theme) {
        const NAME: u16 = 13;
        put(
            self.buf,
            self.area,
            self.area.x,
            self.y,
            name,
            theme.style(Meaning::Dim),
        );
        let inside = Rect {
            x: self.area.x + NAME,
            width: self.area.width.saturating_sub(NAME),
            ..self.area
        };
        let pieces = [Piece::new(one_line(value), theme.style(Meaning::Text))];
        let columns = usize::from(inside.width.max(1));
        for line in wrap(&pieces, columns, &Margin::default(), Break::Words) {
            put_line(self.buf, inside, inside.x, self.y, &line);
            self.y += 1;
        }
    }
}

/// Paints a question; returns where the cursor belongs.
pub(super) fn draw_question(
    question: &Question,
    theme: Theme,
    area: Rect,
    buf: &mut Buffer,
) -> Option<Position> {
    let inside = Rect {
        x: area.x + 2,
        y: area.y + 1,
        width: area.width.saturating_sub(4).min(QUESTION_COLUMNS),
        height: area.height.saturating_sub(1),
    };
    let mut out = Writer {
        buf,
        area: inside,
        y: inside.y,
    };
    let heading = theme.style(Meaning::Heading);
    let text = theme.style(Meaning::Text);
    let dim = theme.style(Meaning::Dim);
    let is_low = inside.height < LOW;
    match &question.asker {
        Asker::Gateway { password, words } => {
            let what = if *password { "password" } else { "token" };
            out.text(&format!("The gateway wants its {what}"), heading);
            out.gap();
            out.text(words, text);
            out.gap();
            if *password {
                out.text("It is gateway.auth.password in the gateway's config.", dim);
            } else {
                out.text("On the gateway's host \"clawline-gateway token\" prints it; OpenClaw keeps it as gateway.auth.token in ~/.openclaw/openclaw.json.", dim);
            }
            out.text("What you type stays in memory; the gateway then gives this laptop a token of its own.", dim);
            out.gap();
        }
        Asker::Tunnel(
            _,
            Prompt::UnknownHostKey {
                host,
                address,
                algorithm,
                fingerprint,
                randomart,
                note,
            },
        ) => {
            out.text(&format!("{} is not known yet", one_line(host)), heading);
            if !is_low {
                out.gap();
                out.pair("host", host, theme);
            }
            out.pair("address", address, theme);
            out.pair("key", algorithm, theme);
            out.pair("fingerprint", fingerprint, theme);
            if !note.is_empty() {
                out.pair("note", note, theme);
            }
            // The picture helps only whole; the fingerprint says the same.
            let art: Vec<String> = randomart.lines().map(one_line).collect();
            if usize::from(inside.bottom().saturating_sub(out.y)) > art.len() + 6
                && !theme.is_plain()
            {
                for line in &art {
                    out.text(line, dim);
                }
            }
            if !is_low {
                out.gap();
            }
            out.text(
                "Is this your machine? Compare the fingerprint with one you trust.",
                text,
            );
            draw_answers(question, theme, &mut out);
            return None;
        }
        Asker::Tunnel(_, Prompt::Passphrase { path, attempt }) => {
            out.text("The key is locked", heading);
            out.gap();
            out.pair("key file", path, theme);
            if *attempt > 1 {
                out.text(
                    &format!("that was not it; try {attempt}"),
                    theme.style(Meaning::Bad),
                );
            }
            out.gap();
        }
        Asker::Tunnel(_, Prompt::Password { login, attempt }) => {
            out.text(&format!("Password of {}", one_line(login)), heading);
            if *attempt > 1 {
                out.text(
                    &format!("the server refused the last one; try {attempt}"),
                    theme.style(Meaning::Bad),
                );
            }
            out.gap();
        }
        Asker::Tunnel(
            _,
            Prompt::KeyboardInteractive {
                login,
                name,
                instructions,
                ..
            },
        ) => {
            out.text(&format!("The server of {} asks", one_line(login)), heading);
            out.gap();
            for words in [name, instructions] {
                if !words.trim().is_empty() {
                    out.text(words, text);
                }
            }
            out.gap();
        }
    }
    let mut cursor = None;
    for (place, field) in question.fields.iter().enumerate() {
        let label = cut(&one_line(&field.label), usize::from(inside.width) / 2);
        let style = theme.style(if place == question.focus {
            Meaning::Heading
        } else {
            Meaning::Text
        });
        let used = put(out.buf, inside, inside.x, out.y, &label, style) + 2;
        let room = usize::from(inside.width.saturating_sub(used + 1));
        let shown = if field.is_shown {
            cut_front(&one_line(field.text.expose()), room)
        } else {
            // As many marks as letters help with typing errors; a long secret tells no length.
            "*".repeat(field.text.expose().chars().count().min(room).min(24))
        };
        let end = put(
            out.buf,
            inside,
            inside.x + used,
            out.y,
            &shown,
            theme.style(Meaning::Text),
        );
        if place == question.focus {
            cursor = Some(Position::new(inside.x + used + end, out.y));
        }
        out.y += 1;
    }
    out.gap();
    out.text("Enter answers, Esc does not; nothing is timed here", dim);
    cursor
}

/// The answers to a host key, always on screen: below the text, or over its end.
fn draw_answers(question: &Question, theme: Theme, out: &mut Writer<'_>) {
    let inside = out.area;
    let labels: Vec<String> = HOST_KEY_ANSWERS
        .iter()
        .enumerate()
        .map(|(place, (words, letter))| {
            let mark = if place == question.focus { ">" } else { " " };
            format!("{mark} {words} ({letter}) ")
        })
        .collect();
    let all: usize = labels.iter().map(|label| width(label) + 1).sum();
    let in_a_row = all <= usize::from(inside.width);
    let rows = if in_a_row {
        1
    } else {
        u16::try_from(labels.len()).unwrap_or(3)
    };
    let lowest = inside.bottom().saturating_sub(rows);
    out.y = (out.y + u16::from(inside.height >= LOW)).min(lowest);
    let mut x = inside.x;
    for (place, label) in labels.iter().enumerate() {
        let chosen = place == question.focus;
        let style = theme.style(if chosen {
            Meaning::Selected
        } else {
            Meaning::Text
        });
        let row = Rect {
            y: out.y,
            height: 1,
            ..inside
        };
        if place == 0 || !in_a_row {
            blank(row, out.buf);
        }
        x += put(out.buf, inside, x, out.y, label, style) + 1;
        if !in_a_row {
            x = inside.x;
            out.y += 1;
        }
    }
    out.y += 2;
    out.text(
        "Tab moves, Enter answers, Esc is no",
        theme.style(Meaning::Dim),
    );
}

/// Paints a picker over the chat; returns where the cursor belongs.
pub(super) fn draw_picker(
    picker: &Picker,
    theme: Theme,
    area: Rect,
    buf: &mut Buffer,
) -> Option<Position> {
    // On a narrow screen nothing of the chat is left at its sides.
    let columns = if area.width <= PICKER_COLUMNS + 12 {
        area.width
    } else {
        PICKER_COLUMNS
    };
    let rows = u16::try_from(picker.matches.len())
        .unwrap_or(u16::MAX)
        .clamp(1, PICKER_ROWS);
    let rows = rows.min(area.height.saturating_sub(4));
    let top = area.y + 1;
    let outer = Rect::new(area.x + (area.width - columns) / 2, top, columns, rows + 3);
    blank(outer, buf);
    let rule = theme.rule().repeat(usize::from(columns));
    let dim = theme.style(Meaning::Dim);
    put(buf, outer, outer.x, outer.y, &rule, dim);
    let title = format!(" {} ", picker.kind.title());
    put(
        buf,
        outer,
        outer.x + 1,
        outer.y,
        &title,
        theme.style(Meaning::Heading),
    );
    let count = format!(" {} of {} ", picker.matches.len(), picker.choices.len());
    let inside = Rect {
        x: outer.x + 1,
        width: columns.saturating_sub(2),
        ..outer
    };
    put_right(buf, inside, outer.y, &count, dim);
    put(
        buf,
        inside,
        inside.x,
        outer.y + 1,
        ">",
        theme.style(Meaning::Accent),
    );
    let filter = cut_front(
        &one_line(&picker.filter),
        usize::from(inside.width.saturating_sub(4)),
    );
    let used = put(
        buf,
        inside,
        inside.x + 2,
        outer.y + 1,
        &filter,
        theme.style(Meaning::Text),
    );
    if picker.filter.is_empty() {
        put(
            buf,
            inside,
            inside.x + 3,
            outer.y + 1,
            "type to filter",
            dim,
        );
    }
    let cursor = Position::new(inside.x + 2 + used, outer.y + 1);
    let list = Rect {
        y: outer.y + 2,
        height: rows,
        ..inside
    };
    if picker.matches.is_empty() {
        let words = if picker.is_loading {
            "reading"
        } else {
            "nothing matches"
        };
        put(buf, list, list.x + 2, list.y, words, dim);
    }
    let first = picker
        .selected
        .saturating_sub(usize::from(rows).saturating_sub(1));
    let shown = picker.matches.iter().enumerate().skip(first);
    for ((place, at), y) in shown.zip(list.top()..list.bottom()) {
        let Some(choice) = picker.choices.get(*at) else {
            continue;
        };
        let chosen = place == picker.selected;
        let style = if chosen {
            theme.style(Meaning::Selected)
        } else if choice.is_unread || choice.is_current {
            theme.style(Meaning::Heading)
        } else {
            theme.style(Meaning::Text)
        };
        if chosen {
            buf.set_style(
                Rect {
                    y,
                    height: 1,
                    ..list
                },
                style,
            );
        }
        let mark = match (choice.is_unread, choice.is_current, chosen) {
            (true, _, _) => "+",
            (false, true, _) => theme.sign("●", "*"),
            (false, false, true) => ">",
            (false, false, false) => " ",
        };
        put(buf, list, list.x, y, mark, style);
        let detail = one_line(&choice.detail);
        let room = usize::from(list.width).saturating_sub(width(&detail) + 4);
        put(
            buf,
            list,
            list.x + 2,
            y,
            &cut(&one_line(&choice.label), room),
            style,
        );
        let detail_style = if chosen { style } else { dim };
        put_right(buf, list, y, &detail, detail_style);
    }
    put(
        buf,
        outer,
        outer.x,
        outer.bottom().saturating_sub(1),
        &rule,
        dim,
    );
    Some(cursor)
}

/// Paints the completions above the input.
pub(super) fn draw_completion(completion: &Completion, theme: Theme, chat: Rect, buf: &mut Buffer) {
    let rows = u16::try_from(completion.candidates.len())
        .unwrap_or(1)
        .min(chat.height);
    let area = Rect {
        y: chat.bottom().saturating_sub(rows),
        height: rows,
        ..chat
    };
    blank(area, buf);
    for ((place, candidate), y) in completion
        .candidates
        .iter()
        .enumerate()
        .zip(area.top()..area.bottom())
    {
        let chosen = place == completion.selected;
        let style = theme.style(if chosen {
            Meaning::Selected
        } else {
            Meaning::Text
        });
        let mark = if chosen { ">" } else { " " };
        let name = format!("{mark} /{} {}", candidate.name, candidate.argument);
        let used = put(buf, area, area.x + 1, y, &format!("{name:22}"), style);
        put(
            buf,
            area,
            area.x + 2 + used,
            y,
            &candidate.help,
            theme.style(Meaning::Dim),
        );
    }
}

/// Paints the first-run screen; returns where the cursor belongs.
pub(super) fn draw_first_run(
    screen: &FirstRun,
    theme: Theme,
    buf: &mut Buffer,
) -> Option<Position> {
    let area = buf.area;
    let inside = Rect {
        x: area.x + 2,
        y: area.y + 1,
        width: area.width.saturating_sub(4).min(QUESTION_COLUMNS),
        height: area.height.saturating_sub(1),
    };
    let mut out = Writer {
        buf,
        area: inside,
        y: inside.y,
    };
    let text = theme.style(Meaning::Text);
    let dim = theme.style(Meaning::Dim);
    out.text("clawline", theme.style(Meaning::Accent));
    out.gap();
    out.text(
        "Which machine does your gateway run on? Write it as you would for ssh.",
        text,
    );
    out.gap();
    let y = out.y;
    put(
        out.buf,
        inside,
        inside.x,
        y,
        ">",
        theme.style(Meaning::Accent),
    );
    let shown = cut_front(
        &one_line(&screen.text),
        usize::from(inside.width.saturating_sub(4)),
    );
    let used = put(out.buf, inside, inside.x + 2, y, &shown, text);
    if screen.text.is_empty() {
        put(out.buf, inside, inside.x + 2, y, "user@host", dim);
    }
    let cursor = Position::new(inside.x + 2 + used, y);
    out.y += 1;
    if let Some(trouble) = &screen.trouble {
        out.text(trouble, theme.style(Meaning::Bad));
    }
    out.gap();
    for line in [
        "What happens then: your ssh settings and keys are used, the host's key is checked, and a host that is not known is shown to you first.",
        "Over that connection clawline looks for the gateway's port and token in the files of the user you sign in as. Nothing is installed or changed there.",
        "The next time \"clawline user@host\" is enough.",
    ] {
        out.text(line, dim);
    }
    out.gap();
    out.text("Enter connects, Esc leaves", dim);
    Some(cursor)
}

fn blank(area: Rect, buf: &mut Buffer) {
    ratatui::widgets::Widget::render(ratatui::widgets::Clear, area.intersection(buf.area), buf);
}
