//! A Markdown text that grows at its end: finished blocks are rendered once and never again, and the
//! unfinished one is rendered so that closing a mark later moves nothing that is already shown.

use ratatui::text::Line;

use super::render;
use crate::theme::Theme;

/// The rendering of a growing text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Growing {
    columns: usize,
    theme: Option<Theme>,
    /// The finished blocks.
    done: String,
    /// Their lines, with the blank line that follows them.
    done_lines: Vec<Line<'static>>,
}

impl Growing {
    /// The lines of `source`. What was finished in an earlier call is not parsed again, as long as
    /// width and theme stay the same and `source` still begins with it.
    pub(crate) fn lines(
        &mut self,
        source: &str,
        columns: usize,
        theme: Theme,
    ) -> Vec<Line<'static>> {
        if self.columns != columns || self.theme != Some(theme) || !source.starts_with(&self.done) {
            *self = Self {
                columns,
                theme: Some(theme),
                ..Self::default()
            };
        }
        let end = self.done.len() + finished(source.get(self.done.len()..).unwrap_or_default());
        if let Some(block) = source.get(self.done.len()..end)
            && !block.is_empty()
        {
            let lines = render(block, columns, theme);
            if !lines.is_empty() {
                self.done_lines.extend(lines);
                self.done_lines.push(Line::default());
            }
            self.done.push_str(block);
        }
        let tail = source.get(end..).unwrap_or_default();
        let mut lines = self.done_lines.clone();
        lines.extend(render(&mend(tail), columns, theme));
        while lines.last().is_some_and(|line| line.width() == 0) {
            lines.pop();
        }
        lines
    }
}

/// How much of a text is blocks that nothing added at its end can change: up to the last blank line
/// outside a fence that is followed by a line starting in the first column.
fn finished(text: &str) -> usize {
    let mut fence: Option<&str> = None;
    let mut blank_before = false;
    let mut offset = 0;
    let mut end = 0;
    let mut in_list = false;
    for line in text.split_inclusive('\n') {
        let body = line.trim_end();
        if let Some(mark) = fence {
            if body.trim_start().starts_with(mark)
                && body.trim_start().trim_matches(['`', '~']).is_empty()
            {
                fence = None;
            }
            blank_before = false;
        } else if body.is_empty() {
            blank_before = true;
        } else {
            let starts = !body.starts_with(' ');
            let is_item = is_list_item(body);
            // The items of one list are one block, so that their numbers and gaps stay as they are.
            if blank_before && starts && !(in_list && is_item) {
                end = offset;
            }
            if starts {
                in_list = is_item;
            }
            fence = ["```", "~~~"]
                .into_iter()
                .find(|mark| body.trim_start().starts_with(mark));
            blank_before = false;
        }
        offset += line.len();
    }
    end
}

fn is_list_item(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() < line.len() {
        return rest.starts_with(". ") || rest.starts_with(") ");
    }
    ["- ", "* ", "+ "].iter().any(|mark| line.starts_with(mark))
}

/// Closes what the last paragraph leaves open: `**bold te` is shown bold from its first letter on,
/// and a mark that has just begun is not shown yet. Marks in code and single stars are left alone.
fn mend(text: &str) -> String {
    let last = text.rfind("\n\n").map_or(0, |at| at + 2);
    let Some(paragraph) = text.get(last..) else {
        return text.to_owned();
    };
    if text.matches("```").count() % 2 == 1 || paragraph.starts_with("    ") {
        return text.to_owned();
    }
    let open_mark = paragraph.len() - paragraph.trim_end_matches(['*', '`', '_']).len();
    let kept = paragraph
        .get(..paragraph.len() - open_mark)
        .unwrap_or_default();
    let begun = paragraph.get(kept.len()..).unwrap_or_default();
    let code_open = kept.matches('`').count() % 2 == 1;
    let bold_open = kept.matches("**").count() % 2 == 1;
    // A mark at the end closes what is open, or has just begun; then it waits for its text.
    let mut out = text.get(..last + kept.len()).unwrap_or_default().to_owned();
    if code_open {
        out.push('`');
    }
    if bold_open {
        while out.ends_with(' ') {
            out.pop();
        }
        out.push_str("**");
    }
    if !code_open && !bold_open && !begun.is_empty() && kept.trim().is_empty() {
        out.push_str(begun);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOURCE: &str = "Here is **the plan** for `home`:\n\n1. stop the service\n2. copy `/var/lib`\n\n\
        ```sh\nrsync -a /var/lib /mnt\n\nsync\n```\n\nThen **start it again** and look.\n";

    fn texts(lines: &[Line<'_>]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn growing_letter_by_letter_ends_with_what_rendering_at_once_shows() {
        let theme = Theme::new(true, false);
        let mut growing = Growing::default();
        let mut last = Vec::new();
        for (at, c) in SOURCE.char_indices() {
            last = growing.lines(&SOURCE[..at + c.len_utf8()], 30, theme);
        }
        assert_eq!(texts(&last), texts(&render(SOURCE, 30, theme)));
    }

    #[test]
    fn lines_above_the_one_being_written_never_change() {
        let theme = Theme::new(true, false);
        let mut growing = Growing::default();
        let mut before: Vec<String> = Vec::new();
        for (at, c) in SOURCE.char_indices() {
            let now = texts(&growing.lines(&SOURCE[..at + c.len_utf8()], 30, theme));
            let settled = before.len().saturating_sub(2);
            assert_eq!(
                before[..settled],
                now[..settled.min(now.len())],
                "after {:?}",
                &SOURCE[..=at]
            );
            before = now;
        }
    }

    #[test]
    fn a_bold_word_is_bold_before_its_end_has_come() {
        assert_eq!(mend("see **bold te"), "see **bold te**");
        assert_eq!(mend("see **bold text*"), "see **bold text**");
        assert_eq!(mend("see **"), "see ");
        assert_eq!(mend("run `ls -"), "run `ls -`");
        assert_eq!(mend("```\na **b"), "```\na **b");
    }

    #[test]
    fn a_quote_in_a_quote_stays_inside_one_column() {
        let lines = Growing::default().lines(">a\n>>", 1, Theme::new(true, false));
        assert!(lines.iter().all(|line| line.width() <= 1), "{lines:?}");
    }

    proptest! {
        #[test]
        fn any_growth_is_safe(source in "([-*#>`|~_ 0-9a-z日\n]){0,80}", columns in 1_usize..20) {
            let theme = Theme::new(true, false);
            let mut growing = Growing::default();
            for (at, c) in source.char_indices() {
                for line in growing.lines(&source[..at + c.len_utf8()], columns, theme) {
                    prop_assert!(crate::widgets::text::width(&line.to_string()) <= columns);
                }
            }
        }
    }
}
