//! One line of ssh_config into its keyword and words, with ssh's rules for quotes, `=` and comments.

/// Splits a line into its keyword and the rest. `None` for a blank line or a comment.
pub(super) fn split_keyword(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_matches(is_blank);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (keyword, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => {
            let end = line
                .find(|c| is_blank(c) || c == '=' || c == '"')
                .unwrap_or(line.len());
            line.split_at(end)
        }
    };
    Some((keyword, skip_equals(rest)))
}

/// Skips white space and at most one `=`.
fn skip_equals(text: &str) -> &str {
    let text = text.trim_start_matches(is_blank);
    text.strip_prefix('=')
        .map_or(text, |rest| rest.trim_start_matches(is_blank))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{c}')
}

/// A quote that is never closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenQuote;

/// Splits the rest of a line into words: single and double quotes, backslash before a quote, a
/// backslash or a blank, and `#` at the start of a word for a comment.
pub(super) fn split_words(text: &str) -> Result<Vec<String>, OpenQuote> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| is_blank(*c)).is_some() {}
        match chars.peek() {
            None | Some('#') => return Ok(words),
            Some(_) => {}
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\\', _) => match chars.peek() {
                    Some(&next)
                        if matches!(next, '\'' | '"' | '\\')
                            || (quote.is_none() && next == ' ') =>
                    {
                        word.push(next);
                        chars.next();
                    }
                    _ => word.push('\\'),
                },
                (c, None) if is_blank(c) => break,
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (c, _) => word.push(c),
            }
        }
        if quote.is_some() {
            return Err(OpenQuote);
        }
        words.push(word);
    }
}

/// Splits what follows `Match`: words with double quotes, where `=` separates as a blank does.
pub(super) fn split_criteria(text: &str) -> Result<Vec<String>, OpenQuote> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or(OpenQuote)?,
            None => {
                let end = rest.find(|c| is_blank(c) || c == '=').unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        words.push(word.to_owned());
        rest = skip_equals(after);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keyword_and_value_may_be_joined_by_blanks_or_one_equals_sign() {
        for line in [
            "User bob",
            "  User\tbob\r\n",
            "User=bob",
            "User = bob",
            "\"User\" bob",
            "User  =bob \u{c}",
        ] {
            assert_eq!(split_keyword(line), Some(("User", "bob")), "{line:?}");
        }
        assert_eq!(split_keyword("User ==bob"), Some(("User", "=bob")));
        assert_eq!(split_keyword("User"), Some(("User", "")));
        for line in ["", " \t", "# User bob", "  #x"] {
            assert_eq!(split_keyword(line), None, "{line:?}");
        }
    }

    #[test]
    fn words_follow_the_rules_of_ssh() {
        let rows: [(&str, &[&str]); 9] = [
            ("a b", &["a", "b"]),
            ("\"a b\" 'c d'", &["a b", "c d"]),
            ("a\\ b", &["a b"]),
            ("a\"b c\"d", &["ab cd"]),
            ("a # b", &["a"]),
            ("a#b", &["a#b"]),
            ("C:\\dir \\\"x\\\"", &["C:\\dir", "\"x\""]),
            ("\"\"", &[""]),
            ("", &[]),
        ];
        for (text, words) in rows {
            assert_eq!(split_words(text).unwrap(), words, "{text:?}");
        }
        assert_eq!(split_words("\"a b"), Err(OpenQuote));
        assert_eq!(split_words("it's"), Err(OpenQuote));
    }

    #[test]
    fn criteria_of_match_may_use_equals_signs_and_quotes() {
        assert_eq!(
            split_criteria("host=a,b user \"c d\" # x").unwrap(),
            ["host", "a,b", "user", "c d"]
        );
        assert_eq!(split_criteria("all").unwrap(), ["all"]);
        assert_eq!(split_criteria("exec \"x"), Err(OpenQuote));
    }

    proptest! {
        #[test]
        fn any_line_is_split_or_refused(line in any::<String>()) {
            if let Some((_, rest)) = split_keyword(&line) {
                let _ = split_words(rest);
                let _ = split_criteria(rest);
            }
        }
    }
}
