//! Which rows of which entries are on screen. Only what is visible is wrapped, so a transcript's
//! length does not matter.

use super::entry::{Kind, Speaker};
use super::state::{Chat, Scroll};
use crate::theme::Theme;

/// Entries whose lines may be kept before those far from the screen are forgotten.
const KEPT: usize = 2048;

/// One row on screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    /// Nothing.
    Gap,
    /// Who speaks, and when.
    Head(usize),
    /// A tool call on one line.
    Tool(usize),
    /// A line of an entry's text.
    Line(usize, usize),
}

/// What is on screen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visible {
    /// The rows, top first.
    pub(crate) rows: Vec<Row>,
    /// Entry lines made since far ones were forgotten last.
    made: usize,
}

/// Columns in front of the text.
pub(crate) fn gutter(columns: u16) -> u16 {
    if columns >= 60 { 8 } else { 2 }
}

impl Chat {
    /// Works out what is on screen. Call it before every draw.
    pub(crate) fn layout(&mut self, columns: u16, rows: u16, theme: Theme) {
        self.columns = columns;
        self.rows = rows;
        let height = usize::from(rows);
        if let Scroll::At { entry, row } = self.scroll {
            match self.transcript.position(entry) {
                Some(at) => {
                    self.visible.rows = self.rows_down(at, row, height, theme);
                    if self.visible.rows.len() < height {
                        self.follow();
                    }
                }
                None => self.follow(),
            }
        }
        if self.scroll == Scroll::Follow {
            self.visible.rows = self.rows_up(height, theme);
        }
        self.forget_far();
    }

    fn follow(&mut self) {
        self.scroll = Scroll::Follow;
        self.new_below = 0;
    }

    /// The width of the text of entries.
    pub(crate) fn text_columns(&self) -> usize {
        usize::from(self.columns.saturating_sub(gutter(self.columns) + 1).max(1))
    }

    /// The rows in front of an entry's text: gap, head, tool line.
    fn lead(&self, at: usize) -> (bool, bool, bool) {
        let Some(entry) = self.entry(at) else {
            return (false, false, false);
        };
        let before = at.checked_sub(1).and_then(|before| self.entry(before));
        let speaker = entry.speaker();
        let head = match speaker {
            Speaker::Nobody => false,
            Speaker::User => true,
            Speaker::Agent => before.is_none_or(|before| {
                before.speaker() != Speaker::Agent
                    || (before.run() != entry.run()
                        && before.run().is_some()
                        && entry.run().is_some())
            }),
        };
        let note_after_note = speaker == Speaker::Nobody
            && before.is_some_and(|before| before.speaker() == Speaker::Nobody);
        let starts = head || (speaker == Speaker::Nobody && !note_after_note);
        let tool = matches!(entry.kind, Kind::Tool(_));
        (starts && before.is_some(), head, tool)
    }

    fn count(&mut self, at: usize, theme: Theme) -> usize {
        let (gap, head, tool) = self.lead(at);
        usize::from(gap) + usize::from(head) + usize::from(tool) + self.body(at, theme)
    }

    fn body(&mut self, at: usize, theme: Theme) -> usize {
        let columns = self.text_columns();
        let expanded = self.expanded;
        self.visible.made += 1;
        self.transcript
            .entries_mut()
            .get_mut(at)
            .map_or(0, |entry| entry.lines(columns, theme, expanded).len())
    }

    /// The row of an entry with this number.
    fn row(&self, at: usize, number: usize) -> Row {
        let (gap, head, tool) = self.lead(at);
        let mut left = number;
        for (there, row) in [
            (gap, Row::Gap),
            (head, Row::Head(at)),
            (tool, Row::Tool(at)),
        ] {
            if there {
                if left == 0 {
                    return row;
                }
                left -= 1;
            }
        }
        Row::Line(at, left)
    }

    fn rows_down(&mut self, from: usize, skip: usize, height: usize, theme: Theme) -> Vec<Row> {
        let mut rows = Vec::with_capacity(height);
        let mut skip = skip;
        for at in from..self.transcript.entries().len() {
            let count = self.count(at, theme);
            for number in skip.min(count)..count {
                if rows.len() == height {
                    return rows;
                }
                rows.push(self.row(at, number));
            }
            skip = 0;
        }
        rows
    }

    fn rows_up(&mut self, height: usize, theme: Theme) -> Vec<Row> {
        let mut rows = Vec::with_capacity(height);
        'entries: for at in (0..self.transcript.entries().len()).rev() {
            for number in (0..self.count(at, theme)).rev() {
                if rows.len() == height {
                    break 'entries;
                }
                rows.push(self.row(at, number));
            }
        }
        rows.reverse();
        rows
    }

    /// The entry and row on top of the screen.
    fn top(&self) -> Option<(usize, usize)> {
        let first = *self.visible.rows.first()?;
        let at = match first {
            Row::Head(at) | Row::Tool(at) | Row::Line(at, _) => at,
            Row::Gap => match self.visible.rows.get(1)? {
                Row::Head(at) | Row::Tool(at) | Row::Line(at, _) => *at,
                Row::Gap => return None,
            },
        };
        let (gap, head, tool) = self.lead(at);
        let lead = usize::from(gap) + usize::from(head) + usize::from(tool);
        let number = match first {
            Row::Gap => 0,
            Row::Head(_) => usize::from(gap),
            Row::Tool(_) => usize::from(gap) + usize::from(head),
            Row::Line(_, line) => lead + line,
        };
        Some((at, number))
    }

    /// Scrolls up by some rows. True when the first row is reached: older messages may be wanted.
    pub(crate) fn scroll_up(&mut self, rows: usize, theme: Theme) -> bool {
        let Some((mut at, mut number)) = self.top() else {
            return true;
        };
        let mut left = rows;
        loop {
            if number >= left {
                number -= left;
                break;
            }
            left -= number;
            let Some(before) = at.checked_sub(1) else {
                number = 0;
                break;
            };
            at = before;
            number = self.count(at, theme);
        }
        self.anchor(at, number);
        at == 0 && number == 0
    }

    /// Scrolls down by some rows; at the end the pane follows again.
    pub(crate) fn scroll_down(&mut self, rows: usize, theme: Theme) {
        let (Scroll::At { .. }, Some((mut at, number))) = (self.scroll, self.top()) else {
            return;
        };
        let mut number = number + rows;
        while at < self.transcript.entries().len() {
            let count = self.count(at, theme);
            if number < count {
                self.anchor(at, number);
                return;
            }
            number -= count;
            at += 1;
        }
        self.follow();
    }

    /// Goes to the first entry. True, as older messages may be wanted.
    pub(crate) fn scroll_to_start(&mut self) -> bool {
        self.anchor(0, 0);
        true
    }

    /// Goes to the end and follows.
    pub(crate) fn scroll_to_end(&mut self) {
        self.follow();
    }

    fn anchor(&mut self, at: usize, row: usize) {
        if let Some(entry) = self.transcript.entries().get(at) {
            self.scroll = Scroll::At {
                entry: entry.id,
                row,
            };
        }
    }

    /// Forgets the lines of entries that are far from the screen, once many have been made.
    fn forget_far(&mut self) {
        if self.visible.made < KEPT {
            return;
        }
        self.visible.made = 0;
        let top = self.top().map_or(0, |(at, _)| at);
        let near = top.saturating_sub(KEPT / 4)..top + KEPT / 4;
        for (at, entry) in self.transcript.entries_mut().iter_mut().enumerate() {
            if !near.contains(&at) {
                entry.drop_lines();
            }
        }
    }

    /// Says that something was added, for the marker while the reader is further up.
    pub(crate) fn count_new(&mut self) {
        if self.scroll != Scroll::Follow {
            self.new_below += 1;
        }
    }
}
