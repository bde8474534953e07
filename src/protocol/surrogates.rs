//! Halves of surrogate pairs: JavaScript writes and reads them, JSON in UTF-8 cannot hold them.

/// The text with each `\uD8..` or `\uDC..` that stands alone replaced by `\ufffd`; `None` when there is
/// no such half in it.
pub(super) fn without_halves(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (taken, replaced) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, false),
            (Some(0xd800..=0xdfff), _) => (6, true),
            (Some(_), _) => (6, false),
            // Any other escape is the backslash and one character.
            (None, _) => (
                1 + escape[1..].chars().next().map_or(0, char::len_utf8),
                false,
            ),
        };
        found |= replaced;
        out.push_str(if replaced {
            "\\ufffd"
        } else {
            &escape[..taken]
        });
        rest = &escape[taken..];
    }
    out.push_str(rest);
    found.then_some(out)
}

/// The number of a `\uXXXX` at the beginning.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    all.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_halves_that_stand_alone_are_replaced() {
        for (text, made) in [
            (r#"{"a":"\ud800"}"#, Some(r#"{"a":"\ufffd"}"#)),
            (
                r#""\udc00\ud83e\udd9e\ud83e""#,
                Some(r#""\ufffd\ud83e\udd9e\ufffd""#),
            ),
            (r#""\ud83e\udd9e""#, None),
            (r#""\\ud800""#, None),
            (r#""plain \n \u00e4""#, None),
            ("\\", None),
            ("\\ü", None),
        ] {
            assert_eq!(without_halves(text).as_deref(), made, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "(\\\\|u|d8|dc|00|ü|\"){0,30}") {
            let _ = without_halves(&text);
        }
    }
}
