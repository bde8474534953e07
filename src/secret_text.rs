//! A secret as a variable, a file or an option hands it over: what is left out of it, and what is refused.
//!
//! White space that somebody did not mean is the usual reason why a right secret does not work, and it
//! cannot be seen. So nothing is left out without a word, and what cannot be meant is refused.

use crate::layer::is_unsafe_to_show;
use crate::secret::Secret;

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A token or a key, made by a program: one word.
    Token,
    /// Made by a person: may be several words.
    Password,
}

/// A secret, and whether a line break was left out at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The secret itself.
    pub secret: Secret,
    /// What it was handed over in ended with a line break.
    pub had_line_break: bool,
}

/// Why a text is no secret. The rest of a sentence, and never the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSecret {
    /// Nothing, or white space.
    #[error("is empty")]
    Empty,
    /// White space before or behind it.
    #[error(
        "starts or ends with white space, which a secret does not; take out what is around the secret"
    )]
    SpaceAround,
    /// White space within a token.
    #[error("has white space in it, which a token does not; take out all but the token")]
    SpaceWithin,
    /// Something that cannot be typed or seen.
    #[error("has a character in it that cannot be seen; copy or type the secret anew")]
    Invisible,
}

/// Reads a secret. One line break at its end is left out.
///
/// # Errors
/// [`NoSecret`].
pub fn read(text: &str, kind: Kind) -> Result<Handed, NoSecret> {
    let without = text.strip_suffix('\n');
    let without = without.map(|text| text.strip_suffix('\r').unwrap_or(text));
    let secret = without.unwrap_or(text);
    if secret.trim().is_empty() {
        return Err(NoSecret::Empty);
    }
    if secret.trim() != secret {
        return Err(NoSecret::SpaceAround);
    }
    if kind == Kind::Token && secret.contains(char::is_whitespace) {
        return Err(NoSecret::SpaceWithin);
    }
    if secret.contains(is_unsafe_to_show) {
        return Err(NoSecret::Invisible);
    }
    Ok(Handed {
        secret: Secret::new(secret),
        had_line_break: without.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_break_at_the_end_is_left_out_and_told_and_other_white_space_is_refused() {
        let good = |secret: &str, had_line_break| {
            Ok(Handed {
                secret: Secret::new(secret),
                had_line_break,
            })
        };
        for (text, token, password) in [
            ("abc", good("abc", false), good("abc", false)),
            ("abc\n", good("abc", true), good("abc", true)),
            ("abc\r\n", good("abc", true), good("abc", true)),
            ("a b", Err(NoSecret::SpaceWithin), good("a b", false)),
            ("a b\n", Err(NoSecret::SpaceWithin), good("a b", true)),
            ("a\nb", Err(NoSecret::SpaceWithin), Err(NoSecret::Invisible)),
            (
                "a\u{a0}b",
                Err(NoSecret::SpaceWithin),
                good("a\u{a0}b", false),
            ),
            (
                " abc\n",
                Err(NoSecret::SpaceAround),
                Err(NoSecret::SpaceAround),
            ),
            (
                "abc ",
                Err(NoSecret::SpaceAround),
                Err(NoSecret::SpaceAround),
            ),
            (
                "abc\n\n",
                Err(NoSecret::SpaceAround),
                Err(NoSecret::SpaceAround),
            ),
            (
                "\tabc",
                Err(NoSecret::SpaceAround),
                Err(NoSecret::SpaceAround),
            ),
            (
                "\u{feff}abc",
                Err(NoSecret::Invisible),
                Err(NoSecret::Invisible),
            ),
            (
                "a\u{200b}bc",
                Err(NoSecret::Invisible),
                Err(NoSecret::Invisible),
            ),
            (
                "a\u{0}bc",
                Err(NoSecret::Invisible),
                Err(NoSecret::Invisible),
            ),
            ("", Err(NoSecret::Empty), Err(NoSecret::Empty)),
            (" \n", Err(NoSecret::Empty), Err(NoSecret::Empty)),
        ] {
            assert_eq!(read(text, Kind::Token), token, "{text:?}");
            assert_eq!(read(text, Kind::Password), password, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_the_text_itself_but_for_its_last_line_break(text in any::<String>()) {
            for kind in [Kind::Token, Kind::Password] {
                if let Ok(handed) = read(&text, kind) {
                    let secret = handed.secret.expose();
                    prop_assert_eq!(secret.trim(), secret);
                    let rest = text.strip_prefix(secret);
                    prop_assert!(matches!(rest, Some("" | "\n" | "\r\n")));
                    prop_assert_eq!(handed.had_line_break, rest != Some(""));
                }
            }
        }
    }
}
