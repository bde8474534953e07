//! A whole Markdown text to lines of a given width.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::table::Table;
use crate::theme::{Meaning, Theme};
use crate::widgets::text::{clean, cut, width};
use crate::widgets::wrap::{Break, Margin, Piece, wrap};

/// Renders a text; its control characters become visible first.
pub(crate) fn render(source: &str, columns: usize, theme: Theme) -> Vec<Line<'static>> {
    let source = clean(source);
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut painter = Painter::new(columns.max(1), theme);
    for event in Parser::new_ext(&source, options) {
        painter.take(event);
    }
    painter.end_block();
    // Deep quotes can indent further than a tiny terminal is wide.
    for line in &mut painter.lines {
        if width(&line.to_string()) > columns {
            *line = Line::from(cut(&line.to_string(), columns));
        }
    }
    painter.lines
}

/// One level of indentation: a list item or a quote.
struct Level {
    first: Option<Piece>,
    rest: Piece,
}

struct Painter {
    columns: usize,
    theme: Theme,
    lines: Vec<Line<'static>>,
    pieces: Vec<Piece>,
    styles: Vec<Style>,
    levels: Vec<Level>,
    lists: Vec<Option<u64>>,
    /// A blank line goes before the next block.
    gap: bool,
    code: Option<String>,
    table: Option<Table>,
    link: Option<(String, usize)>,
}

impl Painter {
    fn new(columns: usize, theme: Theme) -> Self {
        Self {
            columns,
            theme,
            lines: Vec::new(),
            pieces: Vec::new(),
            styles: vec![theme.style(Meaning::Text)],
            levels: Vec::new(),
            lists: Vec::new(),
            gap: false,
            code: None,
            table: None,
            link: None,
        }
    }

    fn style(&self) -> Style {
        self.styles.last().copied().unwrap_or_default()
    }

    fn push_style(&mut self, more: Style) {
        let style = self.style().patch(more);
        self.styles.push(style);
    }

    fn text(&mut self, text: &str) {
        let style = self.style();
        self.text_in(text, style);
    }

    fn text_in(&mut self, text: &str, style: Style) {
        if let Some(code) = &mut self.code {
            code.push_str(text);
        } else if let Some(table) = &mut self.table {
            table.text(text);
        } else {
            self.pieces.push(Piece::new(text, style));
        }
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(text) => {
                let style = self.style().patch(self.theme.style(Meaning::Code));
                let text = if self.theme.is_plain() {
                    format!("`{text}`")
                } else {
                    text.to_string()
                };
                self.text_in(&text, style);
            }
            Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text),
            Event::FootnoteReference(text) => self.text(&format!("[{text}]")),
            // A line break in an answer was meant as one; joining the lines would lose shape.
            Event::SoftBreak | Event::HardBreak => self.text("\n"),
            Event::Rule => {
                self.start_block();
                let rule = self.theme.rule().repeat(self.columns.min(24));
                let style = self.theme.style(Meaning::Dim);
                self.lines.push(Line::from(Span::styled(rule, style)));
                self.gap = true;
            }
            Event::TaskListMarker(done) => self.text(if done { "[x] " } else { "[ ] " }),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.start_block(),
            Tag::Heading { level, .. } => {
                self.start_block();
                let style = self.theme.style(Meaning::Heading);
                if self.theme.is_plain() || level >= HeadingLevel::H3 {
                    let marks = "#".repeat(level as usize);
                    self.pieces.push(Piece::new(format!("{marks} "), style));
                }
                self.push_style(style);
            }
            Tag::BlockQuote(_) => {
                self.start_block();
                let bar = Piece::new(self.theme.sign("▎ ", "> "), self.theme.style(Meaning::Dim));
                self.levels.push(Level {
                    first: None,
                    rest: bar,
                });
            }
            Tag::CodeBlock(kind) => {
                self.start_block();
                if let CodeBlockKind::Fenced(info) = kind
                    && let Some(name) = info.split_whitespace().next()
                {
                    let margin = self.margin();
                    let label = [Piece::new(name, self.theme.style(Meaning::Dim))];
                    self.lines
                        .extend(wrap(&label, self.columns, &margin, Break::Anywhere));
                }
                self.code = Some(String::new());
            }
            Tag::List(first) => {
                if self.lists.is_empty() {
                    self.start_block();
                } else {
                    self.flush();
                }
                self.lists.push(first);
            }
            Tag::Item => self.start_item(),
            Tag::Table(alignments) => {
                self.start_block();
                self.table = Some(Table::new(alignments));
            }
            Tag::Emphasis => self.push_style(Style::new().add_modifier(Modifier::ITALIC)),
            Tag::Strong => self.push_style(Style::new().add_modifier(Modifier::BOLD)),
            Tag::Strikethrough => self.push_style(Style::new().add_modifier(Modifier::CROSSED_OUT)),
            Tag::Link { dest_url, .. } => {
                self.link = Some((dest_url.to_string(), self.pieces.len()));
                self.push_style(self.theme.style(Meaning::Link));
            }
            Tag::Image { dest_url, .. } => {
                self.text("[image: ");
                self.link = Some((dest_url.to_string(), usize::MAX));
            }
            _ => {}
        }
    }

    fn start_item(&mut self) {
        self.flush();
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                let mark = format!("{number}. ");
                *number += 1;
                mark
            }
            _ => self.theme.sign("• ", "- ").to_owned(),
        };
        let blank = " ".repeat(mark.chars().count());
        self.levels.push(Level {
            first: Some(Piece::new(mark, self.theme.style(Meaning::Dim))),
            rest: Piece::new(blank, Style::new()),
        });
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => {
                self.end_block();
                // Loose lists stay close; the gap belongs between blocks of the top level.
                self.gap = self.lists.is_empty();
            }
            TagEnd::Heading(_) => {
                self.styles.pop();
                self.end_block();
                self.gap = true;
            }
            TagEnd::BlockQuote(_) => {
                self.end_block();
                self.levels.pop();
                self.gap = true;
            }
            TagEnd::CodeBlock => self.end_code(),
            TagEnd::List(_) => {
                self.flush();
                self.lists.pop();
                self.gap = self.lists.is_empty();
            }
            TagEnd::Item => {
                // An empty item still shows its mark.
                if self
                    .levels
                    .last()
                    .is_some_and(|level| level.first.is_some())
                {
                    self.pieces.push(Piece::new("", Style::new()));
                }
                self.flush();
                self.levels.pop();
            }
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    self.lines.extend(table.lines(self.columns, self.theme));
                }
                self.gap = true;
            }
            TagEnd::TableHead | TagEnd::TableRow => {
                if let Some(table) = &mut self.table {
                    table.end_row();
                }
            }
            TagEnd::TableCell => {
                if let Some(table) = &mut self.table {
                    table.end_cell();
                }
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => {
                self.styles.pop();
            }
            TagEnd::Link => self.end_link(),
            TagEnd::Image => {
                let target = self.link.take().map(|(target, _)| target);
                self.text(&format!("] {}", target.unwrap_or_default()));
            }
            _ => {}
        }
    }

    /// Shows where a link leads, unless its text says so already.
    fn end_link(&mut self) {
        self.styles.pop();
        let Some((target, start)) = self.link.take() else {
            return;
        };
        let shown: String = self
            .pieces
            .get(start..)
            .unwrap_or_default()
            .iter()
            .map(|piece| piece.text.as_str())
            .collect();
        if self.table.is_none() && shown != target && format!("mailto:{shown}") != target {
            self.text_in(&format!(" ({target})"), self.theme.style(Meaning::Dim));
        }
    }

    fn end_code(&mut self) {
        let code = self.code.take().unwrap_or_default();
        let mut margin = self.margin();
        let indent = Piece::new("  ", Style::new());
        margin.first.push(indent.clone());
        margin.rest.push(indent);
        let style = self.theme.style(Meaning::Code);
        for line in code.trim_end_matches('\n').split('\n') {
            let pieces = [Piece::new(line, style)];
            self.lines
                .extend(wrap(&pieces, self.columns, &margin, Break::Anywhere));
            margin.first.clone_from(&margin.rest);
        }
        self.gap = true;
    }

    /// The margins of all levels; an item's mark is used once.
    fn margin(&mut self) -> Margin {
        let mut margin = Margin::default();
        for level in &mut self.levels {
            let first = level.first.take().unwrap_or_else(|| level.rest.clone());
            margin.first.push(first);
            margin.rest.push(level.rest.clone());
        }
        margin
    }

    fn start_block(&mut self) {
        self.flush();
        let marked = self
            .levels
            .last()
            .is_some_and(|level| level.first.is_some());
        if self.gap && !marked && !self.lines.is_empty() {
            let bar: Vec<Span<'static>> = self
                .levels
                .iter()
                .map(|level| Span::styled(level.rest.text.clone(), level.rest.style))
                .collect();
            self.lines.push(Line::from(bar));
        }
        self.gap = false;
    }

    fn end_block(&mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        if self.pieces.is_empty() {
            return;
        }
        let mut pieces = std::mem::take(&mut self.pieces);
        // A block's last line break draws nothing.
        if let Some(last) = pieces.last_mut() {
            last.text.truncate(last.text.trim_end_matches('\n').len());
        }
        let margin = self.margin();
        self.lines
            .extend(wrap(&pieces, self.columns, &margin, Break::Words));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::widgets::text::width;

    fn shown(source: &str, columns: usize) -> Vec<String> {
        render(source, columns, Theme::new(true, false))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn blocks_are_set_apart_and_list_items_stay_close() {
        let source = "# Disk\n\nTwo ways:\n\n- prune\n- move it\n  1. stop\n  2. copy\n\n> slow";
        assert_eq!(
            shown(source, 40),
            [
                "Disk",
                "",
                "Two ways:",
                "",
                "• prune",
                "• move it",
                "  1. stop",
                "  2. copy",
                "",
                "▎ slow"
            ]
        );
    }

    #[test]
    fn code_keeps_its_spaces_and_is_cut_into_lines_not_words() {
        assert_eq!(
            shown("```sh\ndu  -x   /var/lib\n\n  sort\n```", 10),
            ["sh", "  du  -x  ", "   /var/li", "  b", "  ", "    sort"]
        );
    }

    #[test]
    fn a_link_shows_where_it_leads() {
        assert_eq!(
            shown("[bank](https://evil.example) <https://a.example>", 80),
            ["bank (https://evil.example) https://a.example"]
        );
    }

    #[test]
    fn html_and_escape_sequences_are_shown_as_text() {
        assert_eq!(
            shown("a <b>c</b> \u{1b}[31mred", 60),
            ["a <b>c</b> \\u{1b}[31mred"]
        );
    }

    proptest! {
        #[test]
        fn any_text_renders_to_lines_that_fit(source in "([-*#>`|~_ \\[\\]()0-9a-z日\n\t]|\\PC){0,120}", columns in 1_usize..40) {
            for line in render(&source, columns, Theme::new(true, false)) {
                let text = line.to_string();
                prop_assert!(width(&text) <= columns, "{:?}", text);
                prop_assert!(!text.chars().any(char::is_control));
            }
        }
    }
}
