//! A command as a person is shown it: whole, and with everything visible that could hide something.
//! Pure.

use clawline::layer::is_unsafe_to_show;

/// Longest command that is shown, in bytes: a longer one is not asked about.
pub(super) const MAX_SHOWN: usize = 8 * 1024;

/// Text with its hidden characters made visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) text: String,
    /// There were some.
    pub(super) had_hidden: bool,
}

/// Makes visible what a screen would not show, or show as something else: control and zero-width
/// characters, wide forms of ASCII, spaces that are none.
pub(super) fn visible(text: &str) -> Shown {
    let mut out = String::with_capacity(text.len());
    let mut had_hidden = false;
    for c in text.chars() {
        if is_hidden(c) {
            had_hidden = true;
            out.push_str(&format!("\\u{{{:X}}}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    Shown {
        text: out,
        had_hidden,
    }
}

fn is_hidden(c: char) -> bool {
    is_unsafe_to_show(c)
        || (c.is_whitespace() && c != ' ')
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200c}' | '\u{200d}' | '\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{2800}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{ff01}'..='\u{ff5e}' | '\u{fff0}'..='\u{fff8}'
            | '\u{e0080}'..='\u{e0fff}')
}

/// Arguments as one text: each that is not a plain word is quoted, so that its ends can be seen.
pub(super) fn arguments(argv: &[String]) -> String {
    let quoted = |arg: &String| {
        let is_word = |c: char| c.is_alphanumeric() || "-_./:=,+@%".contains(c) || is_hidden(c);
        if !arg.is_empty() && arg.chars().all(is_word) {
            arg.clone()
        } else {
            format!("'{}'", arg.replace('\'', "'\\''"))
        }
    };
    argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_hides_becomes_visible() {
        for (hidden, shown) in [
            ('\u{200b}', "\\u{200B}"),
            ('\u{2060}', "\\u{2060}"),
            ('\u{3164}', "\\u{3164}"),
            ('\u{115f}', "\\u{115F}"),
            ('\u{202e}', "\\u{202E}"),
            ('\u{ff5c}', "\\u{FF5C}"),
            ('\u{200d}', "\\u{200D}"),
            ('\u{a0}', "\\u{A0}"),
            ('\n', "\\u{A}"),
            ('\t', "\\u{9}"),
            ('\u{1b}', "\\u{1B}"),
        ] {
            let Shown { text, had_hidden } = visible(&format!("a{hidden}b"));
            assert_eq!(text, format!("a{shown}b"));
            assert!(had_hidden);
        }
        let plain = visible("echo größer 漢字");
        assert!(!plain.had_hidden && plain.text == "echo größer 漢字");
    }

    #[test]
    fn arguments_show_where_they_end() {
        for (argv, shown) in [
            (texts(&["/tmp/ls ", "x"]), "'/tmp/ls ' x"),
            (texts(&["echo", ""]), "echo ''"),
            (texts(&["echo", "it's"]), "echo 'it'\\''s'"),
            (texts(&["sh", "-c", "a; b"]), "sh -c 'a; b'"),
            (texts(&["echo", "hi"]), "echo hi"),
        ] {
            assert_eq!(arguments(&argv), shown);
        }
    }
}
