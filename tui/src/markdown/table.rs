//! A Markdown table: aligned columns where they fit, one `head: cell` line a cell where they do not.

use pulldown_cmark::Alignment;
use ratatui::text::{Line, Span};

use crate::theme::{Meaning, Theme};
use crate::widgets::text::{one_line, width};
use crate::widgets::wrap::{Break, Margin, Piece, wrap};

/// Columns between two cells.
const GAP: usize = 2;

/// A table while it is read; the first row is its head.
#[derive(Debug, Default)]
pub(super) struct Table {
    alignments: Vec<Alignment>,
    rows: Vec<Vec<String>>,
    row: Vec<String>,
    cell: String,
}

impl Table {
    pub(super) fn new(alignments: Vec<Alignment>) -> Self {
        Self {
            alignments,
            ..Self::default()
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.cell.push_str(text);
    }

    pub(super) fn end_cell(&mut self) {
        let cell = std::mem::take(&mut self.cell);
        self.row.push(one_line(&cell));
    }

    pub(super) fn end_row(&mut self) {
        self.rows.push(std::mem::take(&mut self.row));
    }

    pub(super) fn lines(&self, columns: usize, theme: Theme) -> Vec<Line<'static>> {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..count)
            .map(|i| {
                let cells = self.rows.iter().filter_map(|row| row.get(i));
                cells.map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        let total = widths.iter().sum::<usize>() + GAP * count.saturating_sub(1);
        if total <= columns {
            self.aligned(&widths, total, theme)
        } else {
            self.listed(columns, theme)
        }
    }

    fn aligned(&self, widths: &[usize], total: usize, theme: Theme) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        for (number, row) in self.rows.iter().enumerate() {
            let mut text = String::new();
            for (i, wide) in widths.iter().enumerate() {
                let cell = row.get(i).map_or("", String::as_str);
                let space = wide.saturating_sub(width(cell));
                let before = match self.alignments.get(i) {
                    Some(Alignment::Right) => space,
                    Some(Alignment::Center) => space / 2,
                    _ => 0,
                };
                if i > 0 {
                    text.push_str(&" ".repeat(GAP));
                }
                text.push_str(&" ".repeat(before));
                text.push_str(cell);
                text.push_str(&" ".repeat(space - before));
            }
            let meaning = if number == 0 {
                Meaning::Heading
            } else {
                Meaning::Text
            };
            lines.push(Line::from(Span::styled(
                text.trim_end().to_owned(),
                theme.style(meaning),
            )));
            if number == 0 && !theme.is_plain() {
                lines.push(Line::from(Span::styled(
                    theme.rule().repeat(total),
                    theme.style(Meaning::Dim),
                )));
            }
        }
        lines
    }

    fn listed(&self, columns: usize, theme: Theme) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        let Some((head, rows)) = self.rows.split_first() else {
            return lines;
        };
        for (number, row) in rows.iter().enumerate() {
            if number > 0 {
                lines.push(Line::default());
            }
            for (i, cell) in row.iter().enumerate() {
                let name = head.get(i).map_or("", String::as_str);
                let pieces = [
                    Piece::new(format!("{name}: "), theme.style(Meaning::Heading)),
                    Piece::new(cell.as_str(), theme.style(Meaning::Text)),
                ];
                lines.extend(wrap(&pieces, columns, &Margin::default(), Break::Words));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::render;
    use crate::theme::Theme;

    const SOURCE: &str = "| name | size |\n|---|--:|\n| docker | 81 GB |\n| logs | 2 GB |";

    fn shown(columns: usize) -> Vec<String> {
        render(SOURCE, columns, Theme::new(true, false))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_table_that_fits_is_aligned() {
        assert_eq!(
            shown(40),
            [
                "name     size",
                "─────────────",
                "docker  81 GB",
                "logs     2 GB"
            ]
        );
    }

    #[test]
    fn a_table_that_is_too_wide_becomes_a_list() {
        assert_eq!(
            shown(12),
            [
                "name: docker",
                "size: 81 GB",
                "",
                "name: logs",
                "size: 2 GB"
            ]
        );
    }
}
