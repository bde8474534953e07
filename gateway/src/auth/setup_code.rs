//! The text of a setup code: short enough to be typed, and it says itself when it was mistyped or
//! belongs to another gateway.
//!
//! Twenty-two characters of Crockford's base 32: four that name the gateway, sixteen random ones
//! (80 bits), two that check the rest.

use clawline::secret::Secret;
use sha2::{Digest as _, Sha256};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TAG: usize = 4;
const RANDOM: usize = 16;
const CHECK: usize = 2;
const LENGTH: usize = TAG + RANDOM + CHECK;
/// Longest text that is looked at, in bytes.
const MAX_TEXT: usize = 200;
/// Characters of a group when it is shown.
const GROUP: usize = 4;

/// A code in its normal form.
#[derive(Debug, Clone)]
pub struct SetupCode(Secret);

/// Why a text is no code of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeFault {
    /// Nothing like a code.
    #[error("is no setup code")]
    NotOne,
    /// Nobody types that.
    #[error("is too long for a setup code")]
    TooLong,
    /// The end of it is missing.
    #[error("is incomplete; a setup code has {LENGTH} characters")]
    Truncated,
    /// Some character is wrong.
    #[error("has a typing error in it")]
    Mistyped,
    /// It names another gateway.
    #[error("belongs to gateway {0}, this one is {1}")]
    Elsewhere(String, String),
}

impl SetupCode {
    /// A new code of the gateway with this tag.
    pub fn fresh(tag: &str) -> Self {
        let random: [u8; RANDOM] = rand::random();
        let random = random.iter().map(|byte| letter(*byte));
        let mut text: String = tag.chars().take(TAG).chain(random).collect();
        let check = checksum(&text);
        text.push_str(&check);
        Self(Secret::new(text))
    }

    /// Reads what was typed or scanned: spaces, hyphens and lower case do not matter, `O` is `0`,
    /// `I` and `L` are `1`.
    ///
    /// # Errors
    /// [`CodeFault`].
    pub fn parse(text: &str, tag: &str) -> Result<Self, CodeFault> {
        if text.len() > MAX_TEXT {
            return Err(CodeFault::TooLong);
        }
        let mut normal = String::new();
        for c in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let c = match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                c => c,
            };
            if !c.is_ascii() || !ALPHABET.contains(&(c as u8)) {
                return Err(CodeFault::NotOne);
            }
            normal.push(c);
        }
        match normal.len() {
            LENGTH => {}
            short if short < LENGTH && short > TAG && normal.starts_with(tag) => {
                return Err(CodeFault::Truncated);
            }
            _ => return Err(CodeFault::NotOne),
        }
        let (body, check) = normal.split_at(TAG + RANDOM);
        if checksum(body) != check {
            return Err(CodeFault::Mistyped);
        }
        if !body.starts_with(tag) {
            return Err(CodeFault::Elsewhere(body[..TAG].to_owned(), tag.to_owned()));
        }
        Ok(Self(Secret::new(normal)))
    }

    /// What the store keeps of it.
    pub fn hash(&self) -> String {
        let digest = Sha256::digest(self.0.expose().as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// In groups, for a person.
    pub fn shown(&self) -> Secret {
        let text: Vec<char> = self.0.expose().chars().collect();
        let groups: Vec<String> = text
            .chunks(GROUP)
            .map(|group| group.iter().collect())
            .collect();
        Secret::new(groups.join("-"))
    }
}

/// The tag of the gateway with this secret.
pub fn gateway_tag(gateway_secret: &Secret) -> String {
    let digest = Sha256::new()
        .chain_update(b"setup-code|")
        .chain_update(gateway_secret.expose().as_bytes())
        .finalize();
    digest.iter().take(TAG).map(|byte| letter(*byte)).collect()
}

fn checksum(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    digest
        .iter()
        .take(CHECK)
        .map(|byte| letter(*byte))
        .collect()
}

/// Thirty-two letters take five bits of a byte evenly.
fn letter(byte: u8) -> char {
    char::from(ALPHABET[usize::from(byte & 31)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: &str = "AB12";

    #[test]
    fn b36_a_code_is_read_however_it_was_typed_and_says_what_is_wrong_with_it() {
        let code = SetupCode::fresh(OURS);
        let shown = code.shown();
        let shown = shown.expose();
        assert_eq!(shown.len(), LENGTH + 5);
        let typed = shown.replace('-', " ").to_lowercase().replace('0', "o");
        for text in [shown.to_owned(), typed, shown.replace('1', "l")] {
            assert_eq!(SetupCode::parse(&text, OURS).unwrap().hash(), code.hash());
        }
        let read = |text: &str, tag: &str| SetupCode::parse(text, tag).unwrap_err();
        assert_eq!(read(&shown[..20], OURS), CodeFault::Truncated);
        assert_eq!(
            read(shown, "ZZ99"),
            CodeFault::Elsewhere(OURS.into(), "ZZ99".into())
        );
        let last = if shown.ends_with('7') { "8" } else { "7" };
        let wrong = format!("{}{last}", &shown[..shown.len() - 1]);
        assert_eq!(read(&wrong, OURS), CodeFault::Mistyped);
        assert_eq!(read("nope", OURS), CodeFault::NotOne);
        assert_eq!(read("", OURS), CodeFault::NotOne);
        assert_eq!(read(&"A".repeat(1 << 20), OURS), CodeFault::TooLong);
    }

    proptest! {
        #[test]
        fn any_text_is_a_code_or_a_fault(text in "\\PC{0,60}") {
            let _ = SetupCode::parse(&text, OURS);
        }
    }
}
