//! Meanings (accent, dim, bad, selected) to terminal colours and signs.
//!
//! Only the terminal's own 16 colours are used and no background is ever set, so the screen reads
//! on light and dark grounds; what matters is told by a word, a sign or a modifier as well.

use ratatui::style::{Color, Modifier, Style};

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Ordinary text.
    Text,
    /// Less important: times, hints, borders.
    Dim,
    /// The one accent: where we are, who speaks.
    Accent,
    /// Up, done, accepted.
    Good,
    /// Waiting, tried again.
    Warn,
    /// Failed, refused.
    Bad,
    /// The chosen row of a list.
    Selected,
    /// Code and commands to type.
    Code,
    /// Headings.
    Heading,
    /// Addresses.
    Link,
}

/// How meanings look on this terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Theme {
    colour: bool,
    plain: bool,
}

impl Theme {
    /// Colours off with `--no-color` or `NO_COLOR`; signs become words and lines become ASCII with
    /// `--plain`.
    pub(crate) fn new(colour: bool, plain: bool) -> Self {
        Self {
            colour: colour && !plain,
            plain,
        }
    }

    /// Whether drawing characters and moving signs are to be left out.
    pub(crate) fn is_plain(self) -> bool {
        self.plain
    }

    /// The style of a meaning.
    pub(crate) fn style(self, meaning: Meaning) -> Style {
        let plain = Style::new();
        let colour = |colour: Color| {
            if self.colour { plain.fg(colour) } else { plain }
        };
        match meaning {
            Meaning::Text => plain,
            Meaning::Dim => plain.add_modifier(Modifier::DIM),
            Meaning::Accent => colour(Color::Cyan).add_modifier(Modifier::BOLD),
            Meaning::Good => colour(Color::Green),
            Meaning::Warn => colour(Color::Yellow),
            Meaning::Bad => colour(Color::Red).add_modifier(Modifier::BOLD),
            Meaning::Selected => plain.add_modifier(Modifier::REVERSED),
            Meaning::Code => colour(Color::Cyan),
            Meaning::Heading => plain.add_modifier(Modifier::BOLD),
            Meaning::Link => colour(Color::Cyan).add_modifier(Modifier::UNDERLINED),
        }
    }

    /// One of two texts: the sign, or its plain spelling.
    pub(crate) fn sign(self, sign: &'static str, plain: &'static str) -> &'static str {
        if self.plain { plain } else { sign }
    }

    /// The spinner at a moment; a fixed sign when nothing may move.
    pub(crate) fn spinner(self, frame: u64) -> &'static str {
        const FRAMES: [&str; 8] = ["⠋", "⠙", "⠸", "⠴", "⠦", "⠧", "⠇", "⠏"];
        if self.plain {
            return "...";
        }
        FRAMES
            .get(usize::try_from(frame % 8).unwrap_or(0))
            .copied()
            .unwrap_or("·")
    }

    /// A horizontal rule's character.
    pub(crate) fn rule(self) -> &'static str {
        self.sign("─", " ")
    }

    /// A vertical rule's character.
    pub(crate) fn bar(self) -> &'static str {
        self.sign("│", " ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_no_style_sets_one_and_the_selection_still_shows() {
        let theme = Theme::new(false, false);
        for meaning in [
            Meaning::Accent,
            Meaning::Good,
            Meaning::Bad,
            Meaning::Selected,
            Meaning::Code,
        ] {
            assert_eq!(theme.style(meaning).fg, None, "{meaning:?}");
            assert_eq!(theme.style(meaning).bg, None, "{meaning:?}");
        }
        assert_ne!(theme.style(Meaning::Selected), theme.style(Meaning::Text));
    }

    #[test]
    fn no_meaning_forces_a_background() {
        let theme = Theme::new(true, false);
        for meaning in [
            Meaning::Text,
            Meaning::Selected,
            Meaning::Bad,
            Meaning::Code,
        ] {
            assert_eq!(theme.style(meaning).bg, None);
        }
    }
}
