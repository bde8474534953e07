//! Wraps styled text to a number of columns: at spaces, between wide characters, and inside a word
//! only when the word is longer than a line.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_segmentation::UnicodeSegmentation as _;

use super::text::{cut, grapheme_width, width};

/// A piece of text in one style; line breaks inside are obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Safe text.
    pub(crate) text: String,
    /// Its style.
    pub(crate) style: Style,
}

impl Piece {
    /// A piece.
    pub(crate) fn new(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: text.into(),
            style,
        }
    }
}

/// What stands in front of the lines of a block.
#[derive(Debug, Clone, Default)]
pub(crate) struct Margin {
    /// In front of the first line.
    pub(crate) first: Vec<Piece>,
    /// In front of every other line.
    pub(crate) rest: Vec<Piece>,
}

/// Where lines may break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Between words; spaces at a break vanish.
    Words,
    /// Anywhere; every space stays (code).
    Anywhere,
}

/// Wraps pieces; every line returned is at most `columns` wide.
pub(crate) fn wrap(
    pieces: &[Piece],
    columns: usize,
    margin: &Margin,
    at: Break,
) -> Vec<Line<'static>> {
    let mut out = Wrapper::new(columns, margin);
    for piece in pieces {
        for grapheme in piece.text.graphemes(true) {
            if grapheme.starts_with('\n') {
                out.end_word();
                out.end_line();
            } else if at == Break::Words && grapheme == " " {
                out.end_word();
                out.spaces.push(Cell::new(" ", 1, piece.style));
            } else {
                let wide = grapheme_width(grapheme);
                out.word.push(Cell::new(grapheme, wide, piece.style));
                if at == Break::Anywhere || wide > 1 {
                    out.end_word();
                }
            }
        }
    }
    out.end_word();
    if !out.line.is_empty() || out.lines.is_empty() {
        out.end_line();
    }
    out.lines
}

#[derive(Debug)]
struct Cell<'a> {
    text: &'a str,
    wide: usize,
    style: Style,
}

impl<'a> Cell<'a> {
    fn new(text: &'a str, wide: usize, style: Style) -> Self {
        Self { text, wide, style }
    }
}

struct Wrapper<'a, 'm> {
    columns: usize,
    margin: &'m Margin,
    lines: Vec<Line<'static>>,
    line: Vec<Cell<'a>>,
    used: usize,
    spaces: Vec<Cell<'a>>,
    word: Vec<Cell<'a>>,
}

impl<'a, 'm> Wrapper<'a, 'm> {
    fn new(columns: usize, margin: &'m Margin) -> Self {
        Self {
            columns,
            margin,
            lines: Vec::new(),
            line: Vec::new(),
            used: 0,
            spaces: Vec::new(),
            word: Vec::new(),
        }
    }

    fn prefix(&self) -> &'m [Piece] {
        if self.lines.is_empty() {
            &self.margin.first
        } else {
            &self.margin.rest
        }
    }

    fn room(&self) -> usize {
        let margin: usize = self.prefix().iter().map(|piece| width(&piece.text)).sum();
        // A margin that leaves nothing is left out, see `end_line`.
        if margin >= self.columns {
            self.columns
        } else {
            self.columns - margin
        }
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        if word.is_empty() {
            return;
        }
        let wide: usize = word.iter().map(|cell| cell.wide).sum();
        let gap = self.spaces.len();
        if self.used + gap + wide <= self.room() {
            let spaces = std::mem::take(&mut self.spaces);
            self.used += gap + wide;
            self.line.extend(spaces);
            self.line.extend(word);
            return;
        }
        self.spaces.clear();
        if !self.line.is_empty() {
            self.end_line();
        }
        for cell in word {
            if self.used + cell.wide > self.room() && !self.line.is_empty() {
                self.end_line();
            }
            let cell = if cell.wide > self.room() {
                Cell::new("?", 1, cell.style)
            } else {
                cell
            };
            if cell.wide <= self.room() {
                self.used += cell.wide;
                self.line.push(cell);
            }
        }
    }

    fn end_line(&mut self) {
        self.spaces.clear();
        let mut spans: Vec<Span<'static>> = Vec::new();
        let margin = self.prefix();
        let margin_width: usize = margin.iter().map(|piece| width(&piece.text)).sum();
        if margin_width < self.columns {
            spans.extend(
                margin
                    .iter()
                    .map(|piece| Span::styled(cut(&piece.text, self.columns), piece.style)),
            );
        }
        let mut text = String::new();
        let mut style: Option<Style> = None;
        for cell in self.line.drain(..) {
            if style.is_some_and(|style| style != cell.style) {
                spans.push(Span::styled(
                    std::mem::take(&mut text),
                    style.unwrap_or_default(),
                ));
            }
            style = Some(cell.style);
            text.push_str(cell.text);
        }
        if !text.is_empty() {
            spans.push(Span::styled(text, style.unwrap_or_default()));
        }
        self.lines.push(Line::from(spans));
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::clean;
    use super::*;

    fn texts(text: &str, columns: usize) -> Vec<String> {
        let pieces = [Piece::new(text, Style::new())];
        wrap(&pieces, columns, &Margin::default(), Break::Words)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn lines_break_between_words_and_long_words_inside() {
        assert_eq!(texts("one two three", 7), ["one two", "three"]);
        assert_eq!(texts("abcdefghij xy", 4), ["abcd", "efgh", "ij", "xy"]);
        assert_eq!(texts("日本語 text", 4), ["日本", "語", "text"]);
        assert_eq!(texts("a\n\nb", 4), ["a", "", "b"]);
    }

    #[test]
    fn what_has_been_wrapped_stays_when_text_is_added() {
        let before = texts("the quick brown fox jumps", 10);
        let after = texts("the quick brown fox jumps over it", 10);
        assert_eq!(before[..2], after[..2]);
    }

    #[test]
    fn a_margin_stands_before_every_line_and_counts() {
        let margin = Margin {
            first: vec![Piece::new("- ", Style::new())],
            rest: vec![Piece::new("  ", Style::new())],
        };
        let lines = wrap(
            &[Piece::new("aa bb cc", Style::new())],
            5,
            &margin,
            Break::Words,
        );
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["- aa", "  bb", "  cc"]);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(text in "\\PC{0,60}|.{0,60}|[a-z 日本👨‍👩‍👧]{0,60}", columns in 1_usize..30, anywhere: bool) {
            let at = if anywhere { Break::Anywhere } else { Break::Words };
            let margin = Margin {
                first: vec![Piece::new("* ", Style::new())],
                rest: vec![Piece::new("  ", Style::new())],
            };
            for line in wrap(&[Piece::new(clean(&text), Style::new())], columns, &margin, at) {
                let text = line.to_string();
                prop_assert!(width(&text) <= columns, "{:?} {}", text, columns);
                prop_assert!(!text.chars().any(char::is_control));
            }
        }
    }
}
