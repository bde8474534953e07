//! Finding messages by their words: what is asked, how a find is weighed, and what of it is shown.

use super::key::SessionKey;
use super::model::Message;

/// Finds on a page when the caller does not say, and at most.
pub const DEFAULT_SEARCH_LIMIT: usize = 10;
/// The most finds on a page.
pub const MAX_SEARCH_LIMIT: usize = 25;
/// Words of a query that count.
const MAX_WORDS: usize = 16;
/// Characters of a snippet, and of them before the word that was found.
const SNIPPET_CHARS: usize = 160;
const SNIPPET_BEFORE: usize = 40;

/// Which messages to find.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchQuery {
    /// A message must have all of them.
    pub words: Vec<String>,
    pub agent_id: Option<String>,
    /// In these sessions alone; all when empty.
    pub keys: Vec<SessionKey>,
}

impl SearchQuery {
    /// The words of a text, as the index cuts them.
    pub fn words_of(text: &str) -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .take(MAX_WORDS)
            .map(str::to_lowercase)
            .collect()
    }
}

/// Messages that were found, the newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finds {
    pub messages: Vec<(SessionKey, Message)>,
    /// Older ones were not looked at.
    pub truncated: bool,
}

/// How well a text fits: how often the words stand in it, for its length.
pub fn score(text: &str, words: &[String]) -> f64 {
    let lower = text.to_lowercase();
    let hits: usize = words
        .iter()
        .map(|word| lower.matches(word.as_str()).count())
        .sum();
    let length = lower.split_whitespace().count().max(1);
    let (hits, length) = (u32::try_from(hits), u32::try_from(length));
    f64::from(hits.unwrap_or(u32::MAX)) / (f64::from(length.unwrap_or(u32::MAX)) + 20.0).ln()
}

/// The surroundings of the first word that is found, on one line.
pub fn snippet(text: &str, words: &[String]) -> String {
    let line: Vec<char> = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .collect();
    let lower: Vec<char> = line
        .iter()
        .map(|c| c.to_lowercase().next().unwrap_or(*c))
        .collect();
    let at = words
        .iter()
        .filter_map(|word| {
            let word: Vec<char> = word.chars().collect();
            lower.windows(word.len()).position(|part| part == word)
        })
        .min()
        .unwrap_or(0);
    let from = at.saturating_sub(SNIPPET_BEFORE);
    let until = line.len().min(from + SNIPPET_CHARS);
    let shown: String = line[from..until].iter().collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if until < line.len() { "…" } else { "" };
    format!("{before}{}{after}", shown.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_snippet_shows_the_word_and_what_stands_around_it() {
        let words = SearchQuery::words_of("Disk, full?");
        assert_eq!(words, ["disk", "full"]);
        assert_eq!(snippet("the  DISK is\nfull", &words), "the DISK is full");
        let long = format!("{} disk {}", "a".repeat(300), "b".repeat(300));
        let shown = snippet(&long, &words);
        assert!(shown.starts_with('…') && shown.ends_with('…') && shown.contains("disk"));
        assert!(shown.chars().count() <= SNIPPET_CHARS + 2);
    }

    #[test]
    fn more_of_the_words_in_less_text_is_better() {
        let words = SearchQuery::words_of("disk");
        assert!(score("disk disk", &words) > score("disk and", &words));
        assert!(score("disk", &words) > score(&format!("disk {}", "x ".repeat(99)), &words));
    }

    proptest! {
        #[test]
        fn any_text_has_a_snippet(text in ".{0,400}", query in ".{0,40}") {
            let words = SearchQuery::words_of(&query);
            prop_assert!(snippet(&text, &words).chars().count() <= SNIPPET_CHARS + 2);
            prop_assert!(score(&text, &words).is_finite());
        }
    }
}
