//! The input: text of several lines, what was typed before, and completion of slash commands.

use clawline::layer::is_unsafe_to_show;
use ratatui::crossterm::event::KeyEvent;
use ratatui::style::Style;
use ratatui_textarea::{CursorMove, TextArea, WrapMode};

use crate::commands::Candidate;
use crate::widgets::wrap::{Break, Margin, Piece, wrap};

/// Inputs that can be called back with the arrow keys.
const REMEMBERED: usize = 100;
/// Largest text that is taken from a paste, in bytes; a gateway takes no more in one message.
const MAX_PASTE: usize = 4 * 1024 * 1024;

/// The list under the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Completion {
    /// What fits what was typed.
    pub(crate) candidates: Vec<Candidate>,
    /// The chosen one.
    pub(crate) selected: usize,
}

/// The input.
#[derive(Debug)]
pub(crate) struct Composer {
    area: TextArea<'static>,
    /// What was sent from here, oldest first.
    sent: Vec<String>,
    /// Which of them is shown, counted from the newest; and what was typed before that.
    recalled: Option<(usize, String)>,
    /// Open while a slash command is typed.
    pub(crate) completion: Option<Completion>,
    /// The slash word for which the list was closed.
    closed: Option<String>,
    /// Differs from the draft on disk.
    pub(crate) changed: bool,
}

impl Default for Composer {
    fn default() -> Self {
        Self {
            area: new_area(Vec::new()),
            sent: Vec::new(),
            recalled: None,
            completion: None,
            closed: None,
            changed: false,
        }
    }
}

fn new_area(lines: Vec<String>) -> TextArea<'static> {
    let mut area = TextArea::new(lines);
    area.set_wrap_mode(WrapMode::WordOrGlyph);
    area.set_cursor_line_style(Style::new());
    // The terminal's own cursor is placed there instead, so that input methods find it.
    area.set_cursor_style(Style::new());
    area.set_tab_length(4);
    area
}

impl Composer {
    /// The editor, to paint it.
    pub(crate) fn area(&self) -> &TextArea<'static> {
        &self.area
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        self.area.lines().join("\n")
    }

    /// Whether nothing but white space is there.
    pub(crate) fn is_blank(&self) -> bool {
        self.area.lines().iter().all(|line| line.trim().is_empty())
    }

    /// Whether nothing is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.area.is_empty()
    }

    /// Replaces the text; the cursor goes to its end.
    pub(crate) fn set(&mut self, text: &str) {
        self.area = new_area(text.split('\n').map(str::to_owned).collect());
        self.area.move_cursor(CursorMove::Bottom);
        self.area.move_cursor(CursorMove::End);
        self.completion = None;
        self.changed = true;
    }

    /// Takes the text out and remembers it.
    pub(crate) fn take(&mut self) -> String {
        let text = self.text();
        if !text.trim().is_empty() && self.sent.last() != Some(&text) {
            self.sent.push(text.clone());
            if self.sent.len() > REMEMBERED {
                self.sent.remove(0);
            }
        }
        self.recalled = None;
        self.set("");
        text
    }

    /// Starts a new line.
    pub(crate) fn newline(&mut self) {
        self.area.insert_newline();
        self.after_edit();
    }

    /// Inserts pasted text; it never sends. Characters that a terminal would obey are left out.
    pub(crate) fn paste(&mut self, text: &str) {
        let mut end = text.len().min(MAX_PASTE);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.get(..end).unwrap_or_default();
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text: String = text
            .chars()
            .filter(|c| matches!(c, '\n' | '\t') || !is_unsafe_to_show(*c))
            .collect();
        self.area.insert_str(text);
        self.after_edit();
    }

    /// Gives a key to the editor.
    pub(crate) fn key(&mut self, key: KeyEvent) {
        use ratatui::crossterm::event::{KeyCode, KeyModifiers};
        let before = (self.area.lines().len(), self.text());
        match (key.code, key.modifiers) {
            // As everywhere else at a prompt, not the editor's undo.
            (KeyCode::Char('u'), KeyModifiers::CONTROL) => {
                self.area.delete_line_by_head();
            }
            (KeyCode::Char('z'), KeyModifiers::ALT) => {
                self.area.undo();
            }
            _ => {
                self.area.input(key);
            }
        }
        if before != (self.area.lines().len(), self.text()) {
            self.after_edit();
        }
    }

    fn after_edit(&mut self) {
        self.changed = true;
        self.recalled = None;
    }

    /// What completes: the first word of a single line that begins with a slash, up to the cursor.
    pub(crate) fn slash_word(&self) -> Option<&str> {
        let [line] = self.area.lines() else {
            return None;
        };
        let word = line.strip_prefix('/')?;
        let (_, column) = (self.area.cursor().0, self.area.cursor().1);
        (!word.contains(char::is_whitespace) && column == line.chars().count()).then_some(word)
    }

    /// Closes the list until the word changes.
    pub(crate) fn close_completion(&mut self) {
        self.completion = None;
        self.closed = self.slash_word().map(str::to_owned);
    }

    /// Whether the list was closed for this word.
    pub(crate) fn is_closed_for(&self, word: &str) -> bool {
        self.closed.as_deref() == Some(word)
    }

    /// Calls back an earlier input (`older`) or goes forward again. False when the arrow key is for
    /// moving inside the text.
    pub(crate) fn recall(&mut self, older: bool) -> bool {
        let row = self.area.cursor().0;
        let edge = if older {
            row == 0
        } else {
            row + 1 == self.area.lines().len()
        };
        if !edge || (self.recalled.is_none() && !(older && self.is_blank())) {
            return false;
        }
        let (place, typed) = match self.recalled.take() {
            None => (0, self.text()),
            Some((place, typed)) if older => (place + 1, typed),
            Some((0, typed)) => {
                self.set(&typed);
                return true;
            }
            Some((place, typed)) => (place - 1, typed),
        };
        let place = place.min(self.sent.len().saturating_sub(1));
        let from_end = self.sent.len().checked_sub(place + 1);
        if let Some(text) = from_end.and_then(|at| self.sent.get(at).cloned()) {
            self.set(&text);
            self.recalled = Some((place, typed));
        }
        true
    }

    /// Lines that the text needs at this width.
    pub(crate) fn height(&self, columns: u16) -> u16 {
        let style = Style::new();
        let count: usize = self
            .area
            .lines()
            .iter()
            .map(|line| {
                let pieces = [Piece::new(line.as_str(), style)];
                wrap(
                    &pieces,
                    usize::from(columns.max(1)),
                    &Margin::default(),
                    Break::Words,
                )
                .len()
            })
            .sum();
        u16::try_from(count).unwrap_or(u16::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyModifiers};

    use super::*;

    fn typed(composer: &mut Composer, text: &str) {
        for c in text.chars() {
            composer.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        }
    }

    #[test]
    fn a_paste_of_several_lines_stays_text_and_loses_what_a_terminal_would_obey() {
        let mut composer = Composer::default();
        composer.paste("one\r\ntwo\u{1b}[31m\u{202e}\n");
        assert_eq!(composer.text(), "one\ntwo[31m\n");
    }

    #[test]
    fn earlier_inputs_come_back_and_what_was_typed_is_kept() {
        let mut composer = Composer::default();
        for text in ["first", "second"] {
            typed(&mut composer, text);
            composer.take();
        }
        assert!(composer.recall(true));
        assert_eq!(composer.text(), "second");
        assert!(composer.recall(true));
        assert!(composer.recall(true));
        assert_eq!(composer.text(), "first");
        assert!(composer.recall(false) && composer.recall(false));
        assert_eq!(composer.text(), "");
        typed(&mut composer, "new text");
        assert!(!composer.recall(true), "typed text is not thrown away");
    }

    #[test]
    fn only_a_first_word_with_a_slash_completes() {
        let mut composer = Composer::default();
        typed(&mut composer, "/mo");
        assert_eq!(composer.slash_word(), Some("mo"));
        typed(&mut composer, "del x");
        assert_eq!(composer.slash_word(), None);
    }
}
