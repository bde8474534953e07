//! What opens over the chat: pages and pickers.

use crate::commands::rank;

/// A page or a picker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Overlay {
    /// The link, layer by layer.
    Link(Page),
    /// Health of the gateway.
    Health(Page),
    /// Keys and commands.
    Help(Page),
    /// A list to choose from.
    Picker(Picker),
}

/// A page that may be longer than the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Page {
    /// Lines scrolled down.
    pub(crate) scroll: u16,
}

/// What a picker picks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PickerKind {
    /// A session.
    Sessions,
    /// A command or a key.
    Palette,
    /// A model.
    Models,
}

impl PickerKind {
    /// Its heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Sessions => "Sessions",
            Self::Palette => "Commands",
            Self::Models => "Models",
        }
    }
}

/// A row of a picker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// What is taken: a session key, a command, a model.
    pub(crate) value: String,
    /// What is shown and matched.
    pub(crate) label: String,
    /// What is shown on the right.
    pub(crate) detail: String,
    /// Where we are now.
    pub(crate) is_current: bool,
    /// Something new is there.
    pub(crate) is_unread: bool,
}

/// A list with a filter that is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picker {
    /// What it picks.
    pub(crate) kind: PickerKind,
    /// What was typed.
    pub(crate) filter: String,
    /// Everything.
    pub(crate) choices: Vec<Choice>,
    /// Places of those that match, the best first.
    pub(crate) matches: Vec<usize>,
    /// The chosen one among `matches`.
    pub(crate) selected: usize,
    /// Still being read.
    pub(crate) is_loading: bool,
}

impl Picker {
    /// A picker; the mark stands on the current choice.
    pub(crate) fn new(kind: PickerKind, choices: Vec<Choice>, is_loading: bool) -> Self {
        let selected = choices
            .iter()
            .position(|choice| choice.is_current)
            .unwrap_or(0);
        Self {
            kind,
            filter: String::new(),
            matches: (0..choices.len()).collect(),
            choices,
            selected,
            is_loading,
        }
    }

    /// Replaces the choices; filter and mark stay as far as they can.
    pub(crate) fn refill(&mut self, choices: Vec<Choice>) {
        let marked = self.chosen().map(|choice| choice.value.clone());
        self.choices = choices;
        self.is_loading = false;
        self.filter_again();
        if let Some(value) = marked {
            let place = self.matches.iter().position(|at| {
                self.choices
                    .get(*at)
                    .is_some_and(|choice| choice.value == value)
            });
            self.selected = place.unwrap_or(0);
        }
    }

    /// Adds a letter to the filter.
    pub(crate) fn type_char(&mut self, c: char) {
        self.filter.push(c);
        self.filter_again();
    }

    /// Takes the last letter back.
    pub(crate) fn backspace(&mut self) {
        self.filter.pop();
        self.filter_again();
    }

    /// Clears the filter; false when there was none.
    pub(crate) fn clear(&mut self) -> bool {
        let had = !self.filter.is_empty();
        self.filter.clear();
        self.filter_again();
        had
    }

    fn filter_again(&mut self) {
        self.matches = rank(
            &self.filter,
            self.choices.iter().map(|choice| choice.label.as_str()),
        );
        self.selected = 0;
    }

    /// Moves the mark.
    pub(crate) fn step(&mut self, down: bool) {
        let last = self.matches.len().saturating_sub(1);
        self.selected = if down {
            (self.selected + 1).min(last)
        } else {
            self.selected.saturating_sub(1)
        };
    }

    /// The chosen row.
    pub(crate) fn chosen(&self) -> Option<&Choice> {
        self.choices.get(*self.matches.get(self.selected)?)
    }
}
