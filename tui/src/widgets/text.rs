//! Foreign text made safe to show, and measured and cut by display width.

use clawline::layer::is_unsafe_to_show;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// Columns between tab stops.
const TAB_STOP: usize = 4;

/// Makes text of many lines safe to show: line breaks stay, tabs become spaces, every other control,
/// direction-changing or hidden character becomes a visible escape.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\n' => {
                out.push('\n');
                column = 0;
            }
            '\r' => {}
            '\t' => {
                let spaces = TAB_STOP - column % TAB_STOP;
                out.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            c if is_unsafe_to_show(c) => {
                let escape = format!("\\u{{{:x}}}", u32::from(c));
                column += escape.len();
                out.push_str(&escape);
            }
            c => {
                out.push(c);
                column += 1;
            }
        }
    }
    out
}

/// Makes text safe to show on one line.
pub(crate) fn one_line(text: &str) -> String {
    clean(text)
        .split('\n')
        .map(str::trim_end)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Display columns of a text.
pub(crate) fn width(text: &str) -> usize {
    text.graphemes(true).map(grapheme_width).sum()
}

/// Display columns of one grapheme.
pub(crate) fn grapheme_width(grapheme: &str) -> usize {
    grapheme.width()
}

/// At most `columns` columns of a text, with `…` at the end when something was cut.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let wide = grapheme_width(grapheme);
        if used + wide + 1 > columns {
            break;
        }
        out.push_str(grapheme);
        used += wide;
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// The end of a text in at most `columns` columns, with `…` in front when something was cut.
pub(crate) fn cut_front(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut used = 0;
    for grapheme in text.graphemes(true).rev() {
        let wide = grapheme_width(grapheme);
        if used + wide + 1 > columns {
            break;
        }
        kept.push(grapheme);
        used += wide;
    }
    if columns > 0 {
        kept.push("…");
    }
    kept.reverse();
    kept.concat()
}

/// Paints one line of text, cut to the area's width; returns the columns used.
pub(crate) fn put(buf: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    if y < area.top() || y >= area.bottom() || x >= area.right() {
        return 0;
    }
    let room = area.right() - x;
    let text = cut(text, usize::from(room));
    let (end, _) = buf.set_stringn(x, y, &text, usize::from(room), style);
    end.saturating_sub(x)
}

/// Paints one styled line from `x` on, as far as the area reaches.
pub(crate) fn put_line(buf: &mut Buffer, area: Rect, x: u16, y: u16, line: &Line<'_>) {
    if y < area.top() || y >= area.bottom() || x >= area.right() {
        return;
    }
    buf.set_line(x, y, line, area.right() - x);
}

/// Paints text that ends at the area's right edge; returns the column where it starts.
pub(crate) fn put_right(buf: &mut Buffer, area: Rect, y: u16, text: &str, style: Style) -> u16 {
    let text = cut(text, usize::from(area.width));
    let wide = u16::try_from(width(&text)).unwrap_or(area.width);
    let x = area.right().saturating_sub(wide);
    put(buf, area, x, y, &text, style);
    x
}

/// A screen as text, without the spaces at the ends of lines.
#[cfg(any(test, feature = "demo"))]
pub(crate) fn of_screen(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let mut line = String::new();
        let mut covered = 0;
        for x in buffer.area.left()..buffer.area.right() {
            let Some(cell) = buffer.cell((x, y)) else {
                continue;
            };
            if covered > 0 {
                // The second half of a wide character.
                covered -= 1;
                continue;
            }
            covered = width(cell.symbol()).saturating_sub(1);
            line.push_str(cell.symbol());
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_and_hidden_characters_are_shown_and_not_obeyed() {
        assert_eq!(
            clean("a\u{1b}[2Jb\u{202e}c\u{200b}\u{7}"),
            "a\\u{1b}[2Jb\\u{202e}c\\u{200b}\\u{7}"
        );
    }

    #[test]
    fn tabs_reach_the_next_stop_and_line_breaks_stay() {
        assert_eq!(clean("ab\tc\r\n\td"), "ab  c\n    d");
    }

    #[test]
    fn a_family_emoji_is_kept_whole_or_left_out() {
        let family = "👨‍👩‍👧";
        assert_eq!(cut(&format!("ab{family}"), 4), format!("ab{family}"));
        assert_eq!(cut(&format!("ab{family}c"), 4), "ab…");
    }

    #[test]
    fn wide_characters_count_two_columns() {
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut_front("日本語", 5), "…本語");
    }

    proptest! {
        #[test]
        fn what_is_cleaned_and_cut_fits_and_holds_no_controls(text in "\\PC*|.*", columns in 0_usize..40) {
            let line = one_line(&text);
            prop_assert!(line.chars().all(|c| !is_unsafe_to_show(c)));
            prop_assert!(width(&cut(&line, columns)) <= columns);
            prop_assert!(width(&cut_front(&line, columns)) <= columns);
        }
    }
}
