//! Secrets that are none: blank, copied from an example, or so short that they are guessed.

use clawline::secret::Secret;

/// Shorter ones are refused.
const MIN_CHARS: usize = 8;
/// Shorter ones are warned about.
const GOOD_CHARS: usize = 24;
/// What examples and failed scripts leave behind, in lower case without punctuation.
const PLACEHOLDERS: [&str; 16] = [
    "undefined",
    "null",
    "none",
    "nan",
    "objectobject",
    "replaceme",
    "changeme",
    "changethis",
    "yourtoken",
    "yourtokenhere",
    "yourpassword",
    "yourpasswordhere",
    "secrettoken",
    "password",
    "placeholder",
    "openclawredacted",
];

/// Why a secret is not taken; the secret itself is never told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// Nothing, or white space.
    #[error("is blank")]
    Blank,
    /// A word from an example.
    #[error("is a placeholder")]
    Placeholder,
    /// Guessed in no time.
    #[error("is shorter than {MIN_CHARS} characters")]
    Short,
    /// White space or a control character within.
    #[error("has white space or a control character in it")]
    NotOneWord,
}

/// Whether a shared secret may be used.
///
/// # Errors
/// [`WeakSecret`].
pub fn check_secret(secret: &Secret) -> Result<(), WeakSecret> {
    let text = secret.expose();
    if secret.is_blank() {
        return Err(WeakSecret::Blank);
    }
    let word: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if PLACEHOLDERS.contains(&word.as_str()) {
        return Err(WeakSecret::Placeholder);
    }
    if text.chars().any(char::is_control) || text.trim() != text {
        return Err(WeakSecret::NotOneWord);
    }
    if text.chars().count() < MIN_CHARS {
        return Err(WeakSecret::Short);
    }
    Ok(())
}

/// Whether a longer one would be better.
pub fn is_short(secret: &Secret) -> bool {
    secret.expose().chars().count() < GOOD_CHARS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_secret_is_refused_and_what_is_one_is_not() {
        for (text, why) in [
            ("", WeakSecret::Blank),
            (" \t", WeakSecret::Blank),
            ("undefined", WeakSecret::Placeholder),
            ("<replace-me>", WeakSecret::Placeholder),
            ("__OPENCLAW_REDACTED__", WeakSecret::Placeholder),
            ("abcde", WeakSecret::Short),
            ("long enough\n", WeakSecret::NotOneWord),
        ] {
            assert_eq!(check_secret(&Secret::new(text)), Err(why), "{text:?}");
        }
        for text in ["correct horse", "0123456789abcdef"] {
            assert_eq!(check_secret(&Secret::new(text)), Ok(()), "{text}");
        }
        assert!(is_short(&Secret::new("0123456789abcdef")));
    }
}
